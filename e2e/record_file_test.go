//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/wire/rtmp"
)

// TestFilesOfRecordings records what several encoders send at once, and holds the file of each
// against its segments and against what was live: every frame, how far sound and picture are
// apart, ranges, and that ffprobe, Chromium and VLC play it.
func TestFilesOfRecordings(t *testing.T) {
	beside(t)
	s := start(t)
	const length = 12 // seconds that are recorded at least
	flash := "color=gray:size=640x360:rate=25,drawbox=x=iw*57/64:y=ih*27/32:w=iw/32:h=ih/16:color=black:t=fill," +
		"drawbox=x=iw*57/64:y=ih*27/32:w=iw/32:h=ih/16:color=white:t=fill:enable='lt(mod(t,1),0.2)',drawbox=x=mod(t*60\\,600):y=40:w=30:h=30:color=red:t=fill"
	beep := "aevalsrc='0.9*sin(2*PI*1000*t)*lt(mod(t,1),0.2)':s=48000"
	sources := []string{"-hide_banner", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", flash, "-re", "-f", "lavfi", "-i", beep,
		"-pix_fmt", "yuv420p", "-preset", "ultrafast", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0"}
	cases := []*filed{
		{name: "ffmpeg, H.264 with B-frames", flashes: true, send: func(st stream) *publisher {
			return encode(t, "ffmpeg", append(slices.Clone(sources), "-c:v", "libx264", "-bf", "3", "-c:a", "aac", "-f", "flv", s.publishURL(st))...)
		}},
		{name: "ffmpeg over SRT, two sounds", flashes: true, sounds: 2, send: func(st stream) *publisher {
			return encode(t, "ffmpeg", append(slices.Clone(sources), "-map", "0", "-map", "1", "-map", "1", "-c:v", "libx264", "-bf", "0", "-c:a", "aac", "-f", "mpegts", s.srtURL(st.StreamKey))...)
		}},
		{name: "onair, AV1 and Opus", send: func(st stream) *publisher {
			return s.testcard(st, "--size", "320x180", "--bitrate", "300", "--video-codec", "av1", "--audio-codec", "opus")
		}},
		// Chromium has no HEVC without the machine's help.
		{name: "onair, HEVC", deaf: true, send: func(st stream) *publisher {
			return s.testcard(st, "--size", "320x180", "--bitrate", "300", "--video-codec", "hevc")
		}},
	}
	for _, c := range cases {
		c.st = s.createWith(map[string]any{"latency_mode": "low", "record": true})
		c.from = c.send(c.st)
		c.sounds = max(c.sounds, 1)
	}
	for _, c := range cases {
		s.waitPlayable(c.st, 20*time.Second)
		if c.flashes {
			c.live = filepath.Join(t.TempDir(), "live.mkv")
			c.viewer = encode(t, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-copyts", "-i", s.hlsURL(c.st), "-t", "8", "-c", "copy", c.live)
		}
	}
	for _, c := range cases {
		if c.viewer != nil {
			if err := c.viewer.wait(40 * time.Second); err != nil {
				t.Errorf("%s: watching: %v", c.name, err)
			}
		}
		s.assetOf(c.st, 30*time.Second, func(a asset) bool { return a.Duration >= length })
		c.from.stop()
		s.call(http.MethodPost, "/v1/live-streams/"+c.st.ID+"/complete", nil, nil)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.asset = s.assetOf(c.st, 20*time.Second, recorded)
			s.in(t).checkFile(t, c)
		})
	}
}

// filed is a recording whose file is looked at.
type filed struct {
	name    string
	send    func(stream) *publisher
	flashes bool // the picture and the sound have marks that belong together
	deaf    bool // Chromium does not play the codec
	sounds  int
	st      stream
	from    *publisher
	viewer  *publisher
	live    string // what a viewer got of it
	asset   asset
}

// checkFile holds a file against the segments that it is made of.
func (s *server) checkFile(t *testing.T, c *filed) {
	t.Helper()
	name, mp4 := s.saved(c.asset, "mp4")
	_, errOut, err := run(t, time.Minute, "ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_type,nb_read_frames:format=duration", "-of", "json", name)
	if err != nil || strings.TrimSpace(errOut) != "" {
		t.Errorf("ffprobe: %v %s", err, errOut)
	}
	replay := fmt.Sprintf("%s/hls/%s/index.m3u8", s.http, c.asset.PlaybackIDs[0].ID)
	want := s.decoded(t, replay, "v:0")
	got := hashes(t, name, "v:0")
	if !slices.Equal(got, want) || len(want) < 100 {
		t.Errorf("the file has %d pictures, the segments %d, and they are not the same", len(got), len(want))
	}
	for i := range c.sounds {
		list := s.sounds(t, replay)
		if len(list) != c.sounds {
			t.Fatalf("%d sounds are listed", len(list))
		}
		if got, want := hashes(t, name, fmt.Sprintf("a:%d", i)), s.decoded(t, list[i], "a:0"); !slices.Equal(got, want) || len(want) < 100 {
			t.Errorf("the file has %d frames of sound %d, the segments %d, and they are not the same", len(got), i, len(want))
		}
	}
	for i := range c.sounds {
		if !c.flashes {
			break
		}
		one := filepath.Join(t.TempDir(), "one.mkv") // with one of the sounds
		if _, errOut, err := run(t, time.Minute, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-copyts", "-i", name, "-map", "0:v", "-map", fmt.Sprintf("0:a:%d", i), "-c", "copy", one); err != nil {
			t.Fatalf("%v %s", err, errOut)
		}
		inFile, live := syncOffsets(t, one), syncOffsets(t, c.live)
		if len(inFile) < 8 || len(live) < 5 {
			t.Fatalf("%d beeps in the file, %d were live", len(inFile), len(live))
		}
		slices.Sort(inFile)
		slices.Sort(live)
		a, b := inFile[len(inFile)/2], live[len(live)/2]
		t.Logf("the beep is %v after the square in the file, and was %v live", a, b)
		if (a - b).Abs() > 5*time.Millisecond {
			t.Errorf("sound %d and picture are %v apart in the file, and %v live", i, a, b)
		}
	}
	for range 50 {
		from := rand.IntN(len(mp4))
		to := from + rand.IntN(len(mp4)-from)
		code, part := s.download(c.asset, fmt.Sprintf("bytes=%d-%d", from, to))
		if code != http.StatusPartialContent || !bytes.Equal(part, mp4[from:to+1]) {
			t.Errorf("bytes %d to %d: %d, %d bytes", from, to, code, len(part))
		}
	}
	m4a, _ := s.saved(c.asset, "m4a")
	if got, want := hashes(t, m4a, "a:0"), hashes(t, name, "a:0"); !slices.Equal(got, want) {
		t.Errorf("the file of the sound has %d frames, that of all %d, and they are not the same", len(got), len(want))
	}
	address := s.open(t, c.asset)
	if !c.deaf {
		shown := playFile(t, address)
		if len(shown.Errors) > 0 || !shown.Ended || shown.Total != len(want) || shown.Sound == 0 || len(shown.Wrong) > 0 {
			t.Errorf("Chromium shows %d of %d pictures: %+v", shown.Total, len(want), shown)
		}
	}
	// VLC shows none while it begins and none of the last few that it decodes.
	if n, said := vlc(t, address); n < len(want)*9/10 {
		t.Errorf("VLC shows %d of %d pictures:\n%s", n, len(want), said)
	}
}

// TestFileOfAnEncoderThatChanges downloads a recording in which size, frame rate and the number
// of channels change, and is told the reason where it is the codec.
func TestFileOfAnEncoderThatChanges(t *testing.T) {
	beside(t)
	s := start(t)
	tracks, packets := changing(t, 6*time.Second)
	publish := func(packets []*media.Packet) asset {
		st := s.createWith(map[string]any{"latency_mode": "low", "record": true})
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		p, err := rtmp.DialPublish(ctx, s.publishURL(st), tracks...)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := paced(ctx, p, packets); err != nil {
			t.Fatal(err)
		}
		p.Close()
		s.call(http.MethodPost, "/v1/live-streams/"+st.ID+"/complete", nil, nil)
		return s.assetOf(st, 20*time.Second, recorded)
	}
	a := publish(slices.DeleteFunc(slices.Clone(packets), func(p *media.Packet) bool {
		return p.Track.Version == 2 // of another codec
	}))
	name, _ := s.saved(a, "mp4")
	want := s.decoded(t, fmt.Sprintf("%s/hls/%s/index.m3u8", s.http, a.PlaybackIDs[0].ID), "v:0")
	if got := hashes(t, name, "v:0"); !slices.Equal(got, want) || len(want) < 300 {
		t.Errorf("the file has %d pictures, the segments %d, and they are not the same", len(got), len(want))
	}
	address := s.open(t, a)
	shown := playFile(t, address)
	if len(shown.Errors) > 0 || !shown.Ended || shown.Total != len(want) || !slices.Equal(shown.Sizes, []string{"1280x720", "960x540"}) || len(shown.Wrong) > 0 {
		t.Errorf("Chromium shows %d of %d pictures: %+v", shown.Total, len(want), shown)
	}
	if n, said := vlc(t, address); n < len(want)*8/10 {
		t.Errorf("VLC shows %d of %d pictures:\n%s", n, len(want), said)
	}
	a = publish(packets)
	res := s.downloadFrom(a, "mp4", "")
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusBadRequest {
		t.Fatalf("with another codec: %s", res.Status)
	}
	says(t, "the server", string(body), "from H.264", "to HEVC", "one codec", "HLS")
}

// saved downloads a file of an asset.
func (s *server) saved(a asset, ext string) (name string, whole []byte) {
	s.t.Helper()
	res := s.downloadFrom(a, ext, "")
	defer res.Body.Close()
	whole, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("download: %s, %v", res.Status, err)
	}
	name = filepath.Join(s.t.TempDir(), "download."+ext)
	if err := os.WriteFile(name, whole, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name, whole
}

// open lets anybody download an asset's MP4 file from an address, while the test runs.
func (s *server) open(t *testing.T, a asset) string {
	t.Helper()
	target, err := url.Parse(s.http)
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/assets/" + a.ID + "/download.mp4"
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Set("Authorization", "Bearer "+adminToken)
	}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + path
}

// hashes returns those of all frames that ffmpeg decodes of a stream.
func hashes(t *testing.T, input, stream string) (list []string) {
	t.Helper()
	args := []string{"-hide_banner", "-v", "error", "-nostdin", "-i", input, "-map", "0:" + stream}
	if strings.HasPrefix(stream, "v") {
		args = append(args, "-autoscale", "0", "-fps_mode", "passthrough")
	}
	out, errOut, err := run(t, time.Minute, "ffmpeg", append(args, "-f", "framemd5", "-")...)
	if err != nil || strings.TrimSpace(errOut) != "" {
		t.Fatalf("decode %s of %s: %v\n%s", stream, input, err, errOut)
	}
	for _, m := range frameHash.FindAllStringSubmatch(out, -1) {
		list = append(list, m[1])
	}
	return list
}

// decoded returns the hashes of the frames of a recording's segments, of which those behind one
// initialization section are decoded together. The playlist is that of a rendition, or the
// first rendition's is taken.
func (s *server) decoded(t *testing.T, playlist, stream string) (list []string) {
	t.Helper()
	text, base := s.playlist(t, playlist)
	var group []byte
	flush := func() {
		if len(group) > 0 {
			name := filepath.Join(t.TempDir(), "group.mp4")
			if err := os.WriteFile(name, group, 0o600); err != nil {
				t.Fatal(err)
			}
			list = append(list, hashes(t, name, stream)...)
		}
		group = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "#EXT-X-MAP:"); ok {
			flush()
			group = []byte(getText(t, base+attribute(rest, "URI")))
		} else if line != "" && line[0] != '#' {
			group = append(group, getText(t, base+line)...)
		}
	}
	flush()
	return list
}

// playlist returns a media playlist, and what its addresses are relative to.
func (s *server) playlist(t *testing.T, address string) (text, base string) {
	t.Helper()
	for range 2 {
		text, base = getText(t, address), address[:strings.LastIndexByte(address, '/')+1]
		before, rest, ok := strings.Cut(text, "#EXT-X-STREAM-INF:")
		if !ok || before == "" {
			break
		}
		address = base + strings.Split(rest, "\n")[1]
	}
	return text, base
}

// sounds returns the playlists of all sounds of a recording.
func (s *server) sounds(t *testing.T, address string) (list []string) {
	t.Helper()
	for line := range strings.Lines(getText(t, address)) {
		if rest, ok := strings.CutPrefix(line, "#EXT-X-MEDIA:TYPE=AUDIO"); ok {
			list = append(list, address[:strings.LastIndexByte(address, '/')+1]+attribute(rest, "URI"))
		}
	}
	return list
}

// shownFile is what browser/file.mjs reports.
type shownFile struct {
	Errors []string `json:"errors"`
	Ended  bool     `json:"ended"`
	Total  int      `json:"total"`
	Sizes  []string `json:"sizes"`
	Sound  int      `json:"sound"`
	Wrong  []string `json:"wrong"` // places at which it shows another size after going there
}

// playFile plays a file in Chromium to its end, and then goes to places in it.
func playFile(t *testing.T, address string) (p shownFile) {
	t.Helper()
	out, errOut, err := run(t, 2*time.Minute, "node", "browser/file.mjs", "--url", address)
	if err != nil {
		t.Fatalf("%v\n%s", err, errOut)
	}
	t.Logf("Chromium: %s", strings.TrimSpace(out))
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return p
}

// vlc plays a file in VLC and returns how many pictures it showed, and what it said.
func vlc(t *testing.T, address string) (shown int, said string) {
	t.Helper()
	program, err := exec.LookPath("vlc")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("vlc is missing")
		}
		t.Skip("vlc is not installed")
	}
	home, err := os.MkdirTemp("", "vlc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-I", "rc", "--rc-fake-tty", "--vout", "vdummy", "--aout", "adummy", "--avcodec-hw", "none",
		"--no-drop-late-frames", "--no-skip-frames", "--play-and-pause", address)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_RUNTIME_DIR="+home)
	if os.Geteuid() == 0 { // it does not run as root
		const nobody = 65534
		if err := os.Chown(home, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	done := newLines()
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, done), io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It says how many it has shown when it is asked, and waits at the end of the file.
	for ctx.Err() == nil {
		pause(ctx, time.Second)
		if _, err := io.WriteString(in, "status\nstats\n"); err != nil {
			break
		}
		if _, ended, closed, _ := done.find("( state paused )"); ended || closed {
			pause(ctx, time.Second)
			break
		}
	}
	shown = displayed(done)
	_, _ = io.WriteString(in, "quit\n")
	if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		t.Logf("vlc: %v", err)
	}
	return shown, out.String()
}

// displayed is the last number of pictures that VLC said it has decoded and shown, or was too
// late to show.
func displayed(l *lines) int {
	var shown, late int
	for line := range strings.Lines(l.tail(100)) {
		name, value, _ := strings.Cut(line, ":")
		switch n, _ := strconv.Atoi(strings.TrimSpace(value)); strings.TrimSpace(name) {
		case "| frames displayed":
			shown = n
		case "| frames lost":
			late = n
		}
	}
	return shown + late
}
