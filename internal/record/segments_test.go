package record

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"onair/internal/media"
)

// madeUp are segments as pack makes them, of lengths that differ, with gaps and changes among
// them; wild ones have fields that it would not give them.
func madeUp(rnd *rand.Rand, n int, wild bool) (list []Segment) {
	began, track := time.Date(2026, 1, 1, 0, 0, 0, 123456789, time.UTC), &media.Track{Timescale: 90000}
	if rnd.IntN(2) == 0 {
		track.Timescale = 44100
	}
	seg := Segment{Sequence: rnd.Int64N(1 << 40), Independent: true}
	for range n {
		seg.Ticks = int64(track.Timescale)*2 + rnd.Int64N(5)*1024
		seg.Name = fmt.Sprintf("s1a2b3c.%d.m4s", seg.Sequence)
		seg.Start = began.Add(track.Duration(seg.BaseTime + seg.Offset))
		seg.Duration = track.Duration(seg.BaseTime+seg.Ticks) - track.Duration(seg.BaseTime)
		seg.Size, seg.KeySize = rnd.Int64N(1<<20), rnd.Int64N(1<<16)
		seg.Gap, seg.Asset, seg.Discontinuity = false, "", false
		switch rnd.IntN(40) {
		case 0:
			seg.Gap, seg.Name, seg.Size, seg.KeySize = true, gapName, 0, 0
		case 1:
			seg.Asset = "as_other"
		case 2:
			seg.Init, seg.Discontinuity = seg.Init+1, true
		case 3:
			seg.Name = "other"
		}
		if wild {
			for _, v := range []*int64{&seg.Size, &seg.KeySize, &seg.Offset, (*int64)(&seg.Duration), &seg.Ticks, &seg.BaseTime} {
				if rnd.IntN(100) == 0 {
					*v = int64(rnd.Uint64())
				}
			}
			if rnd.IntN(100) == 0 {
				seg.Start = []time.Time{{}, time.Unix(0, math.MaxInt64).UTC(), time.Unix(1<<40, 0).UTC()}[rnd.IntN(3)]
			}
		}
		list = append(list, seg)
		seg.Sequence++
		seg.BaseTime += seg.Ticks
	}
	return list
}

func TestSegmentsAreAsTheyWerePutIn(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		list := madeUp(rnd, rnd.IntN(5*blockLength), seed%3 == 0)
		s := SegmentsOf(list)
		if s.Len() != len(list) {
			t.Fatalf("seed %d: %d segments, not %d", seed, s.Len(), len(list))
		}
		for i, want := range list {
			if got := s.At(i); got != want {
				t.Fatalf("seed %d: %d of %d is\n%+v, not\n%+v", seed, i, len(list), got, want)
			}
			if at, ok := s.Index(want.Sequence); !ok || at != i || s.Sequence(i) != want.Sequence {
				t.Fatalf("seed %d: number %d is at %d, not %d", seed, want.Sequence, at, i)
			}
		}
		if len(list) == 0 {
			continue
		}
		if _, ok := s.Index(list[0].Sequence - 1); ok {
			t.Errorf("seed %d: there is one before the first", seed)
		}
		if _, ok := s.Index(list[0].Sequence + int64(len(list))); ok {
			t.Errorf("seed %d: there is one after the last", seed)
		}
		from := rnd.IntN(len(list) + 1)
		to := from + rnd.IntN(len(list)-from+1)
		if part := s.Slice(from, to); !slices.Equal(unpacked(part), list[from:to]) {
			t.Errorf("seed %d: %d to %d of %d are others", seed, from, to, len(list))
		}
	}
}

// What was shown does not change when a segment is put in the place of a gap, or one is added.
func TestSegmentsNeverChange(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	list := madeUp(rnd, 3*blockLength, false)
	var s Segments
	var shown []Segments
	for _, seg := range list {
		s.append(seg)
		shown = append(shown, s)
	}
	for i := range list[:len(list)-1] {
		old, was := s, s.At(i)
		now := was
		now.Name, now.Size, now.Gap = fmt.Sprintf("st1.%d.m4s", now.Sequence), 1<<30, !was.Gap
		s.set(i, now)
		if old.At(i) != was || s.At(i) != now || s.At(i+1) != list[i+1] {
			t.Fatalf("%d was %+v and is %+v", i, old.At(i), s.At(i))
		}
	}
	for n, old := range shown {
		if !slices.Equal(unpacked(old), list[:n+1]) {
			t.Fatalf("the first %d are others now", n+1)
		}
	}
}

// TestBytesOfASegment: what segments take in memory, of lengths that all differ, as many as
// there are in half a day.
func TestBytesOfASegment(t *testing.T) {
	const most = 15
	rnd := rand.New(rand.NewPCG(1, 2))
	list := madeUp(rnd, 21600, false)
	for i := range list {
		list[i].Init = 0 // few change their parameters that often
	}
	s := SegmentsOf(list)
	if each := float64(s.cost()) / float64(len(list)); each > most {
		t.Errorf("a segment takes %.1f bytes", each)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	again := SegmentsOf(list)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / float64(len(list))
	t.Logf("a segment takes %.1f bytes of the heap", each)
	if each > most {
		t.Errorf("a segment takes %.1f bytes of the heap", each)
	}
	runtime.KeepAlive(again)
	runtime.KeepAlive(s)
	runtime.KeepAlive(list)
}
