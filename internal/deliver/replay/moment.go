package replay

import (
	"strconv"
	"strings"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/record"
)

// Moment is a point of a recording as people write it. Its zero value is the beginning.
type Moment struct {
	at     time.Time // on the wall clock; zero: offset counts
	offset time.Duration
	back   bool // offset counts from the end
}

// ParseMoment reads a moment: seconds from the beginning of the recording (90, 90.5, 1:30,
// 1:00:30), before its end (-30, -1:30), or a time of the wall clock, as RFC 3339 writes it
// (2026-03-01T12:00:00Z, which is also what EXT-X-PROGRAM-DATE-TIME says of a picture) or in
// seconds of Unix time (@1772366400). Its error is a fault.Invalid.
func ParseMoment(text string) (Moment, error) {
	bad := func(cause string) (Moment, error) {
		return Moment{}, fault.New(fault.Invalid, "read the time", strconv.Quote(text[:min(len(text), 40)]), cause,
			"Write seconds from the beginning (90 or 1:30), seconds before the end (-30), or a time (2026-03-01T12:00:00Z or @1772366400)")
	}
	if unix, ok := strings.CutPrefix(text, "@"); ok {
		d, ok := clock(unix)
		if !ok || strings.Contains(unix, ":") {
			return bad("after @ there is no number of seconds")
		}
		return Moment{at: time.Unix(0, 0).Add(d)}, nil
	}
	if strings.Contains(text, "T") {
		// What comes out of a query may have lost its plus sign to the rules of forms.
		text := strings.Replace(text, " ", "+", 1)
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
			if at, err := time.Parse(layout, text); err == nil {
				return Moment{at: at}, nil
			}
		}
		return bad("it is not a time as RFC 3339 writes it, with Z or the difference to UTC at its end")
	}
	digits, back := strings.CutPrefix(text, "-")
	d, ok := clock(digits)
	switch {
	case !ok:
		return bad("it is neither a number of seconds nor a time")
	case d >= longest:
		return bad("no recording is that long; a number of seconds of Unix time begins with @")
	}
	return Moment{offset: d, back: back}, nil
}

// longest is what no recording is as long as: seconds that are more are of Unix time.
const longest = 1e8 * time.Second

// clock reads s, m:s or h:m:s, of which the seconds may have decimals.
func clock(text string) (d time.Duration, ok bool) {
	fields := strings.Split(text, ":")
	if len(fields) > 3 {
		return 0, false
	}
	for i, f := range fields {
		whole, decimals, dot := strings.Cut(f, ".")
		last := i == len(fields)-1
		n, err := strconv.ParseUint(whole, 10, 33)
		if err != nil || dot && (!last || decimals == "" || len(decimals) > 9) || i > 0 && n > 59 {
			return 0, false
		}
		d = min(d, longest)*60 + time.Duration(n)*time.Second // longest is enough to be refused
		if dot {
			n, err := strconv.ParseUint(decimals+strings.Repeat("0", 9-len(decimals)), 10, 63)
			if err != nil {
				return 0, false
			}
			d += time.Duration(n)
		}
	}
	return d, true
}

// In returns the wall clock of a moment of an asset. Seconds count what a player shows, which
// has no time for what is missing where the wall clock jumps, and end at the beginning and the
// end of the asset. A time of the wall clock is what it is, also where the asset has nothing.
func (m Moment) In(s *record.Snapshot) time.Time {
	pace := paceOf(s)
	if !m.at.IsZero() || pace == nil {
		return m.at
	}
	list, left := &pace.Segments, m.offset
	if m.back {
		for i := list.Len() - 1; i >= 0; i-- {
			seg := list.Unnamed(i)
			if left <= seg.Duration {
				return endOf(&seg).Add(-left)
			}
			left -= seg.Duration
		}
		return list.Unnamed(0).Start
	}
	for i := range list.Len() {
		seg := list.Unnamed(i)
		if left < seg.Duration {
			return seg.Start.Add(left)
		}
		left -= seg.Duration
	}
	return endAt(list, list.Len()-1)
}

// paceOf is the rendition that the numbers and the times of an asset are of: the publisher's
// picture, or what there is. It is nil if there is nothing.
func paceOf(s *record.Snapshot) *record.Rendition {
	var first *record.Rendition
	for _, r := range s.Renditions { // in the order in which they began
		switch {
		case r.Segments.Len() == 0:
		case r.Kind == media.Video:
			return r
		case first == nil:
			first = r
		}
	}
	return first
}
