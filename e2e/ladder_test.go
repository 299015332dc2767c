//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"onair/internal/testcard"
)

// encoders returns the process ids of the encoders that the server runs. The doctor has
// samples decoded by ffmpeg, too: what encodes is told by how it writes.
func (s *server) encoders() []int {
	s.t.Helper()
	return slices.DeleteFunc(childrenOf(s.t, s.cmd.Process.Pid, "ffmpeg"), func(pid int) bool {
		args, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		return err != nil || !bytes.Contains(args, []byte("frag_discont"))
	})
}

// childrenOf returns the children of a process that run a program of that name.
func childrenOf(t *testing.T, parent int, name string) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it ended meanwhile
		}
		// The name in parentheses may hold anything; what follows it does not.
		open, closing := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		fields := strings.Fields(string(stat[closing+1:]))
		if string(stat[open+1:closing]) == name && fields[0] != "Z" && fields[1] == strconv.Itoa(parent) {
			out = append(out, pid)
		}
	}
	return out
}

// waitEncoders polls until so many encoders run.
func (s *server) waitEncoders(n int, limit time.Duration) []int {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		pids := s.encoders()
		if len(pids) == n {
			return pids
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d encoders run and not %d after %v", len(pids), n, limit)
		}
		pause(s.t.Context(), 50*time.Millisecond)
	}
}

// variant is what a multivariant playlist lists.
type variant struct {
	height int // 0 without a picture
	url    string
}

// variants fetches the multivariant playlist.
func (s *server) variants(st stream) []variant {
	s.t.Helper()
	base := s.hlsURL(st)[:strings.LastIndexByte(s.hlsURL(st), '/')+1]
	lines := strings.Split(getText(s.t, s.hlsURL(st)), "\n")
	var out []variant
	for i, line := range lines {
		if !strings.HasPrefix(line, "#EXT-X-STREAM-INF:") || i+1 == len(lines) {
			continue
		}
		var width, height int
		if _, size, ok := strings.Cut(line, "RESOLUTION="); ok {
			if _, err := fmt.Sscanf(size, "%dx%d", &width, &height); err != nil {
				s.t.Fatalf("%q: %v", line, err)
			}
		}
		out = append(out, variant{height, base + lines[i+1]})
	}
	return out
}

// rung returns the media playlist of the variant of that height. It is listed once the server
// has found its encoders, which takes it some seconds after its start.
func (s *server) rung(st stream, height int) string {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		list := s.variants(st)
		if i := slices.IndexFunc(list, func(v variant) bool { return v.height == height }); i >= 0 {
			return list[i].url
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no variant of height %d in %v", height, list)
		}
		pause(s.t.Context(), 200*time.Millisecond)
	}
}

// TestJustInTime shows that nothing is encoded for nobody, one rendition for one viewer,
// and nothing half a minute after the last one.
func TestJustInTime(t *testing.T) {
	s := start(t, "--transcode", "just-in-time")
	st := s.create("low")
	s.testcard(st, "--size", "1280x720", "--bitrate", "1500", "--b-frames", "2")
	s.waitPlayable(st, 15*time.Second)
	url := s.rung(st, 480)
	heights := []int{}
	for _, v := range s.variants(st) {
		heights = append(heights, v.height)
	}
	for _, h := range []int{720, 480, 360, 0} {
		if !slices.Contains(heights, h) {
			t.Errorf("no variant of height %d is listed: %v", h, heights)
		}
	}
	s.waitEncoders(0, 5*time.Second) // those that are tried at the start end by themselves; one for nobody would go on for 30 s
	begun := time.Now()
	text := getText(t, url) // is held until there is something
	if took := time.Since(begun); took > 4500*time.Millisecond {
		t.Errorf("the first playlist of a cold rendition took %v: more than 2.5 s beyond a group of 2 s", took)
	} else {
		t.Logf("the first playlist of a cold rendition took %v", took)
	}
	if !strings.Contains(text, "#EXT-X-PART:") && !strings.Contains(text, "#EXTINF:") {
		t.Errorf("it has no media:\n%s", text)
	}
	one := s.waitEncoders(1, time.Second)
	for range 10 { // somebody watches
		getText(t, url)
		pause(t.Context(), 300*time.Millisecond)
	}
	if now := s.encoders(); !slices.Equal(now, one) {
		t.Errorf("encoders %v and not %v for one viewer of one rendition", now, one)
	}
	begun = time.Now()
	s.waitEncoders(0, 45*time.Second)
	if idle := time.Since(begun); idle < 25*time.Second {
		t.Errorf("the encoder ended %v after the last request, not about 30 s", idle)
	}
	// And again: the rendition goes on.
	if text := getText(t, url); strings.Contains(text, "#EXT-X-DISCONTINUITY\n") {
		t.Errorf("a discontinuity where the rendition went on:\n%s", text)
	}
	s.waitEncoders(1, time.Second)
}

// TestRungsShowTheSameClock decodes the same segment of each rendition.
func TestRungsShowTheSameClock(t *testing.T) {
	s := start(t, "--transcode", "just-in-time")
	st := s.create("low")
	s.testcard(st, "--size", "1280x720", "--bitrate", "1500", "--b-frames", "2", "--frame-rate", "25")
	s.waitPlayable(st, 15*time.Second)
	clocks := map[int]map[int64]time.Time{} // by height, by PTS in milliseconds
	type rendition struct {
		height int
		text   string
		url    string
	}
	var all []rendition
	for _, h := range []int{720, 480, 360} {
		all = append(all, rendition{height: h, url: s.rung(st, h)})
		getText(t, all[len(all)-1].url)
	}
	// Until each has the same complete segment.
	segment := func(text, number string) (init, name string) {
		gap := false
		for _, line := range strings.Split(text, "\n") {
			switch {
			case strings.HasPrefix(line, "#EXT-X-MAP:"):
				init = attribute(line, "URI")
			case line == "#EXT-X-GAP":
				gap = true
			case line == "" || line[0] == '#':
			case gap:
				gap = false // of that segment
			case strings.HasSuffix(line, "."+number+".m4s"):
				return init, line
			}
		}
		return "", ""
	}
	// gaps tells whether the segment that follows has no media.
	gaps := func(before []string) bool {
		for i := len(before) - 1; i >= 0 && strings.HasPrefix(before[i], "#"); i-- {
			if before[i] == "#EXT-X-GAP" {
				return true
			}
		}
		return false
	}
	lastNumber := func(text string) string {
		lines := strings.Split(text, "\n")
		for i := len(lines) - 1; i >= 0; i-- {
			if strings.HasSuffix(lines[i], ".m4s") && lines[i][0] == 's' && !gaps(lines[:i]) {
				parts := strings.Split(lines[i], ".")
				return parts[len(parts)-2]
			}
		}
		return ""
	}
	deadline := time.Now().Add(25 * time.Second)
	number := ""
	for number == "" {
		if time.Now().After(deadline) {
			t.Fatal("no segment is there in all renditions")
		}
		pause(t.Context(), 300*time.Millisecond)
		for i := range all {
			all[i].text = getText(t, all[i].url)
		}
		candidate := lastNumber(all[len(all)-1].text)
		if candidate == "" {
			continue
		}
		number = candidate
		for _, r := range all {
			if _, name := segment(r.text, candidate); name == "" {
				number = ""
			}
		}
	}
	for _, r := range all {
		base := r.url[:strings.LastIndexByte(r.url, '/')+1]
		init, name := segment(r.text, number)
		data := append([]byte(getText(t, base+init)), getText(t, base+name)...)
		clocks[r.height] = readClocks(t, data)
		if len(clocks[r.height]) < 20 {
			t.Errorf("%d: the clock can be read in %d frames", r.height, len(clocks[r.height]))
		}
	}
	for _, h := range []int{480, 360} {
		same := 0
		for pts, clock := range clocks[h] {
			want, ok := clocks[720][pts]
			if !ok {
				t.Errorf("%d: a frame at %d ms that the source does not have", h, pts)
				continue
			}
			same++
			if d := clock.Sub(want).Abs(); d > 45*time.Millisecond {
				t.Errorf("%d: at %d ms the clock is %v from the source's", h, pts, d)
			}
		}
		t.Logf("%d: %d frames compared of %d", h, same, len(clocks[720]))
		if same < len(clocks[720])*9/10 {
			t.Errorf("%d: only %d of %d frames are there", h, same, len(clocks[720]))
		}
	}
}

// readClocks decodes a fragmented MP4 and reads the clock in each picture, by the time at
// which it is shown, in milliseconds.
func readClocks(t *testing.T, data []byte) map[int64]time.Time {
	t.Helper()
	const width, height = 640, 360
	file := filepath.Join(t.TempDir(), "segment.mp4")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ffmpeg", "-hide_banner", "-v", "info", "-nostdin", "-copyts", "-i", file, "-map", "0:v",
		"-vf", fmt.Sprintf("scale=%d:%d,format=gray,showinfo", width, height), "-vsync", "passthrough", "-f", "rawvideo", "-")
	var info logBuffer
	cmd.Stderr = &info
	luma, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, info.String())
	}
	stamps := ptsTime.FindAllStringSubmatch(info.String(), -1)
	out := map[int64]time.Time{}
	for i := 0; i < len(stamps) && (i+1)*width*height <= len(luma); i++ {
		at := time.Duration(seconds(t, stamps[i][1]) * float64(time.Second)).Round(time.Millisecond).Milliseconds()
		if clock, ok := testcard.ReadClock(luma[i*width*height:(i+1)*width*height], width, height, width, time.Now()); ok {
			out[at] = clock
		}
	}
	return out
}

// adaptive is what browser/ladder.mjs reports.
type adaptive struct {
	Fatal  []string `json:"fatal"`
	Errors []string `json:"errors"`
	Levels []string `json:"levels"`
	Phases []struct {
		Name     string  `json:"name"`
		Widths   []int   `json:"widths"`
		Last     int     `json:"last"`
		Frames   int     `json:"frames"`
		FreezeMs float64 `json:"freezeMs"` // longest time between two pictures, for whatever reason
		Stalls   []struct {
			Ms      float64 `json:"ms"`
			Ahead   float64 `json:"ahead"` // seconds that were buffered
			Seeking bool    `json:"seeking"`
		} `json:"stalls"`
	} `json:"phases"`
}

// movie is a picture that needs its bit rate, of noise, and a tone, for as long as a player is
// watched. It is made once: so the encoders of the server, and the browser, have the machine.
func movie(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "movie.mp4")
	_, errOut, err := run(t, 3*time.Minute, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin",
		"-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=15,noise=alls=12:allf=t", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-t", "120", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "30", "-keyint_min", "30", "-sc_threshold", "0",
		"-b:v", "2000k", "-maxrate", "2000k", "-bufsize", "1000k", "-c:a", "aac", "-b:a", "64k", "-ac", "2", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, errOut)
	}
	return file
}

// TestPlayersFollowTheNetwork plays the ladder in three players on a line that becomes
// narrow, so that the source does not fit, and wide again.
func TestPlayersFollowTheNetwork(t *testing.T) {
	s := start(t, "--transcode", "just-in-time")
	file := movie(t)
	for _, tt := range []struct {
		name, player, settings string
		line                   string  // kbit/s, before and after it is narrow
		wait                   float64 // ms, the longest for data that is accepted
		up                     bool
	}{
		// Its estimate falls slowly: after 20 Mbit/s it takes more than its buffer of 2 s to
		// see that the line became narrow. After 6 it waits not at all or, as things fall, 1.0 to
		// 1.2 s: for a part of the source, which takes 0.8 s on the narrow line, and the lowest
		// rendition's after it.
		{name: "hls.js", player: "hls", settings: "{}", line: "6000", wait: 2000, up: true},
		// Of a part that is asked for before it is there, Shaka takes the wait for slowness of
		// the line: at low latency it follows the line down, and not all the way up.
		{name: "Shaka, low latency", player: "shaka", settings: "{}", line: "20000", wait: 1000},
		{name: "Shaka", player: "shaka", settings: `{"streaming":{"lowLatencyMode":false}}`, line: "20000", wait: 1000, up: true},
		{name: "dash.js", player: "dash", settings: "{}", line: "20000", wait: 1000, up: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := s.in(t)
			st := s.createWith(map[string]any{"latency_mode": "low", "ladder": map[string]any{"rungs": []string{"360p@500k", "240p@250k"}}})
			p := encode(t, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-re", "-i", file, "-c", "copy", "-f", "flv", s.publishURL(st))
			defer p.kill()
			s.waitStatus(st, "active", 20*time.Second)
			s.waitPlayable(st, 15*time.Second)
			url, again := s.hlsURL(st), "60"
			if tt.player == "dash" {
				url = s.dashURL(st)
			}
			if !tt.up {
				again = "1"
			}
			out, errOut, err := run(t, 150*time.Second, "node", "browser/ladder.mjs", "--player", tt.player, "--url", url, "--line", tt.line, "--narrow", "1400", "--again", again, "--settings", tt.settings)
			if err != nil {
				t.Fatalf("%v\n%s", err, errOut)
			}
			t.Logf("%s", strings.TrimSpace(out))
			var a adaptive
			if err := json.Unmarshal([]byte(out), &a); err != nil {
				t.Fatal(err)
			}
			if len(a.Fatal) > 0 {
				t.Errorf("fatal: %v", a.Fatal)
			}
			if len(a.Phases) != 3 {
				t.Fatalf("%d phases", len(a.Phases))
			}
			if wide := a.Phases[0]; wide.Last != 1280 {
				t.Errorf("on a wide line it shows a width of %d (%v)", wide.Last, wide.Widths)
			}
			if narrow := a.Phases[1]; narrow.Last == 0 || narrow.Last >= 1280 {
				t.Errorf("on a narrow line it shows a width of %d (%v)", narrow.Last, narrow.Widths)
			}
			if again := a.Phases[2]; again.Last != 1280 && tt.up {
				t.Errorf("on a line that is wide again it shows a width of %d (%v)", again.Last, again.Widths)
			}
			for _, p := range a.Phases {
				for _, stall := range p.Stalls {
					if stall.Ms > tt.wait {
						t.Errorf("%s: it waited for %.0f ms with %.2f s in its buffer", p.Name, stall.Ms, stall.Ahead)
					}
				}
			}
		})
	}
}
