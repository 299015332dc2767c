package clip

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/fmp4"
	"onair/internal/record"
)

// recode makes the segment of an edge of pictures that are encoded again: those of kept, and
// of ahead.
func (e *edge) recode(ctx context.Context, kept []*media.Packet) (own record.OwnSegment, err error) {
	source := e.track()
	units, err := e.units(ctx, source)
	if err != nil {
		return own, err
	}
	made, err := e.tool.Recode(ctx, source, units, e.from, e.to)
	if err != nil {
		return own, err
	}
	if !slices.Equal(shown(made), shown(slices.Concat(kept, e.ahead))) {
		return own, fault.New(fault.Internal, "clip", e.seg.Name,
			fmt.Sprintf("%d pictures came back of the %d at the edge, or at other times", len(made), len(kept)+len(e.ahead)),
			"Choose another moment: pictures of the recording may be damaged there")
	}
	own.Segment = *e.seg
	track, init, err := parameters(made[0].Track, source)
	if err != nil {
		return own, err
	}
	together, err := e.together(source, track)
	if err != nil {
		return own, err
	}
	if !together {
		own.Track, own.Init = track, init
	}
	// Decoding times are as far ahead of what is shown as they are in the recording where the
	// clip goes on: the first edge ends where the next segment begins, the last one begins
	// where the segment before it ends.
	offset := e.seg.Offset
	if e.seg.Sequence > e.clip.From {
		offset = made[0].PTS - e.seg.BaseTime
	} else if next, ok := at(e.r, e.seg.Sequence+1); ok && continues(e.seg, next) {
		offset = next.Offset
	}
	for _, p := range made {
		p.DTS = p.PTS - offset
	}
	if err := fill(&own, e.s, track, made, e.stop()-offset); err != nil {
		return own, err
	}
	e.encoded += own.Duration
	if !together && e.clip.From < e.clip.To {
		e.clip.Breaks = append(e.clip.Breaks, max(e.seg.Sequence, e.clip.From+1))
	}
	return own, nil
}

// track is what the segment of the edge is made with: with what edges that were encoded again
// have added to it.
func (e *edge) track() *media.Track {
	for i := range e.instead {
		if e.instead[i].Name == e.r.Inits[e.seg.Init].Name {
			return e.instead[i].Track
		}
	}
	return e.r.Inits[e.seg.Init].Track
}

// together adds parameters to the initialization section of the recording's segment, if all
// pictures can then be decoded with it: players need no new one in the middle of the clip, and
// many do not understand that.
func (e *edge) together(source, made *media.Track) (bool, error) {
	if source.Width == made.Width && source.Height == made.Height && bytes.Equal(source.Config, made.Config) {
		return true, nil // VP9 says little there, and the rest in each key picture
	}
	track, ok := merge(source, made)
	if !ok {
		return false, nil
	}
	described, err := bitstream.Describe(track)
	if err != nil {
		return false, err
	}
	init, err := fmp4.Init(described)
	if err != nil {
		return false, err
	}
	name := e.r.Inits[e.seg.Init].Name
	e.instead = slices.DeleteFunc(e.instead, func(i record.Init) bool { return i.Name == name })
	e.instead = append(e.instead, record.Init{Name: name, Track: described, Data: init})
	return true, nil
}

// units are what has to be decoded: the segment, those of the next one that lie ahead of its
// leading pictures, and the segment before, if this one's own leading pictures are kept.
func (e *edge) units(ctx context.Context, source *media.Track) ([]*media.Packet, error) {
	list := e.plain
	if !e.alone && e.from < first(e.seg) {
		before, _ := at(e.r, e.seg.Sequence-1) // last has looked
		more, err := e.read(ctx, e.r, before)
		if err != nil {
			return nil, err
		}
		list = slices.Concat(more, list)
	}
	if len(e.ahead) > 0 {
		n := 1 + slices.Index(e.next, e.ahead[len(e.ahead)-1])
		list = slices.Concat(list, e.next[:n])
	}
	out := make([]*media.Packet, len(list))
	for i, p := range list {
		q := *p
		q.Track = source
		out[i] = &q
	}
	return out, nil
}

// stop is when the last picture of the edge is over: with the one that the recording shows
// next, or with the segment.
func (e *edge) stop() int64 {
	end := over(e.seg, e.plain)
	if next, ok := at(e.r, e.seg.Sequence+1); ok && continues(e.seg, next) {
		end = first(next)
	}
	for _, p := range slices.Concat(e.plain, e.next) {
		if p.PTS >= e.to {
			end = min(end, p.PTS)
		}
	}
	return end
}

// shown are the presentation times of pictures, in order.
func shown(list []*media.Packet) []int64 {
	out := make([]int64, len(list))
	for i, p := range list {
		out[i] = p.PTS
	}
	slices.Sort(out)
	return out
}

// parameters returns the track of pictures that were encoded again, and its initialization
// section.
func parameters(made, source *media.Track) (*media.Track, []byte, error) {
	described, err := bitstream.Describe(made)
	if err != nil {
		return nil, nil, err
	}
	t := *described
	t.ID, t.Version, t.Rendition, t.Language, t.KeyInterval = source.ID, source.Version+1, source.Rendition, source.Language, source.KeyInterval
	if t.FrameRate == 0 {
		t.FrameRate = source.FrameRate
	}
	init, err := fmp4.Init(&t)
	return &t, init, err
}
