package ts_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
	"onair/internal/media/ts"
)

// stream writes what a generator makes.
func stream(t testing.TB, o mediatest.Options) ([]byte, []*media.Packet) {
	t.Helper()
	g := mediatest.NewGenerator(o)
	var b bytes.Buffer
	w, err := ts.NewWriter(&b, g.Tracks())
	if err != nil {
		t.Fatal(err)
	}
	var sent []*media.Packet
	for {
		p, err := g.ReadPacket(context.Background())
		if errors.Is(err, io.EOF) {
			return b.Bytes(), sent
		}
		sent = append(sent, p)
		if err := w.WritePacket(context.Background(), p); err != nil {
			t.Fatal(err)
		}
	}
}

// compare reads b and compares it with what was sent, all but time's constant.
func compare(b []byte, sent []*media.Packet) error {
	r := ts.NewReader(bytes.NewReader(b))
	got := map[int][]*media.Packet{}
	for {
		p, err := r.ReadPacket(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		got[p.Track.ID] = append(got[p.Track.ID], p)
	}
	want := map[int][]*media.Packet{}
	for _, p := range sent {
		want[p.Track.ID] = append(want[p.Track.ID], p)
	}
	for id := range want {
		if len(got[id]) != len(want[id]) {
			return fmt.Errorf("track %d: %d packets, want %d", id, len(got[id]), len(want[id]))
		}
		for i, w := range want[id] {
			g := got[id][i]
			at := func(v int64) int64 { return media.Rescale(v, int64(w.Track.Timescale), ts.Timescale) + ts.Timescale/2 }
			near := func(a, b int64) bool { d := (a - b) % (1 << 33); return d >= -1 && d <= 1 || d >= 1<<33-1 }
			if !bytes.Equal(g.Data, w.Data) || g.Key != w.Key || !near(g.PTS, at(w.PTS)) || !near(g.DTS, at(w.DTS)) {
				return fmt.Errorf("track %d packet %d: pts %d dts %d key %v %d bytes, want %d %d %v %d", id, i, g.PTS, g.DTS, g.Key, len(g.Data), at(w.PTS), at(w.DTS), w.Key, len(w.Data))
			}
			if g.Track.Codec != w.Track.Codec || !bytes.Equal(g.Track.Config, w.Track.Config) || g.Track.Version != 0 {
				return fmt.Errorf("track %+v, want %+v", g.Track, w.Track)
			}
		}
	}
	if s := r.Stats(); s.Lost+s.Damaged+s.Resyncs+s.Changes > 0 || len(s.Skipped) > 0 {
		return fmt.Errorf("%+v", s)
	}
	return nil
}

func options(t *rapid.T) mediatest.Options {
	o := mediatest.Options{
		Video: rapid.SampledFrom([]media.Codec{media.H264, media.HEVC}).Draw(t, "video"),
		Audio: rapid.SampledFrom([]media.Codec{media.AAC, media.Opus}).Draw(t, "audio"),
		Width: 640, Height: 360, BFrames: rapid.IntRange(0, 3).Draw(t, "b"), GOP: rapid.IntRange(4, 20).Draw(t, "gop"),
		FrameSize:  rapid.SampledFrom([]int{60, 150, 170, 3000, 40000}).Draw(t, "size"),
		AudioSize:  rapid.IntRange(20, 700).Draw(t, "audio size"),
		SampleRate: rapid.SampledFrom([]int{44100, 48000}).Draw(t, "rate"), Channels: rapid.IntRange(1, 2).Draw(t, "channels"),
		Timescale: rapid.SampledFrom([]int{0, 1000}).Draw(t, "scale"), Duration: time.Second, Seed: rapid.Uint64().Draw(t, "seed"),
		Offset: rapid.SampledFrom([]time.Duration{0, time.Hour, (1<<33)*time.Second/90000 - 500*time.Millisecond}).Draw(t, "offset"),
	}
	switch rapid.IntRange(0, 5).Draw(t, "one") {
	case 0:
		o.NoVideo = true
	case 1:
		o.NoAudio = true
	}
	return o
}

// What is written is read again, byte by byte.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b, sent := stream(t, options(rt))
		if len(b)%188 != 0 {
			rt.Fatalf("%d bytes", len(b))
		}
		if err := compare(b, sent); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestStrides(t *testing.T) {
	b, sent := stream(t, mediatest.Options{Duration: time.Second})
	for _, tt := range []struct{ before, behind int }{{4, 0}, {0, 16}} {
		var wide []byte
		for at := 0; at < len(b); at += 188 {
			wide = append(wide, make([]byte, tt.before)...)
			wide = append(wide, b[at:at+188]...)
			wide = append(wide, make([]byte, tt.behind)...)
		}
		if err := compare(wide, sent); err != nil {
			t.Errorf("packets of %d: %v", 188+tt.before+tt.behind, err)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	for _, c := range []media.Codec{media.AV1, media.VP9} {
		_, err := ts.NewWriter(io.Discard, mediatest.NewGenerator(mediatest.Options{Video: c}).Tracks())
		if !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), c.String()) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := ts.NewWriter(io.Discard, nil); err == nil {
		t.Error("no tracks are taken")
	}
}

// ffprobe reads what is written without a complaint, with the times that were meant.
func TestFFprobe(t *testing.T) {
	for _, o := range []mediatest.Options{
		{Duration: 3 * time.Second, BFrames: 2}, {Video: media.HEVC, Audio: media.Opus, Duration: 3 * time.Second},
		{NoVideo: true, SampleRate: 44100, Channels: 1, Duration: 3 * time.Second},
	} {
		b, sent := stream(t, o)
		file := filepath.Join(t.TempDir(), "a.ts")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.Command(mediatest.Program(t, "ffprobe"), "-v", "warning", "-show_packets", "-show_entries", "packet=stream_index,pts", "-of", "csv=p=0", file)
		var complaints bytes.Buffer
		c.Stderr = &complaints
		out, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(complaints.String(), "mpegts") {
			t.Errorf("%s", complaints.String())
		}
		n := 0
		for _, line := range strings.Fields(string(out)) {
			f := strings.Split(line, ",")
			if _, err := strconv.Atoi(f[0]); err == nil {
				n++
			}
		}
		if n != len(sent) {
			t.Errorf("%d packets, want %d", n, len(sent))
		}
	}
}
