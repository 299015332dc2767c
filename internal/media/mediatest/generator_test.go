package mediatest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// What the generator makes must pass the program's own readers, or the tests that use it
// test nothing.
func TestPacketsAreWellFormed(t *testing.T) {
	for _, o := range []Options{
		{},
		{BFrames: 2, GOP: 13},
		{Video: media.HEVC, BFrames: 1, Audio: media.Opus},
		{Video: media.AV1, Width: 1920, Height: 1080, RateNum: 60},
		{Video: media.VP9, Width: 640, Height: 360},
		{Timescale: 1000, VariableRate: true, AudioDelay: 300 * time.Millisecond},
		{NoVideo: true, SampleRate: 44100, Channels: 1},
		{NoAudio: true, RateNum: 30000, RateDen: 1001, UndeclaredRate: true},
	} {
		g := NewGenerator(o)
		last := map[int]int64{}
		keys := 0
		for range 1000 {
			p := g.Next()
			if d, ok := last[p.Track.ID]; ok && p.DTS <= d {
				t.Fatalf("%+v: track %d: DTS %d after %d", o, p.Track.ID, p.DTS, d)
			}
			last[p.Track.ID] = p.DTS
			if p.PTS < p.DTS {
				t.Fatalf("%+v: PTS %d before DTS %d", o, p.PTS, p.DTS)
			}
			if p.Key != bitstream.IsKey(p.Track.Codec, p.Data) {
				t.Fatalf("%+v: key is %v, the payload says otherwise", o, p.Key)
			}
			out, params, err := bitstream.Normalize(p.Track, p.Data)
			if err != nil || params != nil || len(out) != len(p.Data) {
				t.Fatalf("%+v: Normalize: %d of %d bytes, params %x, %v", o, len(out), len(p.Data), params, err)
			}
			if p.Key {
				keys++
			}
		}
		if keys < 2 {
			t.Errorf("%+v: %d keys", o, keys)
		}
	}
}

func TestTracksSayWhatWasAsked(t *testing.T) {
	for _, codec := range []media.Codec{media.H264, media.HEVC, media.AV1} {
		for _, size := range [][2]int{{1280, 720}, {1920, 1080}, {426, 240}} {
			v := NewGenerator(Options{Video: codec, Width: size[0], Height: size[1], RateNum: 25}).Tracks()[0]
			if v.Width != size[0] || v.Height != size[1] || v.FrameRate != 25 {
				t.Errorf("%v: %dx%d at %g, want %v at 25", codec, v.Width, v.Height, v.FrameRate, size)
			}
		}
	}
	v := NewGenerator(Options{RateNum: 30000, RateDen: 1001, UndeclaredRate: true}).Tracks()[0]
	if v.FrameRate != 0 {
		t.Errorf("an undeclared rate is %g", v.FrameRate)
	}
}

// B-frames must be shown in an order without holes: each PTS once, one frame apart.
func TestBFramesFillTheDisplayOrder(t *testing.T) {
	for b := range 4 {
		g := NewGenerator(Options{NoAudio: true, BFrames: b, GOP: 10})
		shown := map[int64]bool{}
		for range 20 {
			shown[g.Next().PTS/3000] = true
		}
		for i := range int64(20) {
			first := int64(0)
			if b > 0 {
				first = 1
			}
			if !shown[i+first] {
				t.Errorf("%d B-frames: nothing is shown at frame %d", b, i)
			}
		}
	}
}

func TestSameOptionsSamePackets(t *testing.T) {
	a, b := NewGenerator(Options{Seed: 3}), NewGenerator(Options{Seed: 3})
	for range 100 {
		if d := cmp.Diff(a.Next(), b.Next()); d != "" {
			t.Fatal(d)
		}
	}
	if cmp.Equal(NewGenerator(Options{Seed: 4}).Next().Data, NewGenerator(Options{Seed: 3}).Next().Data) {
		t.Error("another seed makes the same payload")
	}
}

func TestSourceEnds(t *testing.T) {
	g := NewGenerator(Options{Duration: time.Second})
	n := 0
	for {
		p, err := g.ReadPacket(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Track.Duration(p.DTS) >= time.Second {
			t.Errorf("a packet at %v", p.Track.Duration(p.DTS))
		}
		n++
	}
	if n != 30+47 {
		t.Errorf("%d packets in a second, want 30 and 47", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := NewGenerator(Options{}).ReadPacket(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadPacket with an ended context returned %v", err)
	}
}
