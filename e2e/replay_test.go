//go:build e2e

package e2e

import (
	"context"
	"encoding/csv"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"onair/internal/media"
)

// replaySeconds is how much of each sample is sent.
const replaySeconds = "6"

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
	t.Run("files", func(t *testing.T) {
		for _, name := range files {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s.in(t).replay(t, filepath.Join(root, "media", name))
			})
		}
	})
	if status := s.call("GET", "/v1/live-streams", nil, nil); status != 200 {
		t.Errorf("after all of them the server answers %d", status)
	}
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

// replay lets ffmpeg send one sample at its own pace, without decoding anything: over RTMP
// what that carries in ffmpeg's form of it, the rest as a transport stream over SRT.
func (s *server) replay(t *testing.T, file string) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	st := s.create("low")
	format, address := "flv", s.publishURL(st)
	if !carriedByFLV(t, file) {
		format, address = "mpegts", s.srtURL("publish:"+st.StreamKey)
	}
	sent := filepath.Join(t.TempDir(), "sent."+format)
	maps := []string{"-map", "0:v:0?", "-map", "0:a:0?", "-t", replaySeconds, "-c", "copy", "-f", format}
	args := append([]string{"-hide_banner", "-v", "error", "-nostdin", "-re", "-i", file}, maps...)
	args = append(append(append(args, address), maps...), sent)
	encoder := exec.CommandContext(ctx, "ffmpeg", args...)
	var said logBuffer
	encoder.Stderr = &said
	begun := time.Now()
	if err := encoder.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { encoder.Wait(); close(ended) }()
	defer func() { encoder.Process.Kill(); <-ended }()

	for s.get(st.ID).Status != "active" {
		select {
		case <-ended:
			s.unseen(t, st, sent, said.String())
			return
		default:
			pause(ctx, 50*time.Millisecond)
		}
	}
	online := time.Since(begun)
	got, err := s.readHLS(ctx, t, st)
	if err != nil {
		t.Fatalf("watching: %v; ffmpeg said:\n%s", err, said.String())
	}
	<-ended
	want := probe(t, sent)
	want.resembles(t, got)
	t.Logf("%s, online after %v", format, online.Round(10*time.Millisecond))
}

// carriedByFLV tells whether ffmpeg can put the file's codecs in FLV.
func carriedByFLV(t *testing.T, file string) bool {
	t.Helper()
	out, _, _ := run(t, 10*time.Second, "ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", file)
	for _, codec := range strings.Fields(out) {
		if !slices.Contains([]string{"h264", "aac", "mp3"}, strings.Trim(codec, ",")) {
			return false
		}
	}
	return true
}

// unseen judges a sample that was never online.
func (s *server) unseen(t *testing.T, st stream, sent, said string) {
	t.Helper()
	reason := s.refusal(st)
	n := probe(t, sent)
	switch {
	case reason != "":
		t.Logf("refused: %s", reason)
	case len(n.times[media.Video])+len(n.times[media.Audio]) < 30:
		t.Logf("not sent, or too short to be watched: %.200s", said)
	case len(n.keys) == 0 && len(n.times[media.Audio]) == 0:
		t.Logf("not one key frame in it")
	default:
		t.Errorf("%d and %d packets were sent, and nothing was said of them; ffmpeg said:\n%s", len(n.times[media.Video]), len(n.times[media.Audio]), said)
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

// probed is what ffprobe says of a file: the PTS of its packets by kind, in the order of
// the file, and those of key frames.
type probed struct {
	times [3][]time.Duration
	keys  []time.Duration
	// alien tells of codecs that have no place in the program.
	alien [3]bool
}

func probe(t *testing.T, file string) probed {
	t.Helper()
	var p probed
	out, _, _ := run(t, 20*time.Second, "ffprobe", "-v", "error", "-show_entries", "packet=codec_type,pts_time,flags", "-of", "csv=p=0", file)
	codecs, _, _ := run(t, 20*time.Second, "ffprobe", "-v", "error", "-show_entries", "stream=codec_name,codec_type", "-of", "csv=p=0", file)
	for _, line := range strings.Fields(codecs) {
		name, kind, _ := strings.Cut(line, ",")
		known := []string{"h264", "hevc", "aac", "mp3", "opus", "ac3", "eac3", "aac_latm"}
		if kind == "audio" {
			p.alien[media.Audio] = !slices.Contains(known, name)
		} else {
			p.alien[media.Video] = !slices.Contains(known, name)
		}
	}
	for _, line := range strings.Fields(out) {
		fields := strings.Split(line, ",")
		if len(fields) < 3 {
			continue
		}
		kind := media.Video
		if fields[0] == "audio" {
			kind = media.Audio
		}
		at := time.Duration(-1)
		if fields[1] != "N/A" {
			at = time.Duration(seconds(t, fields[1]) * float64(time.Second))
		}
		if kind == media.Video && len(p.keys) == 0 && !strings.HasPrefix(fields[2], "K") {
			continue // nothing could be decoded from it
		}
		if kind == media.Video && strings.HasPrefix(fields[2], "K") {
			p.keys = append(p.keys, at)
		}
		p.times[kind] = append(p.times[kind], at)
	}
	return p
}

// resembles compares counts and the distance of sound and picture.
func (p probed) resembles(t *testing.T, got []*media.Packet) {
	t.Helper()
	var first [3]time.Duration
	for _, kind := range []media.Kind{media.Video, media.Audio} {
		have := (&clip{packets: got}).of(kind)
		want := p.times[kind]
		if len(want) == 0 {
			continue
		}
		t.Logf("%d of %d %s packets", len(have), len(want), kind)
		if len(have) == 0 && p.alien[kind] {
			continue // a codec that nobody carries; there is another track to take
		}
		// Some at the end may have been on the way when ffmpeg closed.
		if len(have)*100 < (len(want)-6)*99 {
			t.Errorf("%d of %d %s packets came", len(have), len(want), kind)
		}
		if len(have) > 0 {
			first[kind] = have[0].Track.Duration(have[0].PTS)
		}
	}
	if len(p.times[media.Video]) == 0 || len(p.times[media.Audio]) == 0 || first[media.Video] == 0 || first[media.Audio] == 0 {
		return
	}
	// What came first of the sound may not be what was sent first: it is aligned to the
	// nearest one that was.
	after := first[media.Audio] - first[media.Video]
	best := time.Hour
	for _, at := range p.times[media.Audio] {
		if d := after - (at - p.keys[0]); d.Abs() < best.Abs() {
			best = d
		}
	}
	if best.Abs() > 20*time.Millisecond {
		t.Errorf("sound begins %v after the picture, %v from where it was sent", after, best)
	}
}
