package pack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func generate(t testing.TB, o mediatest.Options) []*media.Packet {
	t.Helper()
	if o.Start.IsZero() {
		o.Start = start
	}
	return describe(t, mediatest.NewGenerator(o))
}

// describe reads a source to its end, with tracks as ingest would make them.
func describe(t testing.TB, src media.Source) (list []*media.Packet) {
	t.Helper()
	described := map[*media.Track]*media.Track{}
	for {
		p, err := src.ReadPacket(context.Background())
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if described[p.Track] == nil {
			d, err := bitstream.Describe(p.Track)
			if err != nil {
				t.Fatal(err)
			}
			described[p.Track] = d
		}
		p.Track = described[p.Track]
		list = append(list, p)
	}
}

func testStream(mode media.LatencyMode) *Stream {
	return newStream(DefaultConfig(), "ls_test", termsOf(mode), newMetrics(nil), slog.New(slog.DiscardHandler))
}

func termsOf(mode media.LatencyMode) func() (media.LatencyMode, bool) {
	return func() (media.LatencyMode, bool) { return mode, false }
}

// script yields packets and errors, and then io.EOF.
type script []any

func (s *script) ReadPacket(context.Context) (*media.Packet, error) {
	if len(*s) == 0 {
		return nil, io.EOF
	}
	next := (*s)[0]
	*s = (*s)[1:]
	if err, ok := next.(error); ok {
		return nil, err
	}
	return next.(*media.Packet), nil
}

func (*script) Close() {}

func (s *script) open() ([]opened, <-chan struct{}) { return []opened{{reader: s}}, nil }

func TestGapOfTheReaderIsADiscontinuity(t *testing.T) {
	list := generate(t, mediatest.Options{Duration: 40 * time.Second})
	var in script
	for i, p := range list {
		at := p.Arrival.Sub(start)
		if at > 20300*time.Millisecond && at < 26*time.Second {
			continue
		}
		if at >= 26*time.Second && list[i-1].Arrival.Sub(start) < 26*time.Second {
			in = append(in, &hub.Gap{Lost: 300})
		}
		in = append(in, p)
	}
	s := testStream(media.LatencyLow)
	s.run(t.Context(), &in)
	if !s.Ended() {
		t.Error("the stream has not ended")
	}
	for _, r := range s.Renditions() {
		snap := r.Snapshot()
		discs := 0
		for i, seg := range snap.Segments {
			if !seg.Discontinuity {
				continue
			}
			discs++
			before := snap.Segments[i-1]
			hole := seg.Start.Sub(before.Start.Add(before.Duration))
			if hole < 5600*time.Millisecond || hole > 5800*time.Millisecond {
				t.Errorf("%s: PROGRAM-DATE-TIME goes on after %v", r.Name(), hole)
			}
		}
		if discs != 1 || !snap.Ended || snap.Hint != "" {
			t.Errorf("%s: %d discontinuities, ended %v, hint %q", r.Name(), discs, snap.Ended, snap.Hint)
		}
	}
}

// P2: neither five minutes without a key frame nor a day of timestamps make a part longer
// than it may be.
func TestP2LongGroups(t *testing.T) {
	for _, offset := range []time.Duration{0, 26 * time.Hour, 400 * 24 * time.Hour} {
		s := testStream(media.LatencyLow)
		for _, p := range generate(t, mediatest.Options{GOP: 9000, Offset: offset, Duration: 90 * time.Second}) {
			s.write(p)
		}
		r, ok := s.Rendition("v0")
		if !ok {
			t.Fatalf("offset %v: nothing to play", offset)
		}
		for _, seg := range r.Snapshot().Segments {
			if seg.Duration > s.seg.plan.limit() {
				t.Errorf("offset %v: segment of %v", offset, seg.Duration)
			}
			for _, p := range seg.Parts {
				if p.Duration > r.PartTarget() {
					t.Errorf("offset %v: part of %v", offset, p.Duration)
				}
			}
		}
		if r.Snapshot().Independent {
			t.Error("segments without a key frame are called independent")
		}
	}
}

// P3: whatever the timestamps do, what comes out advances.
func TestP3AnyTimestamps(t *testing.T) {
	list := generate(t, mediatest.Options{Duration: 30 * time.Second, GOP: 30, RateNum: 10, FrameSize: 50, AudioSize: 20})
	steps := []int64{0, 0, 0, 0, 1, -1, 5000, -5000, 1 << 33, -(1 << 33), 90_000 * 3600 * 26, -90_000}
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var offset [2]int64
		s := testStream(media.LatencyLow)
		for i, p := range list {
			if i%16 == 0 {
				offset[rnd.IntN(2)] += steps[rnd.IntN(len(steps))]
			}
			q := *p
			q.DTS += offset[p.Track.ID%2]
			q.PTS = q.DTS + rnd.Int64N(10_000) - 5000
			s.write(&q)
		}
		s.end()
		for _, r := range s.Renditions() {
			var last *Segment
			for _, seg := range r.Snapshot().Segments {
				if seg.Duration <= 0 || seg.Duration > s.seg.plan.limit() {
					t.Fatalf("seed %d, %s: segment %d of %v", seed, r.Name(), seg.Sequence, seg.Duration)
				}
				if last != nil && (seg.Sequence != last.Sequence+1 || seg.Start.Before(last.Start)) {
					t.Fatalf("seed %d, %s: segment %d at %v after %d at %v", seed, r.Name(), seg.Sequence, seg.Start, last.Sequence, last.Start)
				}
				last = seg
			}
		}
	}
}

// A stream of changing parameters must not overtake the clock that sequence numbers
// start from, or a restarted server would number lower.
func TestBordersAreBounded(t *testing.T) {
	a := generate(t, mediatest.Options{NoAudio: true, GOP: 1, Duration: 30 * time.Second})
	b := generate(t, mediatest.Options{NoAudio: true, GOP: 1, Duration: 30 * time.Second, Width: 640, Height: 360})
	s := testStream(media.LatencyLow)
	for i := range a {
		if i%2 == 0 {
			s.write(a[i])
		} else {
			s.write(b[i])
		}
	}
	r, ok := s.Rendition("v0")
	if !ok {
		t.Fatal("nothing to play")
	}
	if n := r.Snapshot().LastSequence() - start.Unix(); n > 30+borderBurst+1 {
		t.Errorf("%d segments in 30 s", n)
	}
}

func TestWindowIsBoundedInBytes(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxWindowBytes = 8 << 20
	m := newMetrics(nil)
	s := newStream(cfg, "ls_test", termsOf(media.LatencyLow), m, slog.New(slog.DiscardHandler))
	for _, p := range generate(t, mediatest.Options{NoAudio: true, FrameSize: 30_000, Duration: 60 * time.Second}) {
		s.write(p)
		for _, b := range s.all {
			if largest := 2 << 21; b.keptBytes > cfg.MaxWindowBytes+largest {
				t.Fatalf("%d bytes are kept", b.keptBytes)
			}
		}
	}
	if r, _ := s.Rendition("v0"); len(r.Snapshot().Segments) < leastSegments {
		t.Errorf("%d segments are left", len(r.Snapshot().Segments))
	}
}

// PART-TARGET must leave room for a whole number of frames.
func TestPartTargetsFitFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		goal := rapid.SampledFrom([]time.Duration{200 * time.Millisecond, 500 * time.Millisecond}).Draw(t, "goal")
		frame := time.Duration(rapid.Int64Range(int64(4*time.Millisecond), int64(900*time.Millisecond)).Draw(t, "frame"))
		p := &plan{part: goal}
		steps := make([]time.Duration, 60)
		for i := range steps {
			steps[i] = frame
		}
		video := p.videoTarget(steps, &media.Track{Codec: media.H264, Timescale: 90000})
		audio, _ := p.audioTarget(frame, &media.Track{Codec: media.AAC, Timescale: 48000})
		for _, target := range []time.Duration{video, audio} {
			n := target / frame
			if n < 1 || float64(n*frame) < minPart*float64(target) {
				t.Fatalf("frames of %v: %d of them are too short for a target of %v", frame, n, target)
			}
			if target > 2*max(goal, frame) {
				t.Fatalf("frames of %v: target %v", frame, target)
			}
		}
	})
}

func FuzzParseName(f *testing.F) {
	const epoch = "tp110e9hc06"
	f.Add(partName(epoch, 17))
	f.Add(segmentName(epoch, 1772366400))
	f.Add(initName(epoch, 0))
	f.Add("p" + epoch + ".007.m4s")
	f.Add("../../etc/passwd")
	f.Add("\xf0" + epoch + ".0.m4s")
	f.Fuzz(func(t *testing.T, name string) {
		kind, id, ok := parseName(name)
		if !ok {
			return
		}
		ext := ".m4s"
		if kind == 'i' {
			ext = ".mp4"
		}
		middle, _, _ := strings.Cut(name[1:], ".")
		if back := string([]byte{kind}) + middle + "." + strconv.FormatInt(id, 10) + ext; back != name {
			t.Errorf("%q was read as %q", name, back)
		}
	})
}

func TestConfigIsValidated(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{}.Validate()
	for _, key := range []string{"segment-target", "window", "max-window-bytes", "keep-ended"} {
		if err == nil || !strings.Contains(err.Error(), "pack-"+key) {
			t.Errorf("pack.%s is not complained about: %v", key, err)
		}
	}
}

// Real media goes through and comes out decodable: the same frames, without an error.
func TestRealMediaDecodes(t *testing.T) {
	ffmpeg := mediatest.Program(t, "ffmpeg")
	for _, name := range []string{
		"flv-rtmp/bbb.flv", "flv-rtmp/test_short.flv", "flv-rtmp/bun33s_audio.flv", "mp4/long_180p_av1.mp4",
		"mp4/video_144p_108k_h264.mp4", "mp4/trim_optimization_failure.mp4", "mp4/hdr10-av1.mp4", "mp4/bbb_800x640_768kbps_30fps_vp9.mp4", "elementary/avatar.ogg",
	} {
		for _, mode := range []media.LatencyMode{media.LatencyUltra, media.LatencyStandard} {
			t.Run(filepath.Base(name)+"/"+string(mode), func(t *testing.T) {
				t.Parallel()
				file := mediatest.SharedFile(t, name)
				var complaint bytes.Buffer
				cmd := exec.Command(ffmpeg, "-v", "error", "-i", file, "-t", "30", "-map", "0:v:0?", "-map", "0:a:0?", "-c", "copy",
					"-f", "mp4", "-movflags", "frag_every_frame+empty_moov+default_base_moof+delay_moov", "-")
				cmd.Stderr = &complaint
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v: %s", err, complaint.Bytes())
				}
				s := testStream(mode)
				in := map[media.Kind]int{}
				for _, p := range describe(t, fmp4.NewReader(bytes.NewReader(out))) {
					p.Arrival = start.Add(p.Track.Duration(p.DTS))
					in[p.Track.Kind()]++
					s.write(p)
				}
				s.end()
				for _, r := range s.Renditions() {
					frames := decode(t, ffmpeg, r)
					if want := in[r.Kind()]; r.Kind() == media.Video && (frames > want || frames < want-2) {
						t.Errorf("%s: %d frames, want %d", r.Name(), frames, want)
					}
				}
				if len(s.Renditions()) != len(in) {
					t.Errorf("%d renditions of %d tracks", len(s.Renditions()), len(in))
				}
			})
		}
	}
}

// decode decodes all segments of a rendition and returns the number of frames.
func decode(t *testing.T, ffmpeg string, r *Rendition) int {
	t.Helper()
	var all bytes.Buffer
	snap := r.Snapshot()
	for i, seg := range snap.kept {
		if i == 0 {
			all.Write(seg.Init.Blob.Chunks[0])
		}
		if seg.Gap {
			t.Logf("%s: segment %d of %v, %v of %d, is a gap", r.Name(), i, seg.Duration, seg.Start, len(snap.kept))
			continue
		}
		for _, c := range seg.Blob.Chunks {
			all.Write(c)
		}
	}
	file := filepath.Join(t.TempDir(), "all.mp4")
	if err := os.WriteFile(file, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(ffmpeg, "-v", "error", "-xerror", "-i", file, "-f", "null", "-progress", "pipe:1", "-").CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v: %s", r.Name(), err, out)
	}
	frames := 0
	for line := range strings.Lines(string(out)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			t.Errorf("%s: %s", r.Name(), line)
		}
		if key == "frame" {
			frames, _ = strconv.Atoi(value)
		}
	}
	return frames
}

func BenchmarkPack(b *testing.B) {
	list := generate(b, mediatest.Options{Duration: time.Minute, FrameSize: 10_000, AudioSize: 340})
	b.ReportAllocs()
	parts := 0
	for b.Loop() {
		s := testStream(media.LatencyUltra)
		for _, p := range list {
			s.write(p)
		}
		for _, bu := range s.all {
			parts += int(bu.nextPart)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(parts), "ns/part")
	b.ReportMetric(float64(parts)/float64(b.N), "parts/op")
}
