package clip

import (
	"context"
	"slices"

	"onair/internal/media"
	"onair/internal/record"
)

// pictures cuts the pictures. right tells whether they end within a segment.
func (k *cutter) pictures(ctx context.Context, r *record.Rendition) (right bool, err error) {
	cr := record.ClipRendition{Name: r.Name}
	put := func(e *edge) error {
		own, ok, err := e.own(ctx)
		if ok {
			cr.Own = append(cr.Own, own)
		}
		return err
	}
	e, err := k.first(ctx, r)
	if err != nil {
		return false, err
	}
	right = e.right
	if err := put(e); err != nil {
		return false, err
	}
	if k.clip.To == k.clip.From {
		cr.Instead = k.instead
		k.clip.Renditions = append(k.clip.Renditions, cr)
		return right, nil
	}
	taken := len(e.ahead) > 0 // the first edge has the leading pictures of the segment behind it
	if next := k.clip.From + 1; taken && next < k.clip.To {
		seg, _ := at(r, next) // it has those pictures
		own, err := k.segment(r, seg, withoutLeading(e.next))
		if err != nil {
			return false, err
		}
		cr.Own = append(cr.Own, own)
	}
	if e, err = k.last(ctx, r, taken && k.clip.From+1 == k.clip.To); err != nil {
		return false, err
	}
	right = e.right
	if err := put(e); err != nil {
		return false, err
	}
	cr.Instead = k.instead
	k.clip.Renditions = append(k.clip.Renditions, cr)
	return right, nil
}

// edge is a segment at the edge of a clip. Its first picture is a key picture, which others
// that follow it may be shown before: these are leading, and need the segment before it.
type edge struct {
	*cutter
	r   *record.Rendition
	seg *record.Segment
	// plain are its samples, and next those of the segment behind it, if that one has leading
	// pictures.
	plain, next []*media.Packet
	// alone is set if its leading pictures are not its own: the clip begins with it, or the
	// edge before it has them.
	alone bool
	// from and to are when what belongs to the clip begins and ends, in ticks.
	from, to int64
	// ahead are leading pictures of next that this edge shows.
	ahead       []*media.Packet
	left, right bool // it is cut at that side
}

// load reads a segment at the edge.
func (k *cutter) load(ctx context.Context, r *record.Rendition, number int64) (*edge, error) {
	seg, _ := at(r, number) // find or first has found it
	e := &edge{cutter: k, r: r, seg: seg}
	var err error
	if e.plain, err = k.read(ctx, r, seg); err != nil {
		return nil, err
	}
	if next, ok := at(r, number+1); ok && continues(seg, next) && mayLead(r, next) {
		if e.next, err = k.read(ctx, r, next); err != nil {
			return nil, err
		}
		if len(withoutLeading(e.next)) == len(e.next) {
			e.next = nil
		}
	}
	e.from, e.to = first(seg), over(seg, e.plain)
	if e.next != nil {
		e.to = e.next[0].PTS
	}
	return e, nil
}

// over is when all samples of a segment have begun to be shown, and it has ended.
func over(seg *record.Segment, samples []*media.Packet) int64 {
	end := first(seg) + seg.Ticks
	for _, p := range samples {
		end = max(end, p.PTS+1)
	}
	return end
}

// continues reports whether what is in a segment may need the one before it.
func continues(seg, next *record.Segment) bool {
	return !next.Discontinuity && next.Init == seg.Init
}

// mayLead reports whether a segment may have leading pictures: H.264 begins one with an IDR
// picture, and nothing behind that is shown before it.
func mayLead(r *record.Rendition, seg *record.Segment) bool {
	return seg.Offset > 0 && r.Inits[seg.Init].Track.Codec == media.HEVC
}

// first is the edge that the clip begins with.
func (k *cutter) first(ctx context.Context, r *record.Rendition) (*edge, error) {
	for {
		e, err := k.load(ctx, r, k.clip.From)
		if err != nil {
			return nil, err
		}
		e.alone = true
		start, end := ticks(r, e.seg, k.start), ticks(r, e.seg, k.end)
		e.left = start > e.from
		e.from = max(e.from, start)
		if k.clip.From == k.clip.To {
			e.cutRight(end)
		} else if e.left {
			e.ahead = between(e.next, e.from, e.to)
		}
		if kept := shown(slices.Concat(between(e.plain, e.from, e.to), e.ahead)); len(kept) > 0 {
			k.start = r.Inits[e.seg.Init].Track.Duration(kept[0]) // sound begins with it
			return e, nil
		}
		if !k.skip(r) { // the start is behind the last picture of the segment
			return nil, k.nothing()
		}
	}
}

// last is the edge that the clip ends with, if it is another one. alone is set if the first
// one has its leading pictures.
func (k *cutter) last(ctx context.Context, r *record.Rendition, alone bool) (*edge, error) {
	e, err := k.load(ctx, r, k.clip.To)
	if err != nil {
		return nil, err
	}
	before, ok := at(r, k.clip.To-1)
	e.alone = alone || !ok || !continues(before, e.seg)
	if !e.alone {
		for _, p := range e.plain {
			e.from = min(e.from, p.PTS)
		}
	}
	e.cutRight(ticks(r, e.seg, k.end))
	return e, nil
}

// cutRight ends an edge at a time, if that is before its end.
func (e *edge) cutRight(end int64) {
	e.ahead = between(e.next, e.from, min(end, e.to))
	for _, p := range e.plain {
		e.right = e.right || p.PTS >= end
	}
	e.to = min(e.to, end)
}

// skip lets the clip begin with the next segment that is there.
func (k *cutter) skip(r *record.Rendition) bool {
	for k.clip.From < k.clip.To {
		k.clip.From++
		if _, ok := at(r, k.clip.From); ok {
			return true
		}
	}
	return false
}

// between are the samples that are presented in a time.
func between(samples []*media.Packet, from, to int64) (out []*media.Packet) {
	for _, p := range samples {
		if p.PTS >= from && p.PTS < to {
			out = append(out, p)
		}
	}
	return out
}

// withoutLeading leaves out what is shown before the first one.
func withoutLeading(samples []*media.Packet) (out []*media.Packet) {
	for _, p := range samples {
		if p.PTS >= samples[0].PTS {
			out = append(out, p)
		}
	}
	return out
}

// own makes the segment of an edge; false if the recording's can be taken as it is. Where the
// pictures that belong to the clip are the first ones in decoding order, nothing is encoded.
func (e *edge) own(ctx context.Context) (own record.OwnSegment, ok bool, err error) {
	out := e.plain
	if e.alone {
		out = withoutLeading(out)
	}
	kept := between(out, e.from, e.to)
	if len(e.ahead) > 0 || !slices.Equal(out[:len(kept)], kept) {
		own, err = e.recode(ctx, kept)
		return own, true, err
	}
	if len(kept) == len(e.plain) {
		return own, false, nil
	}
	own, err = e.segment(e.r, e.seg, kept)
	return own, true, err
}
