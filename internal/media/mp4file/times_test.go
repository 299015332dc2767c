package mp4file

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// A gap and all of one track's segments missing for a while leave the others where they are.
func TestGapsKeepPictureAndSoundTogether(t *testing.T) {
	r := record(t, generate(mediatest.Options{BFrames: 1, AudioDelay: 10 * time.Millisecond, Duration: 12 * time.Second}), 2*time.Second, 9)
	for i := range r.tracks {
		dropped := 0
		for n := range 2 { // the third and fourth of pictures, the third of sound
			if i == 1 && n == 1 {
				break
			}
			s := &r.tracks[i].Segments[2+n]
			reader, err := s.Table.read(s.Size)
			if err != nil {
				t.Fatal(err)
			}
			dropped += reader.left
			s.Table = nil
		}
		before := 0
		for _, s := range r.tracks[i].Segments[:2] {
			reader, _ := s.Table.read(s.Size)
			before += reader.left
		}
		r.expected[i] = append(r.expected[i][:before:before], r.expected[i][before+dropped:]...)
	}
	compare(t, r, whole(t, r.file(t)))
}

// Where segments overlap, the later one is decoded as soon as can be, and presented when
// it says.
func TestOverlap(t *testing.T) {
	r := record(t, generate(mediatest.Options{NoAudio: true, Duration: 4 * time.Second}), 2*time.Second, 9)
	r.tracks[0].Segments[1].BaseTime -= 9000 // three frames
	_, files := parse(t, whole(t, r.file(t)))
	for i, g := range files[0] {
		want := float64(i) / 30
		if i >= 60 {
			want -= 0.1
		}
		if d := g.pts - want; d > 1e-4 || d < -1e-4 {
			t.Fatalf("sample %d is presented at %v, want %v", i, g.pts, want)
		}
		if i > 0 && g.dts <= files[0][i-1].dts {
			t.Fatalf("sample %d is decoded at %v, and the one before it at %v", i, g.dts, files[0][i-1].dts)
		}
	}
	r.tracks[0].Segments[1].BaseTime = -9000
	if _, err := New(r.tracks, r.open); !fault.Is(err, fault.Invalid) {
		t.Errorf("a segment 2 s too early: %v", err)
	}
}

func TestNoMedia(t *testing.T) {
	track := mediatest.NewGenerator(mediatest.Options{NoAudio: true}).Tracks()[0]
	for _, tracks := range [][]Track{nil, {{Track: track}}, {{Track: track, Segments: []Segment{{}}}}} {
		if _, err := New(tracks, nil); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
	}
}

// big is a segment whose samples are 600 MiB large, of which nothing exists.
func big(track *media.Track, n int) Track {
	out := Track{Track: track}
	for i := range n {
		var w tableWriter
		w.addExtent(extent{from: 100, size: 600 << 20})
		w.add(sample{size: 600 << 20, duration: 90000, sync: true})
		out.Segments = append(out.Segments, Segment{Table: w.table(), BaseTime: int64(i) * 90000, Size: 100 + 600<<20})
	}
	return out
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestOver4GiB(t *testing.T) {
	track := mediatest.NewGenerator(mediatest.Options{NoAudio: true}).Tracks()[0]
	for n, box := range map[int]string{6: "stco", 7: "co64"} {
		type opened struct {
			segment        int
			offset, length int64
		}
		var calls []opened
		f, err := New([]Track{big(track, n)}, func(_ context.Context, _, segment int, offset, length int64) (io.ReadCloser, error) {
			calls = append(calls, opened{segment, offset, length})
			return io.NopCloser(io.LimitReader(zeros{}, length)), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(f.head, []byte(box)) {
			t.Errorf("%d segments: no %s", n, box)
		}
		if f.Size() != int64(len(f.head))+int64(n)*600<<20 {
			t.Errorf("%d segments: %d bytes", n, f.Size())
		}
		if n == 7 && f.Size() <= math.MaxUint32 {
			t.Fatal("the file is not large enough")
		}
		// Across the border of the last two segments, beyond 3 or 4 GiB.
		if err := f.CopyRange(t.Context(), io.Discard, f.Size()-600<<20-10, 15); err != nil {
			t.Fatal(err)
		}
		if len(calls) != 2 || calls[0] != (opened{n - 2, 100 + 600<<20 - 10, 10}) || calls[1] != (opened{n - 1, 100, 5}) {
			t.Errorf("%d segments: opened %v", n, calls)
		}
		// The positions are those of the payload.
		at := bytes.Index(f.head, []byte(box)) + 12
		for i, c := range f.chunks {
			got := int64(0)
			for _, b := range f.head[at+i*map[string]int{"stco": 4, "co64": 8}[box]:][:map[string]int{"stco": 4, "co64": 8}[box]] {
				got = got<<8 | int64(b)
			}
			if got != c.at {
				t.Fatalf("chunk %d is at %d, and the header says %d", i, c.at, got)
			}
		}
	}
}

func TestFailuresWhileCopying(t *testing.T) {
	r := record(t, generate(mediatest.Options{NoAudio: true, Duration: 4 * time.Second}), 2*time.Second, 9)
	gone := errors.New("gone")
	closed := 0
	f, err := New(r.tracks, func(ctx context.Context, track, segment int, offset, length int64) (io.ReadCloser, error) {
		if segment == 1 {
			return nil, gone
		}
		inner, err := r.open(ctx, track, segment, offset, length)
		return &counted{io.LimitReader(inner, length-1), &closed}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = f.CopyRange(t.Context(), io.Discard, 0, f.Size())
	if !fault.Is(err, fault.Internal) || !errors.Is(err, io.ErrUnexpectedEOF) || closed != 1 {
		t.Errorf("a short segment: %v, closed %d", err, closed)
	}
	if err := f.CopyRange(t.Context(), io.Discard, f.Size()-1, 1); !errors.Is(err, gone) {
		t.Errorf("a segment that cannot be opened: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.CopyRange(ctx, io.Discard, 0, f.Size()); !errors.Is(err, context.Canceled) {
		t.Errorf("a reader that left: %v", err)
	}
}

type counted struct {
	io.Reader
	closed *int
}

func (c *counted) Close() error { *c.closed++; return nil }
