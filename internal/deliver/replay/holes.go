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
	record.Segment // without its Name
	// of is the rendition that it is of, to whose Inits its Init is an index: the one whose
	// playlist it is, or the source.
	of *record.Rendition
	// at is its index in that; -1 if it is not there.
	at int
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
		if r.Kind == own.Kind && r.Segments.Len() > 0 {
			l.pace = r // they are in the order in which they began
			break
		}
	}
	if l.pace != own && standsFor(l.pace, own) {
		l.source = l.pace
	}
	n := l.pace.Segments.Len()
	if n == 0 {
		return l
	}
	l.first, l.last = l.pace.Segments.Sequence(0), l.pace.Segments.Sequence(n-1)
	mine := l.first - 1
	if n := own.Segments.Len(); n > 0 {
		l.first = min(l.first, own.Segments.Sequence(0))
		mine = own.Segments.Sequence(n - 1)
	}
	switch {
	case l.pace == own:
	case ended(s):
		l.last = max(l.last, mine)
	default:
		end := endAt(&l.pace.Segments, n-1)
		for n--; n >= 0 && l.last > mine && end.Sub(endAt(&l.pace.Segments, n)) < maxLate; n-- {
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
	mine := itemOf(l.own, sequence)
	if l.pace == l.own {
		return mine
	}
	pace := itemOf(l.pace, sequence)
	out := mine
	switch {
	case mine.at >= 0 && !mine.Gap:
	case l.source != nil && pace.at >= 0 && !pace.Gap && l.source.Inits[pace.Init].Track.Codec == l.own.Inits[0].Track.Codec:
		out = pace
	case mine.at >= 0:
	case pace.at >= 0:
		out = pace
		out.of, out.at = l.own, -1
		out.Gap, out.Independent = true, false
		out.Init, out.Size, out.KeySize = 0, 0, 0
	default: // behind the source's last one, where all is own: there are no holes in that
	}
	if pace.at >= 0 {
		out.Discontinuity = pace.Discontinuity // they are counted alike in all renditions
	}
	return out
}

// itemOf is a rendition's segment with a sequence number; a gap if it has none.
func itemOf(r *record.Rendition, sequence int64) item {
	i, ok := r.Segments.Index(sequence)
	if !ok {
		return item{record.Segment{Sequence: sequence, Gap: true}, r, -1}
	}
	return item{r.Segments.Unnamed(i), r, i}
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

// name is what an item is called; empty if it is not stored.
func (i *item) name() string {
	if i.at < 0 {
		return ""
	}
	return i.of.Segments.Name(i.at)
}

// endOf is when a segment ends on the wall clock.
func endOf(s *record.Segment) time.Time { return s.Start.Add(s.Duration) }

// endAt is when the segment with an index ends on the wall clock.
func endAt(list *record.Segments, i int) time.Time {
	seg := list.Unnamed(i)
	return endOf(&seg)
}
