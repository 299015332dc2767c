package dash

import (
	"strings"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/media"
)

// span is a segment as a manifest lists it, in ticks of its representation's timescale.
type span struct {
	number int64
	t, d   int64
}

// listing is a rendition that a manifest may list.
type listing struct {
	name string
	// track describes it: the newest media, or what is to come.
	track *media.Track
	// rate is in frames a second, peak in bits a second.
	rate float64
	peak int64
	// derived is set if it is made here of the source's media, and so cut alike; snap is nil
	// if there is none of it.
	derived bool
	snap    *pack.Snapshot
	// refused is set if it is not to be had for now.
	refused bool
}

// forecastSlack is what a foretold duration is longer than expected. Where it proves too
// long, players go on with the next segment as soon as a manifest corrects it; where it
// proves too short, dash.js 5 and Shaka 5 ask for the segment again.
const forecastSlack = 25 * time.Millisecond

// joint is how far the ends of two segments may be from each other for them to be listed as
// one after the other.
const joint = 60 * time.Millisecond

// forecast is what the leading track tells of the segments to come.
type forecast struct {
	on bool
	// last is the number of the last segment to be listed.
	last int64
	// from is the first number that is foretold, and length the duration expected.
	from   int64
	length time.Duration
	lead   []span
	track  *media.Track
}

// end is when a segment ends, as far as the leading track tells. Other tracks' segments end
// with the frame whose middle is beyond that.
func (f *forecast) end(number int64) (time.Duration, bool) {
	if len(f.lead) == 0 {
		return 0, false
	}
	i := number - f.lead[0].number
	if i < 0 || i >= int64(len(f.lead)) {
		return 0, false
	}
	s := f.lead[i]
	end := f.track.Duration(s.t + s.d)
	if number < f.from {
		end += forecastSlack
	}
	return end, true
}

// foretell looks at what the leading track has. parts is the part target; without parts
// nothing can be asked for before it is complete, so nothing is foretold.
func foretell(snap *pack.Snapshot, parts time.Duration) forecast {
	f := forecast{track: snap.Track, last: snap.LastSequence()}
	f.lead = complete(snap)
	if parts == 0 || snap.Ended || len(f.lead) == 0 {
		return f
	}
	f.on = true
	f.from = f.last + 1
	for _, seg := range snap.Segments[max(0, len(snap.Segments)-2):] {
		if !seg.Gap {
			f.length = max(f.length, seg.Duration)
		}
	}
	if f.length == 0 {
		f.length = snap.Segments[len(snap.Segments)-1].Duration
	}
	if open := snap.Open; open != nil {
		length := f.length
		if open.Duration > length {
			length = open.Duration + parts
		}
		f.lead = follow(f.lead, span{open.Sequence, open.BaseTime + open.Offset, snap.Track.Ticks(length + forecastSlack)}, snap.Track)
		f.last = open.Sequence
	}
	end := f.lead[len(f.lead)-1]
	f.last++
	f.lead = append(f.lead, span{f.last, end.t + end.d, snap.Track.Ticks(f.length + forecastSlack)})
	return f
}

// complete lists the complete segments, as far back as their numbers follow one another.
func complete(snap *pack.Snapshot) (list []span) {
	for _, seg := range snap.Segments {
		list = follow(list, span{seg.Sequence, seg.BaseTime + seg.Offset, seg.Ticks}, seg.Init.Track)
	}
	return list
}

// follow appends a segment. Where it begins at about the end of the one before it, that one
// is made to end exactly there, and where its number does not follow, the list begins anew.
func follow(list []span, s span, t *media.Track) []span {
	s.d = max(s.d, 1)
	n := len(list)
	if n == 0 {
		return append(list, s)
	}
	last := &list[n-1]
	if s.number != last.number+1 || s.t <= last.t {
		return append(list[:0:0], s)
	}
	if gap := s.t - (last.t + last.d); gap < 0 || t.Duration(gap) < joint {
		last.d = s.t - last.t
	}
	return append(list, s)
}

// spans lists the segments of a rendition: its own, and what follows from the forecast.
func (l *listing) spans(f *forecast) []span {
	list := complete(l.snap)
	if !f.on || l.snap.Ended {
		return list
	}
	t := l.snap.Track
	if open := l.snap.Open; open != nil {
		list = follow(list, span{open.Sequence, open.BaseTime + open.Offset, max(open.Ticks, 1)}, t)
		list = stretch(list, f, t)
	}
	for len(list) > 0 {
		last := list[len(list)-1]
		if last.number >= f.last {
			break
		}
		list = stretch(append(list, span{last.number + 1, last.t + last.d, 1}), f, t)
	}
	return list
}

// stretch gives the last segment the end that the leading track's has.
func stretch(list []span, f *forecast, t *media.Track) []span {
	last := &list[len(list)-1]
	end, ok := f.end(last.number)
	if !ok {
		return list[:len(list)-1]
	}
	last.d = max(last.d, t.Ticks(end)-last.t, 1)
	return list
}

// rescaled gives a rendition that is cut alike the segments of another one.
func rescaled(list []span, from, to *media.Track) []span {
	out := make([]span, len(list))
	for i, s := range list {
		t := to.Ticks(from.Duration(s.t))
		out[i] = span{s.number, t, max(to.Ticks(from.Duration(s.t+s.d))-t, 1)}
	}
	return out
}

// borders finds where the initialization section of a rendition changes.
func (l *listing) borders() (list []border) {
	var init *pack.Init
	look := func(seg *pack.Segment) {
		if seg.Gap {
			return
		}
		if init != nil && seg.Init != init {
			list = append(list, border{number: seg.Sequence, start: seg.Init.Track.Duration(seg.BaseTime + seg.Offset)})
		}
		init = seg.Init
	}
	for _, seg := range l.snap.Segments {
		look(seg)
	}
	if l.snap.Open != nil {
		look(l.snap.Open)
	}
	return list
}

// initIn is the initialization section of a rendition in the segments from one number to
// before another; nil if it has no media there.
func (l *listing) initIn(from, to int64) *pack.Init {
	if l.snap == nil {
		return nil
	}
	var init *pack.Init
	for _, seg := range l.snap.Segments {
		if seg.Sequence >= from && seg.Sequence < to && (!seg.Gap || init == nil) {
			init = seg.Init
		}
	}
	if open := l.snap.Open; open != nil && open.Sequence >= from && open.Sequence < to {
		init = open.Init
	}
	return init
}

// stem is the name of an initialization section without its extension.
func stem(init *pack.Init) string {
	if init == nil {
		return firstStem
	}
	return strings.TrimSuffix(init.Name, initExt)
}

// between returns the segments from one number to before another.
func between(list []span, from, to int64) []span {
	for len(list) > 0 && list[0].number < from {
		list = list[1:]
	}
	for i, s := range list {
		if s.number >= to {
			return list[:i:i]
		}
	}
	return list
}
