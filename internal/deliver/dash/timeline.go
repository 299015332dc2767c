package dash

import (
	"strings"
	"time"

	"onair/internal/deliver/mpd"
	"onair/internal/deliver/pack"
	"onair/internal/media"
)

// span is a segment as a manifest lists it, in ticks of its representation's timescale.
type span = mpd.Span

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
	i := number - f.lead[0].Number
	if i < 0 || i >= int64(len(f.lead)) {
		return 0, false
	}
	s := f.lead[i]
	end := f.track.Duration(s.T + s.D)
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
		f.lead = mpd.Follow(f.lead, span{Number: open.Sequence, T: open.BaseTime + open.Offset, D: snap.Track.Ticks(length + forecastSlack)}, snap.Track)
		f.last = open.Sequence
	}
	end := f.lead[len(f.lead)-1]
	f.last++
	f.lead = append(f.lead, span{Number: f.last, T: end.T + end.D, D: snap.Track.Ticks(f.length + forecastSlack)})
	return f
}

// complete lists the complete segments, as far back as their numbers follow one another.
func complete(snap *pack.Snapshot) (list []span) {
	for _, seg := range snap.Segments {
		list = mpd.Follow(list, span{Number: seg.Sequence, T: seg.BaseTime + seg.Offset, D: seg.Ticks}, seg.Init.Track)
	}
	return list
}

// spans lists the segments of a rendition: its own, and what follows from the forecast.
func (l *listing) spans(f *forecast) []span {
	list := complete(l.snap)
	if !f.on || l.snap.Ended {
		return list
	}
	t := l.snap.Track
	if open := l.snap.Open; open != nil {
		list = mpd.Follow(list, span{Number: open.Sequence, T: open.BaseTime + open.Offset, D: max(open.Ticks, 1)}, t)
		list = stretch(list, f, t)
	}
	for len(list) > 0 {
		last := list[len(list)-1]
		if last.Number >= f.last {
			break
		}
		list = stretch(append(list, span{Number: last.Number + 1, T: last.T + last.D, D: 1}), f, t)
	}
	return list
}

// stretch gives the last segment the end that the leading track's has.
func stretch(list []span, f *forecast, t *media.Track) []span {
	last := &list[len(list)-1]
	end, ok := f.end(last.Number)
	if !ok {
		return list[:len(list)-1]
	}
	last.D = max(last.D, t.Ticks(end)-last.T, 1)
	return list
}

// rescaled gives a rendition that is cut alike the segments of another one.
func rescaled(list []span, from, to *media.Track) []span {
	out := make([]span, len(list))
	for i, s := range list {
		t := to.Ticks(from.Duration(s.T))
		out[i] = span{Number: s.Number, T: t, D: max(to.Ticks(from.Duration(s.T+s.D))-t, 1)}
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
		return mpd.FirstStem
	}
	return strings.TrimSuffix(init.Name, mpd.InitExt)
}

// between returns the segments from one number to before another.
func between(list []span, from, to int64) []span {
	for len(list) > 0 && list[0].Number < from {
		list = list[1:]
	}
	for i, s := range list {
		if s.Number >= to {
			return list[:i:i]
		}
	}
	return list
}
