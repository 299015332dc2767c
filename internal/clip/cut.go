package clip

import (
	"context"
	"math"
	"slices"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/record"
)

// mainOf is the rendition that the clip's numbers are those of: the pictures of which there
// are the most, which are the publisher's; sound if there are none; nil if there is nothing.
func mainOf(s *record.Snapshot) *record.Rendition {
	var best *record.Rendition
	var longest time.Duration
	for _, r := range s.Renditions {
		var d time.Duration
		for i := range r.Segments.Len() {
			if seg := r.Segments.Unnamed(i); !seg.Gap {
				d += seg.Duration
			}
		}
		if d > 0 && (best == nil || r.Kind == media.Video && best.Kind != media.Video || r.Kind == best.Kind && d > longest) {
			best, longest = r, d
		}
	}
	return best
}

// chosen are the renditions of a clip: the main one, and all other sound.
func chosen(s *record.Snapshot) (list []*record.Rendition) {
	main := mainOf(s)
	for _, r := range s.Renditions {
		if r == main || r.Kind == media.Audio && r.Segments.Len() > 0 {
			list = append(list, r)
		}
	}
	return list
}

// cutter makes one clip.
type cutter struct {
	*Maker
	s *record.Snapshot
	// start and end are those of the clip, as media time.
	start, end time.Duration
	clip       record.Clip
	// instead are initialization sections of the main rendition that have more in them than the
	// recording's.
	instead []record.Init
	encoded time.Duration
}

// cut decides what a clip is made of. encoded is how much of it was encoded again.
func (m *Maker) cut(ctx context.Context, s *record.Snapshot, r Request) (c record.Clip, encoded time.Duration, err error) {
	k := &cutter{Maker: m, s: s, start: r.Start.Sub(s.Origin), end: r.End.Sub(s.Origin)}
	main := mainOf(s)
	if main == nil {
		return c, 0, k.nothing()
	}
	first, last := k.find(main)
	if first > last {
		return c, 0, k.nothing()
	}
	k.clip = record.Clip{Source: s.ID, From: main.Segments.Sequence(first), To: main.Segments.Sequence(last)}
	right := true
	if main.Kind == media.Video {
		if right, err = k.pictures(ctx, main); err != nil {
			return c, 0, err
		}
	}
	for _, rendition := range chosen(s) {
		if rendition.Kind == media.Audio {
			if err := k.sound(ctx, rendition, right); err != nil {
				return c, 0, err
			}
		}
	}
	return k.clip, k.encoded, nil
}

func (k *cutter) nothing() error {
	return fault.New(fault.NotFound, "clip", k.s.ID, "there is nothing in the recording at that time", "")
}

// first is when the first sample of a segment is presented, in ticks.
func first(seg *record.Segment) int64 { return seg.BaseTime + seg.Offset }

// ticks is a media time in ticks of a segment's track, a grain earlier: that much is no
// difference.
func ticks(r *record.Rendition, seg *record.Segment, at time.Duration) int64 {
	return r.Inits[seg.Init].Track.Ticks(at - grain)
}

// find returns the first and the last segment that have something of the clip; gaps have
// nothing. first is greater than last if there is none.
func (k *cutter) find(r *record.Rendition) (int, int) {
	from, to := r.Segments.Len(), -1
	for i := range r.Segments.Len() {
		seg := r.Segments.Unnamed(i)
		end := first(&seg) + seg.Ticks
		if i+1 < r.Segments.Len() {
			// Leading pictures of the next one are shown until its first one is.
			if next := r.Segments.Unnamed(i + 1); !next.Gap && continues(&seg, &next) {
				end = max(end, first(&next))
			}
		}
		if seg.Gap || end <= ticks(r, &seg, k.start) || first(&seg) >= ticks(r, &seg, k.end) {
			continue
		}
		from, to = min(from, i), i
	}
	return from, to
}

// at returns a segment of the clip in a rendition; false if there is none, or a gap.
func at(r *record.Rendition, number int64) (*record.Segment, bool) {
	i, ok := r.Segments.Index(number)
	if !ok {
		return nil, false
	}
	seg := r.Segments.At(i)
	return &seg, !seg.Gap
}

// sound cuts a track of sound at its frames. It begins with the frame that is heard at the
// first picture: where there is none players see a hole. It has at least one frame in each of
// its segments, so that all tracks have the same numbers.
func (k *cutter) sound(ctx context.Context, r *record.Rendition, right bool) error {
	cr := record.ClipRendition{Name: r.Name}
	numbers := []int64{k.clip.From}
	if k.clip.To > k.clip.From {
		numbers = append(numbers, k.clip.To)
	}
	taken := int64(math.MinInt64) // up to where the first segment has frames of the second one
	for i := 0; i < len(numbers); i++ {
		n := numbers[i]
		seg, ok := at(r, n)
		if !ok {
			continue
		}
		from, to := ticks(r, seg, k.start), ticks(r, seg, k.end)
		loose := r.Inits[seg.Init].Track.Ticks(maxFrame)
		begins, ends := n == k.clip.From, n == k.clip.To && (right || first(seg)+seg.Ticks+loose < to)
		if !begins && !ends && taken <= seg.BaseTime {
			continue
		}
		// The first picture may be shown when the sound of its segment is over.
		late := begins && n < k.clip.To && first(seg)+seg.Ticks <= from && spares(r, seg, loose)
		all, err := k.around(ctx, r, seg, begins && first(seg) > from, ends || late)
		if err != nil {
			return err
		}
		lo, hi := 0, len(all)
		for lo < len(all)-1 && (begins && all[lo].PTS+all[lo].Duration <= from || all[lo].DTS < taken) {
			lo++
		}
		for hi > lo+1 && (ends && all[hi-1].PTS >= to || !ends && all[hi-1].PTS >= first(seg)+seg.Ticks) {
			hi--
		}
		if late {
			taken = all[hi-1].DTS + all[hi-1].Duration
			if n+1 < k.clip.To {
				numbers = slices.Insert(numbers, i+1, n+1)
			}
		}
		if all[lo].DTS == seg.BaseTime && all[hi-1].DTS+all[hi-1].Duration == seg.BaseTime+seg.Ticks {
			continue // it is the whole segment
		}
		own, err := k.segment(r, seg, all[lo:hi])
		if err != nil {
			return err
		}
		cr.Own = append(cr.Own, own)
	}
	k.clip.Renditions = append(k.clip.Renditions, cr)
	return nil
}

// spares reports whether the segment behind one can be without its first frame.
func spares(r *record.Rendition, seg *record.Segment, frame int64) bool {
	next, ok := at(r, seg.Sequence+1)
	return ok && continues(seg, next) && next.Ticks > frame
}

// around returns the samples of a segment, and of the ones before and after it if they are
// wanted and there.
func (k *cutter) around(ctx context.Context, r *record.Rendition, seg *record.Segment, before, after bool) ([]*media.Packet, error) {
	list := []*record.Segment{seg}
	if prev, ok := at(r, seg.Sequence-1); ok && before && continues(prev, seg) {
		list = []*record.Segment{prev, seg}
	}
	if next, ok := at(r, seg.Sequence+1); ok && after && continues(seg, next) && first(next) < ticks(r, next, k.end) {
		list = append(list, next)
	}
	var all []*media.Packet
	for _, s := range list {
		samples, err := k.read(ctx, r, s)
		if err != nil {
			return nil, err
		}
		all = append(all, samples...)
	}
	return all, nil
}
