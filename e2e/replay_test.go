//go:build e2e

package e2e

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/wire/rtmp"
)

// replaySeconds is how much of each sample is sent.
const replaySeconds = "5"

// refusedSamples are those that are sent and not carried, with words of the reason that
// the server gives.
var refusedSamples = map[string]string{
	"elementary/vp8.ivf":  "private data", // as which ffmpeg sends VP8
	"flv-rtmp/test.flv":   "private data", // likewise its video
	"ts/sample_h263.ts":   "MPEG-4 Visual",
	"ts/sample_scte35.ts": "MPEG-2 video, MPEG-1 audio layer II",
	"ts/test-143.ts":      "it carries H.264, MPEG-1 audio layer II", // and ffmpeg sends no picture
}

// unsentSamples are those of which ffmpeg sends nothing: what it says is in the log.
var unsentSamples = []string{
	"elementary/sps_subsetsps_bothVUI.264",
	"mp4/av1_multitile_init.mp4",     // the beginning of a file
	"mp4/dash-608-captions-init.mp4", // likewise
	"mp4/cea-segment.mp4",            // the rest of a file
	"mp4/h265-cea-segment.mp4",       // likewise
	"mp4/sample_missing_stsd.mp4",
	"ts/test-012.ts", // ffmpeg does not find the parameters of its tracks
	"ts/test-151.ts", // likewise
}

// untimedSamples are those for which ffmpeg finds no time stamps: they get even ones.
var untimedSamples = []string{
	"elementary/Cisco_Adobe_PDF_sample_a_1024x768_CAVLC_Bframe_9.264",
	"elementary/avatar.h264",
	"elementary/avatar.h265",
}

// beginnings are the files to which segments belong that stand alone.
var beginnings = map[string]string{
	"mp4/av1_multitile_seg.m4s":     "av1_multitile_init.mp4",
	"mp4/dash-608-captions-seg.m4s": "dash-608-captions-init.mp4",
}

// partSamples come through with fewer than 99 of 100 packets, and why that is so.
var partSamples = map[string]string{
	"elementary/CVFC1_Sony_C.jsv": "the picture parameters change under the same number between key frames, and what viewers get has one set a group",
}

// onlineSamples is how many samples are seen by viewers at least.
const onlineSamples = 80

// TestReplayOfSamples publishes every sample that there is: the server takes it, and then
// viewers get at least 99 of 100 frames with sound and picture as far apart as they were,
// or it says why not. It lives in any case.
func TestReplayOfSamples(t *testing.T) {
	root := os.Getenv("ONAIR_SHARED")
	if root == "" {
		root = "../../shared"
	}
	files := samples(t, filepath.Join(root, "media"))
	s := start(t, "--rtmp-max-per-address", "256", "--srt-max-per-address", "256")
	var online atomic.Int32
	all := t.Run("files", func(t *testing.T) {
		for _, name := range files {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if s.in(t).replay(t, name, filepath.Join(root, "media", name)) {
					online.Add(1)
				}
			})
		}
	})
	if status := s.call("GET", "/v1/live-streams", nil, nil); status != 200 {
		t.Errorf("after all of them the server answers %d", status)
	}
	t.Logf("%d of %d samples were seen by viewers", online.Load(), len(files))
	if all && !filtered() && online.Load() < onlineSamples {
		t.Errorf("fewer than %d", onlineSamples)
	}
}

// filtered reports whether only some of the samples were asked for.
func filtered() bool {
	f := flag.Lookup("test.run")
	return f != nil && strings.Contains(f.Value.String(), "/")
}

// samples lists the files of the shared folder that are media by themselves.
func samples(t *testing.T, dir string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "INDEX.tsv"))
	if errors.Is(err, os.ErrNotExist) {
		if os.Getenv("CI") == "true" {
			t.Fatal("the shared samples are missing")
		}
		t.Skip("the shared samples are not beside the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, row := range rows {
		switch row[0] {
		case "flv-rtmp", "ts", "mp4", "elementary", "audio":
			names = append(names, row[0]+"/"+row[1])
		}
	}
	return names
}

// replayLimit is how long it may take until a sample is on the air or refused, from the
// start of its sender on: 2 s of the first media, and what a busy machine takes.
const replayLimit = 5 * time.Second

// replay sends one sample and judges what became of it. It reports whether viewers saw it.
// Where the machine was too busy to send it at its pace the server fills the pause, and
// what belongs there comes too late: such a sample is not judged, and does not count.
func (s *server) replay(t *testing.T, name, file string) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	st := s.create("low")
	r := s.send(ctx, t, st, name, file)
	begun := time.Now()
	for s.get(st.ID).Status != "active" && !r.over() && s.refusal(st) == "" {
		pause(ctx, 50*time.Millisecond)
	}
	online := time.Since(begun)
	if !s.wasLive(ctx, st, r) {
		s.unseen(t, name, st, r, online)
		return false
	}
	got, err := s.readHLS(ctx, t, st)
	<-r.ended
	var wrong []string
	if err == nil {
		wrong = r.compare(t, got)
	} else {
		wrong = []string{"watching: " + err.Error()}
	}
	if online > replayLimit {
		wrong = append(wrong, "online after "+online.String())
	}
	t.Logf("by %s, online after %v", r.way, online.Round(10*time.Millisecond))
	_, paused, _, _ := s.log.find(`"msg":"the publisher is silent","stream":"` + st.ID)
	why, known := partSamples[name]
	switch {
	case len(wrong) == 0 && refusedSamples[name] != "":
		t.Errorf("it is not refused any more: take it from the list")
	case len(wrong) == 0 && known:
		t.Errorf("all of it came: take it from the list")
	case len(wrong) > 0 && known:
		t.Logf("%s: %s", strings.Join(wrong, "; "), why)
	case len(wrong) > 0 && paused:
		t.Logf("not judged, for its sender paused: %s", strings.Join(wrong, "; "))
		return false
	case len(wrong) > 0:
		t.Errorf("%s; the sender said:\n%s", strings.Join(wrong, "\n"), r.said())
	}
	return true
}

// sending is a sample under way.
type sending struct {
	way   string // "flv" and "mpegts" are ffmpeg's, "enhanced RTMP" our own client's
	ended chan struct{}
	said  func() string
	// sent returns what was sent as the file that ffmpeg wrote beside, and as packets.
	sent func() (probed, []*media.Packet)
}

func (r *sending) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// send begins to send a sample at its own pace, without decoding anything: over RTMP what
// that carries in ffmpeg's form of it, AV1 and VP9 over enhanced RTMP, and the rest as a
// transport stream over SRT.
func (s *server) send(ctx context.Context, t *testing.T, st stream, name, file string) *sending {
	t.Helper()
	if begin := beginnings[name]; begin != "" {
		file = "concat:" + filepath.Join(filepath.Dir(file), begin) + "|" + file
	}
	codecs := codecsOf(t, file)
	has := func(list ...string) bool {
		return slices.ContainsFunc(codecs, func(c string) bool { return slices.Contains(list, c) })
	}
	maps := []string{"-map", "0:V:0?", "-map", "0:a:0?", "-t", replaySeconds, "-c", "copy"}
	head := []string{"-hide_banner", "-v", "error", "-nostdin"}
	if has("av1", "vp9") {
		return s.sendEnhanced(ctx, t, st, append(append(head, "-i", file), maps...))
	}
	r := &sending{way: "flv", ended: make(chan struct{})}
	address := s.publishURL(st)
	if slices.ContainsFunc(codecs, func(c string) bool { return !slices.Contains([]string{"h264", "aac", "mp3"}, c) }) {
		// Without linger libsrt throws away what it has not sent yet.
		r.way, address = "mpegts", s.srtURL("publish:"+st.StreamKey)+"&linger=3"
	}
	sent := filepath.Join(t.TempDir(), "sent."+r.way)
	maps = append(maps, "-f", r.way)
	if slices.Contains(untimedSamples, name) {
		maps = append(maps, "-bsf:v", "setts=ts=N/25/TB")
	}
	args := append(append(head, "-re", "-i", file), maps...)
	args = append(append(append(args, address), maps...), sent)
	encoder := exec.CommandContext(ctx, "ffmpeg", args...)
	var said logBuffer
	encoder.Stderr = &said
	if err := encoder.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { encoder.Wait(); close(r.ended) }()
	t.Cleanup(func() { encoder.Process.Kill(); <-r.ended })
	r.said = said.String
	r.sent = func() (probed, []*media.Packet) { return probe(t, sent), packetsOf(t, r.way, sent) }
	return r
}

// sendEnhanced sends with our own client what ffmpeg puts into a fragmented MP4.
func (s *server) sendEnhanced(ctx context.Context, t *testing.T, st stream, args []string) *sending {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sent.mp4")
	_, said, err := run(t, 20*time.Second, "ffmpeg", append(args, "-f", "mp4", "-use_editlist", "0", "-movflags", "frag_keyframe+empty_moov+default_base_moof", file)...)
	r := &sending{way: "enhanced RTMP", ended: make(chan struct{}), said: func() string { return said }}
	c := &clip{}
	if data, e := os.ReadFile(file); err == nil && e == nil && len(data) > 0 {
		c.packets, c.tracks = readMP4(t, data)
	}
	slices.SortStableFunc(c.packets, func(a, b *media.Packet) int {
		return int(a.Track.Duration(a.DTS) - b.Track.Duration(b.DTS))
	})
	r.sent = func() (probed, []*media.Packet) { return probe(t, file), c.packets }
	go func() {
		defer close(r.ended)
		if len(c.packets) == 0 {
			return
		}
		p, err := rtmp.DialPublish(ctx, s.publishURL(st), c.tracks...)
		if err != nil {
			said += err.Error()
			return
		}
		defer p.Close()
		if err := send(ctx, p, c); err != nil {
			said += err.Error()
		}
	}()
	t.Cleanup(func() { <-r.ended })
	return r
}

func codecsOf(t *testing.T, file string) []string {
	t.Helper()
	var codecs []string
	for _, kind := range []string{"V:0", "a:0"} {
		out, _, _ := run(t, 10*time.Second, "ffprobe", "-v", "error", "-select_streams", kind, "-show_entries", "stream=codec_name", "-of", "csv=p=0", file)
		if codec, _, _ := strings.Cut(strings.TrimSpace(out), "\n"); codec != "" {
			codecs = append(codecs, strings.Trim(codec, ","))
		}
	}
	return codecs
}

// wasLive reports whether the stream was on the air. After the end of the sender the
// server may take a moment to say.
func (s *server) wasLive(ctx context.Context, st stream, r *sending) bool {
	for deadline := time.Now().Add(3 * time.Second); ; pause(ctx, 50*time.Millisecond) {
		if _, live, _, _ := s.log.find(`"msg":"stream live","stream":"` + st.ID); live {
			return true
		}
		if s.refusal(st) != "" || r.over() && time.Now().After(deadline) {
			return false
		}
	}
}

// unseen judges a sample that was never on the air.
func (s *server) unseen(t *testing.T, name string, st stream, r *sending, after time.Duration) {
	t.Helper()
	reason := s.refusal(st)
	<-r.ended
	want, _ := r.sent()
	n := len(want.times[media.Video]) + len(want.times[media.Audio])
	words := refusedSamples[name]
	switch {
	case slices.Contains(unsentSamples, name):
		t.Logf("ffmpeg sends nothing of %s (%d packets): %.300s; the server says %s", name, n, r.said(), reason)
	case words == "":
		t.Errorf("it was never on the air: %d packets were sent by %s; the server says %q, the sender said:\n%s", n, r.way, reason, r.said())
	case !strings.Contains(reason, words):
		t.Errorf("refused with %s, and not for %q", reason, words)
	case after > replayLimit:
		t.Errorf("refused only after %v", after)
	default:
		t.Logf("refused after %v: %s", after.Round(10*time.Millisecond), reason)
	}
}

// refusal returns why the stream's last publisher was refused, as the server's log has it.
func (s *server) refusal(st stream) string {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	for _, line := range s.log.all {
		if strings.Contains(line, "publisher refused") && strings.Contains(line, st.ID) {
			_, reason, _ := strings.Cut(line, `"reason":`)
			return reason
		}
	}
	return ""
}
