package ts_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
	"onair/internal/media/ts"
)

// Packets that are lost, damaged or sent twice cost what they touch.
func TestLoss(t *testing.T) {
	b, sent := stream(t, mediatest.Options{Duration: 10 * time.Second, FrameSize: 700})
	lossy := make([]byte, 0, len(b))
	for i := 0; i < len(b); i += 188 {
		switch n := i / 188; {
		case n%100 == 57: // lost
		case n%100 == 23:
			lossy = append(append(lossy, b[i:i+188]...), b[i:i+188]...)
		case n%1000 == 500:
			lossy = append(append(lossy, 1, 2, 3, 4, 5), b[i:i+188]...)
		default:
			lossy = append(lossy, b[i:i+188]...)
		}
	}
	r := ts.NewReader(bytes.NewReader(lossy))
	got, err := read(r)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, p := range sent {
		known[string(p.Data)] = true
	}
	n := 0
	for _, packets := range got {
		n += len(packets)
		for _, p := range packets {
			if !known[string(p.Data)] {
				t.Errorf("a packet at %d that was not sent: %d bytes", p.DTS, len(p.Data))
			}
		}
	}
	lost := len(b) / 188 / 100
	if s := r.Stats(); n < len(sent)-lost-2 || n == len(sent) || s.Lost < uint64(lost)-2 || s.Lost > uint64(lost)+2 || s.Resyncs == 0 {
		t.Errorf("%d of %d packets (%d pictures), %d lost, %+v", n, len(sent), len(got[1]), lost, s)
	}
}

// A programme that changes its map in mid-stream goes on under the same track numbers.
func TestMapChanges(t *testing.T) {
	a, _ := stream(t, mediatest.Options{Duration: time.Second})
	b, _ := stream(t, mediatest.Options{Video: media.HEVC, Audio: media.Opus, Duration: time.Second, Offset: time.Second})
	r := ts.NewReader(bytes.NewReader(append(a, b...)))
	got, err := read(r)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	tracks := r.Tracks()
	if len(tracks) != 2 || tracks[0].Codec != media.HEVC || tracks[0].ID != 1 || tracks[0].Version != 1 || tracks[1].Codec != media.Opus || tracks[1].Version != 1 {
		t.Errorf("%+v", tracks)
	}
	if r.Stats().Changes != 1 || len(got[1]) != 60 {
		t.Errorf("%+v, %d pictures", r.Stats(), len(got[1]))
	}
}

// New parameter sets make a new version of the track.
func TestParametersChange(t *testing.T) {
	a, _ := stream(t, mediatest.Options{NoAudio: true, Duration: time.Second})
	b, _ := stream(t, mediatest.Options{NoAudio: true, Width: 640, Height: 360, Duration: time.Second, Offset: time.Second})
	r := ts.NewReader(bytes.NewReader(append(a, b...)))
	got, err := read(r)
	if !errors.Is(err, io.EOF) || len(got[1]) != 60 {
		t.Fatal(err, len(got[1]))
	}
	if first, last := got[1][0].Track, got[1][59].Track; first.Width != 1280 || last.Width != 640 || last.Version != first.Version+1 || got[1][30].Track != last {
		t.Errorf("%+v and %+v", first, last)
	}
}

// A stream that ends before it could be read says what was missing.
func TestEndsTooSoon(t *testing.T) {
	good, _ := stream(t, mediatest.Options{Duration: time.Second})
	for want, b := range map[string][]byte{
		"nothing came": nil,
		"after 5 packets, before its programme list (PAT)":              good[2*188 : 7*188],
		"after 1 packets, before its programme map (PMT)":               good[:188],
		"after 3 packets, before its programme map (PMT)":               append(bytes.Clone(good[:188]), good[2*188:4*188]...),
		"before anything of it could be decoded; it carries H.264, AAC": good[:2*188],
	} {
		got, err := read(ts.NewReader(bytes.NewReader(b)))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || len(got) > 0 {
			t.Errorf("%d bytes: %v, want %q", len(b), err, want)
		}
	}
}

func section(pid uint16, body []byte) []byte {
	b := append([]byte{0x47, 0x40 | byte(pid>>8), byte(pid), 0x10, 0}, body...)
	for len(b) < 188 {
		b = append(b, 0xff)
	}
	return b
}

// Inputs made to cost much end with an error or the end, and cost little.
func TestBombs(t *testing.T) {
	good, _ := stream(t, mediatest.Options{Duration: time.Second})
	head := good[:2*188] // the tables
	pes := func(pid byte, payload []byte) []byte {
		return append([]byte{0x47, 0x41, pid, 0x10, 0, 0, 1, 0xe0, 0, 0, 0x84, 0x80, 5, 0x21, 0, 1, 0, 1}, payload...)
	}
	endless := func(pid byte, n int, fill ...byte) []byte {
		b := append(bytes.Clone(head), pes(pid, bytes.Repeat(fill, 170/len(fill)+1)[:170])...)
		for i := range n {
			b = append(b, 0x47, 1, pid, 0x10|byte(i+1)&15)
			b = append(b, bytes.Repeat(fill, 184/len(fill)+1)[:184]...)
		}
		return b
	}
	many := bytes.Clone(head)
	for i := range 20000 {
		many = append(many, pes(1, bytes.Repeat([]byte{0xff, 0xf1, 0x4c, 0x80, 0x01, 0x1f, 0xfc, 0}, 22)[:170])...)
		many[len(many)-188+3] = 0x10 | byte(i)&15
	}
	for name, b := range map[string][]byte{
		"a picture without end":   endless(0, 200000, 0xaa),
		"nothing but start codes": endless(0, 40000, 0, 0, 1),
		"tiny units":              endless(0, 40000, 0, 0, 1, 0x65),
		"tiny parameter sets":     endless(0, 40000, 0, 0, 1, 0x67, 0x42),
		"sound without end":       endless(1, 100000, 0xff),
		"tiny frames":             many,
		"garbage":                 bytes.Repeat([]byte{1, 2, 3}, 1<<20),
		"sync bytes":              bytes.Repeat([]byte{0x47}, 4<<20),
		"no tables":               bytes.Repeat(append([]byte{0x47, 0x1f, 0x00, 0x10}, make([]byte, 184)...), 210000),
		"a section without end":   bytes.Repeat(section(0, []byte{0, 0xbf, 0xff}), 20000),
		"an empty programme":      bytes.Repeat(section(0, []byte{0, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 0x2a, 0xb1, 0x04, 0xb2}), 210000),
		"half of a stream":        good[:len(good)/2+77],
		"an adaptation over all":  bytes.Repeat(append([]byte{0x47, 0, 0, 0x30, 255}, make([]byte, 183)...), 20000),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			r := ts.NewReader(bytes.NewReader(b))
			for {
				if _, err := r.ReadPacket(context.Background()); err != nil {
					if !errors.Is(err, io.EOF) && fault.KindOf(err) == fault.Internal {
						t.Errorf("ends with %v", err)
					}
					break
				}
			}
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 40<<20 {
				t.Errorf("%d bytes are held", grown)
			}
			runtime.KeepAlive(r)
		})
	}
}

func FuzzReader(f *testing.F) {
	for _, o := range []mediatest.Options{
		{Duration: 200 * time.Millisecond, FrameSize: 300}, {Video: media.HEVC, Audio: media.Opus, Duration: 200 * time.Millisecond, FrameSize: 300},
	} {
		b, _ := stream(f, o)
		f.Add(b)
	}
	for _, name := range []string{"sample_latm.ts", "sample_ac3.ts", "sample_h264_no_access_unit_delimiters.ts", "test-middle-pat-pmt.ts"} {
		if b, err := os.ReadFile("../../../../shared/media/ts/" + name); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := ts.NewReader(bytes.NewReader(b))
		for {
			p, err := r.ReadPacket(context.Background())
			if err != nil {
				if !errors.Is(err, io.EOF) && fault.KindOf(err) == fault.Internal {
					t.Fatal(err)
				}
				return
			}
			if p.Track == nil || p.Track.CodecString == "" || p.Track.Timescale != ts.Timescale || len(p.Data) == 0 || p.Track.ID < 1 {
				t.Fatalf("%+v", p)
			}
		}
	})
}
