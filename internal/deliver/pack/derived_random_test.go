package pack

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// Whenever an encoder begins, stops, lags or changes its parameters, and whatever the source's
// groups are like: the rendition's segments are where the source's are, without a hole.
func TestDerivedRenditionIsAlwaysAligned(t *testing.T) {
	const length = 60 * time.Second
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		pick := func(list ...int) int { return list[rnd.IntN(len(list))] }
		o := mediatest.Options{Duration: length, GOP: pick(15, 30, 50, 60, 100), BFrames: pick(0, 0, 2), FrameSize: 60, AudioSize: 20}
		small := o
		small.NoAudio, small.Width, small.Height = true, 640, 360
		other := small
		other.Height = 368
		border := length
		if seed%3 == 2 {
			border = 20*time.Second + time.Duration(rnd.Int64N(int64(20*time.Second)))
		}
		changed := o
		changed.Width, changed.Height = 960, 540
		lists := [][]*media.Packet{rung(generate(t, o), "", 0, border, 0), rung(generate(t, changed), "", border, length, 0)}
		made := [][]*media.Packet{generate(t, small), generate(t, other)}
		for at := time.Duration(0); at < length; {
			begin := at + time.Duration(rnd.Int64N(int64(9*time.Second)))
			end := begin + time.Duration(rnd.Int64N(int64(12*time.Second)))
			late := time.Duration(rnd.Int64N(int64(pick(300, 1500, 5000)))) * time.Millisecond
			list := rung(made[pick(0, 0, 0, 1)], "360p", begin, end, late)
			if i := slices.IndexFunc(list, func(p *media.Packet) bool { return p.Key }); i >= 0 {
				lists = append(lists, list[i:])
			}
			at = end
		}
		mode := media.LatencyLow
		if seed%4 == 3 {
			mode = media.LatencyStandard
		}
		s := deriving(mode, "360p")
		all := slices.Concat(lists...)
		slices.SortStableFunc(all, func(a, b *media.Packet) int { return a.Arrival.Compare(b.Arrival) })
		known := map[int64]*Segment{}
		var last *Snapshot
		for _, p := range all {
			s.write(p)
			r, ok := s.Rendition("360p")
			if !ok || r.Snapshot() == last {
				continue
			}
			last = r.Snapshot()
			checkAligned(t, s, last, known, seed)
			if t.Failed() {
				return
			}
		}
		for _, r := range s.Renditions() {
			for _, seg := range r.Snapshot().Segments {
				if seg.Discontinuity && border == length {
					t.Fatalf("seed %d: %s has a discontinuity", seed, r.Name())
				}
			}
		}
		if len(known) < 5 && seed < 3 {
			t.Errorf("seed %d: only %d segments", seed, len(known))
		}
	}
}

// checkAligned compares a state of a derived rendition with the source's and with what it was.
func checkAligned(t *testing.T, s *Stream, snap *Snapshot, known map[int64]*Segment, seed uint64) {
	t.Helper()
	const frame = 34 * time.Millisecond
	source := mustRendition(t, s, "v0").Snapshot()
	for i, seg := range snap.Segments {
		if old := known[seg.Sequence]; old != nil && (old.Gap != seg.Gap || old.Name != seg.Name || !old.Start.Equal(seg.Start) || old.Duration != seg.Duration) {
			t.Fatalf("seed %d: segment %d was %+v and is %+v", seed, seg.Sequence, old, seg)
		}
		known[seg.Sequence] = seg
		if i > 0 {
			before := snap.Segments[i-1]
			if hole := seg.Start.Sub(before.Start.Add(before.Duration)); seg.Sequence != before.Sequence+1 || hole.Abs() > joinSlack && !seg.Discontinuity {
				t.Fatalf("seed %d: segment %d begins %v after the end of %d", seed, seg.Sequence, hole, before.Sequence)
			}
		}
		if seg.Duration <= 0 || seg.Duration > s.seg.plan.limit()+joinSlack {
			t.Fatalf("seed %d: segment %d lasts %v", seed, seg.Sequence, seg.Duration)
		}
		if other := source.Segment(seg.Sequence); other != nil && other.Start.Sub(seg.Start).Abs() > frame {
			t.Fatalf("seed %d: segment %d begins at %v, the source's at %v", seed, seg.Sequence, seg.Start, other.Start)
		}
		if other := source.Segment(seg.Sequence); other != nil && (other.Discontinuity != seg.Discontinuity || other.discs != seg.discs) {
			t.Fatalf("seed %d: segment %d: discontinuity %v, the source's %v", seed, seg.Sequence, seg.Discontinuity, other.Discontinuity)
		}
		if !seg.Gap && !seg.Independent && source.Segment(seg.Sequence) != nil && source.Segment(seg.Sequence).Independent {
			t.Fatalf("seed %d: segment %d does not begin with a key frame", seed, seg.Sequence)
		}
	}
}
