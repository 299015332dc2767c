package media

import (
	"context"
	"errors"
	"io"
	"math"
	"testing"
	"time"
)

func TestRescale(t *testing.T) {
	for _, tt := range []struct{ v, from, to, want int64 }{
		{0, 1000, 90000, 0},
		{33, 1000, 90000, 2970},
		{-33, 1000, 90000, -2970},
		{1024, 48000, 1000, 21},
		{1536, 48000, 1000, 32},
		{1, 3, 2, 1},
		{-1, 3, 2, -1},
		{5, 0, 1, 0},
		{5, 1, -1, 0},
		{math.MaxInt64, 1, 90000, math.MaxInt64},
		{math.MaxInt64, 90000, 90000, math.MaxInt64},
		{1 << 62, 1_000_000_000, 90000, 415051741658 * 1000 * 1},
	} {
		got := Rescale(tt.v, tt.from, tt.to)
		if tt.v == 1<<62 {
			if got < 0 {
				t.Errorf("Rescale(%d, %d, %d) = %d overflowed", tt.v, tt.from, tt.to, got)
			}
			continue
		}
		if got != tt.want {
			t.Errorf("Rescale(%d, %d, %d) = %d, want %d", tt.v, tt.from, tt.to, got, tt.want)
		}
	}
}

func TestTrackDurationIsInverseOfTicks(t *testing.T) {
	tr := &Track{Timescale: 48000}
	for _, d := range []time.Duration{0, time.Second, -3 * time.Second, 26 * time.Hour} {
		if got := tr.Duration(tr.Ticks(d)); got != d {
			t.Errorf("Duration(Ticks(%v)) = %v", d, got)
		}
	}
}

func TestCodecKinds(t *testing.T) {
	for c := H264; c <= FLAC; c++ {
		if c.Kind() == 0 || c.String() == "unknown" {
			t.Errorf("codec %d has kind %v and name %q", c, c.Kind(), c)
		}
	}
	if UnknownCodec.Kind() != 0 || Codec(200).String() != "unknown" {
		t.Error("an unknown codec claims a kind or a name")
	}
}

type sliceSource []*Packet

func (s *sliceSource) ReadPacket(context.Context) (*Packet, error) {
	if len(*s) == 0 {
		return nil, io.EOF
	}
	p := (*s)[0]
	*s = (*s)[1:]
	return p, nil
}

type sliceSink struct {
	got  []*Packet
	fail error
}

func (s *sliceSink) WritePacket(_ context.Context, p *Packet) error {
	if s.fail != nil {
		return s.fail
	}
	s.got = append(s.got, p)
	return nil
}

func TestCopy(t *testing.T) {
	a, b := &Packet{DTS: 1}, &Packet{DTS: 2}
	src, dst := &sliceSource{a, b}, &sliceSink{}
	if err := Copy(context.Background(), dst, src); !errors.Is(err, io.EOF) {
		t.Fatalf("Copy returned %v, want io.EOF", err)
	}
	if len(dst.got) != 2 || dst.got[0] != a || dst.got[1] != b {
		t.Fatalf("Copy moved %v", dst.got)
	}
	full := errors.New("full")
	if err := Copy(context.Background(), &sliceSink{fail: full}, &sliceSource{a}); !errors.Is(err, full) {
		t.Fatalf("Copy returned %v, want the sink's error", err)
	}
}
