package replay

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"onair/internal/deliver/mpd"
	"onair/internal/record"
)

// present describes an asset, or a part of one, as manifests do. It has something in it.
func present(s *record.Snapshot) *mpd.Presentation {
	target := time.Duration(s.TargetDuration) * time.Second
	pace := paceOf(s)
	first, last := pace.Segments.Unnamed(0), pace.Segments.Unnamed(pace.Segments.Len()-1)
	p := &mpd.Presentation{
		Start: s.Origin, Published: endOf(&last), Ended: ended(s),
		Longest: target + time.Second/2, Buffer: target,
		// A segment is stored a moment after it is complete, and listed then.
		Update: max(time.Second, target/2), Delay: 7 * target / 2,
		// Nothing leaves it, and players compare it with a clock that has gone on.
		Window: (endOf(&last).Sub(first.Start) + 4*target).Round(time.Second),
	}
	peaks := make([]int64, len(s.Renditions))
	for i, r := range s.Renditions {
		l := lineup{own: r, pace: r, last: -1}
		if n := r.Segments.Len(); n > 0 {
			l.first, l.last = r.Segments.Sequence(0), r.Segments.Sequence(n-1)
		}
		if peaks[i], _ = l.rates(target); !ended(s) {
			peaks[i] += peaks[i] / 10 // the most may be still to come
		}
	}
	from, to, start := first.Sequence, last.Sequence, time.Duration(0)
	for _, r := range s.Renditions {
		if n := r.Segments.Len(); n > 0 {
			from = min(from, r.Segments.Sequence(0))
			if ended(s) {
				to = max(to, r.Segments.Sequence(n-1))
			}
		}
	}
	for _, next := range append(borders(s), to+1) {
		if next <= from {
			continue
		}
		now := mpd.Period{ID: "p" + strconv.FormatInt(from, 10), Start: start}
		for i, r := range s.Renditions {
			if rep, ok := representation(s, r, pace, from, next); ok {
				rep.Peak = peaks[i]
				now.Add(rep, !made(r))
				end := rep.Spans[len(rep.Spans)-1]
				p.End = max(p.End, rep.Track.Duration(end.T+end.D))
			}
		}
		if len(now.Sets) > 0 {
			p.Periods = append(p.Periods, now)
		}
		from = next
		start = max(start, shownAt(s, pace, next).Truncate(time.Millisecond))
	}
	return p
}

// borders are the numbers at which a Period begins: where something that the publisher sends
// has another initialization section, or does not continue what was before.
func borders(s *record.Snapshot) (list []int64) {
	for _, r := range s.Renditions {
		if made(r) {
			continue
		}
		init, broken := int32(-1), false
		for i := range r.Segments.Len() {
			seg := r.Segments.Unnamed(i)
			broken = broken || seg.Discontinuity
			if seg.Gap {
				continue
			}
			if init >= 0 && (broken || seg.Init != init) {
				list = append(list, seg.Sequence)
			}
			init, broken = seg.Init, false
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// shownAt is when what has a sequence number is presented, in the time of the media.
func shownAt(s *record.Snapshot, pace *record.Rendition, number int64) time.Duration {
	at := func(r *record.Rendition) (time.Duration, bool) {
		seg := itemOf(r, number)
		if seg.Gap || seg.Init < 0 || int(seg.Init) >= len(r.Inits) {
			return 0, false
		}
		return r.Inits[seg.Init].Track.Duration(seg.BaseTime + seg.Offset), true
	}
	if d, ok := at(pace); ok {
		return d
	}
	for _, r := range s.Renditions {
		if d, ok := at(r); ok && !made(r) {
			return d
		}
	}
	return 0
}

// representation lists a rendition in the Period of the numbers from one to before another.
// Gaps within are listed: there are fragments without samples. Of what was made for a while
// only there are none: it is not in a Period that it has not all of.
func representation(s *record.Snapshot, r, pace *record.Rendition, from, to int64) (out mpd.Representation, ok bool) {
	var init *record.Init
	known := 0 // spans up to the last one that is no gap
	for n := from; n < to; n++ {
		seg := itemOf(r, n)
		if seg.Gap && made(r) && !itemOf(pace, n).Gap {
			if seg.at < 0 && len(out.Spans) > 0 && !ended(s) {
				break // it may still come
			}
			return out, false
		}
		if seg.at < 0 || seg.Gap && init == nil || seg.Init < 0 || int(seg.Init) >= len(r.Inits) {
			continue
		}
		switch now := r.Inits[seg.Init]; {
		case seg.Gap:
		case init == nil:
			init = now
		case init != now:
			return out, false // only of what is made here, and it has begun anew
		}
		out.Spans = mpd.Follow(out.Spans, mpd.Span{Number: n, T: seg.BaseTime + seg.Offset, D: seg.Ticks}, init.Track)
		if !seg.Gap {
			known = len(out.Spans)
		}
	}
	if init == nil || known == 0 || init.Track.CodecString == "" || !strings.HasSuffix(init.Name, mpd.InitExt) {
		return out, false
	}
	out.Name, out.Track, out.Rate = r.Name, init.Track, init.Track.FrameRate
	out.Stem, out.Spans = strings.TrimSuffix(init.Name, mpd.InitExt), out.Spans[:known]
	return out, true
}
