package replay

import (
	"strconv"
	"time"

	"onair/internal/media"
	"onair/internal/record"
)

// A rendition that is made of the source only while somebody watches it has holes. Its
// playlist lists the source's segments there, where both are coded alike: numbers, boundaries
// and the time within the media are the same in all renditions of a stream.

// item is a segment as the playlist of a rendition lists it.
type item struct {
	record.Segment
	// of is the rendition that it is of, to whose Inits its Init is an index: the one whose
	// playlist it is, or the source.
	of *record.Rendition
}

// lineup is what the playlist of a rendition lists. A later snapshot's has the same items,
// and more.
type lineup struct {
	own *record.Rendition
	// source is what stands in the holes of own; nil if nothing can. Its segments may still
	// be coded in another way, after a change: then they are gaps.
	source *record.Rendition
	// pace is the source whether it can stand in or not: what the numbers and the
	// discontinuities are of.
	pace        *record.Rendition
	first, last int64 // sequence numbers; there is nothing if last < first
}

// maxLate is how far a rendition may be behind its source, while both are recorded, until the
// source's segments take the place of those that it does not have: later than that none come.
const maxLate = 20 * time.Second

// lineupOf says what the playlist of a rendition lists.
func lineupOf(s *record.Snapshot, own *record.Rendition) lineup {
	l := lineup{own: own, pace: own, last: -1}
	for _, r := range s.Renditions {
		if r.Kind == own.Kind && len(r.Segments) > 0 {
			l.pace = r // they are in the order in which they began
			break
		}
	}
	if l.pace != own && standsFor(l.pace, own) {
		l.source = l.pace
	}
	if len(l.pace.Segments) == 0 {
		return l
	}
	n := len(l.pace.Segments)
	l.first, l.last = l.pace.Segments[0].Sequence, l.pace.Segments[n-1].Sequence
	mine := l.first - 1
	if n := len(own.Segments); n > 0 {
		l.first = min(l.first, own.Segments[0].Sequence)
		mine = own.Segments[n-1].Sequence
	}
	switch {
	case l.pace == own:
	case ended(s):
		l.last = max(l.last, mine)
	default:
		end := endOf(&l.pace.Segments[n-1])
		for l.last > mine && end.Sub(endOf(segmentOf(l.pace, l.last))) < maxLate {
			l.last-- // it may still come
		}
		l.last = max(l.last, mine)
	}
	return l
}

// standsFor reports whether a source's media can be played in the place of a rendition's.
func standsFor(source, r *record.Rendition) bool {
	if len(source.Inits) == 0 || len(r.Inits) == 0 {
		return false
	}
	a, b := source.Inits[0].Track, r.Inits[0].Track
	if a.Codec != b.Codec {
		return false
	}
	// Of two tracks of sound that a publisher sends each says something else.
	return r.Kind == media.Video || made(r) && a.Language == b.Language && a.Channels == b.Channels
}

// made reports whether a rendition was made of the publisher's, which pack calls by a letter
// and a number.
func made(r *record.Rendition) bool {
	if len(r.Name) < 2 || r.Name[0] != 'v' && r.Name[0] != 'a' {
		return true
	}
	_, err := strconv.ParseUint(r.Name[1:], 10, 31)
	return err != nil
}

// len is how many items there are.
func (l *lineup) len() int { return int(max(0, l.last-l.first+1)) }

// at returns the item of a sequence number from l.first to l.last.
func (l *lineup) at(sequence int64) item {
	mine, pace := segmentOf(l.own, sequence), segmentOf(l.pace, sequence)
	var out item
	switch {
	case mine != nil && !mine.Gap:
		out = item{*mine, l.own}
	case l.source != nil && pace != nil && !pace.Gap && l.source.Inits[pace.Init].Track.Codec == l.own.Inits[0].Track.Codec:
		out = item{*pace, l.source}
	case mine != nil:
		out = item{*mine, l.own}
	case pace != nil:
		out = item{*pace, l.own}
		out.Gap, out.Independent = true, false
		out.Name, out.Init, out.Size, out.KeySize = "", 0, 0, 0
	default: // behind the source's last one, where all is own: there are no holes in that
		out = item{record.Segment{Sequence: sequence, Gap: true}, l.own}
	}
	if pace != nil {
		out.Discontinuity = pace.Discontinuity // they are counted alike in all renditions
	}
	return out
}

// independent reports whether each segment can be decoded without the others.
func (l *lineup) independent() bool {
	for n := l.first; n <= l.last; n++ {
		if i := l.at(n); !i.Independent && !i.Gap {
			return false
		}
	}
	return true
}

// init is the initialization section of an item; nil if the index does not know it.
func (i *item) init() *record.Init {
	if i.Init < 0 || int(i.Init) >= len(i.of.Inits) {
		return nil
	}
	return i.of.Inits[i.Init]
}

// segmentOf returns a rendition's segment with a sequence number; nil if it has none.
func segmentOf(r *record.Rendition, sequence int64) *record.Segment {
	if len(r.Segments) == 0 {
		return nil
	}
	i := sequence - r.Segments[0].Sequence
	if i < 0 || i >= int64(len(r.Segments)) {
		return nil
	}
	return &r.Segments[i]
}

// endOf is when a segment ends on the wall clock.
func endOf(s *record.Segment) time.Time { return s.Start.Add(s.Duration) }
