package replay

import (
	"math"
	"net/url"
	"sort"
	"strconv"
	"time"

	"onair/internal/fault"
	"onair/internal/record"
)

// part is a part of an asset, in whole segments: a clip that nothing is made for. Its zero
// value is all of it.
type part struct {
	// from and to are the media sequence numbers of its first and last segment; 0 for those
	// of the asset.
	from, to int64
	// until is when it ends, if that is still to come when it is asked for; in milliseconds of
	// Unix time. 0 for the end of the asset, or for to.
	until int64
}

// partOf reads which part of an asset the query of a playlist of playlists asks for: between
// start and end, as ParseMoment reads them, snapped outward to segments. Its error is a fault
// that tells the viewer.
func partOf(query url.Values, s *record.Snapshot) (p part, err error) {
	if !query.Has("start") && !query.Has("end") {
		return part{}, nil
	}
	refuse := func(cause, hint string) (part, error) {
		return part{}, fault.New(fault.Invalid, "cut", s.ID, cause, hint)
	}
	pace := paceOf(s)
	if pace == nil {
		return part{}, nil // whoever asks is told that there is nothing
	}
	list := &pace.Segments
	begin, over := list.Unnamed(0).Start, endAt(list, list.Len()-1)
	from, until := begin, time.Time{}
	if from, err = moment(query, "start", s, from); err == nil {
		until, err = moment(query, "end", s, until)
	}
	if err != nil {
		return part{}, err
	}
	switch {
	case !until.IsZero() && !until.After(begin):
		return refuse("it begins at "+text(begin)+", after the end that was asked for", "")
	case !from.Before(over) && ended(s):
		return refuse("it ends at "+text(over)+", before the start that was asked for", "Its first picture is of "+text(begin))
	case !from.Before(over):
		return refuse("the start that was asked for is still to come: now it is at "+text(over), "Ask again then")
	case !until.IsZero() && !until.After(from):
		return refuse("the end that was asked for, "+text(until)+", is not after the start, "+text(from), "")
	}
	p.from = covering(list, from)
	switch {
	case until.IsZero():
	case until.Before(over):
		p.to = reaching(list, until)
	case ended(s):
		p.to = list.Sequence(list.Len() - 1)
	default:
		p.until = until.UnixMilli()
	}
	return p, nil
}

// moment reads a moment of a query, if it has one.
func moment(query url.Values, name string, s *record.Snapshot, otherwise time.Time) (time.Time, error) {
	if !query.Has(name) {
		return otherwise, nil
	}
	m, err := ParseMoment(query.Get(name))
	return m.In(s), err
}

// text writes a time for people.
func text(at time.Time) string { return at.UTC().Round(time.Second).Format(time.RFC3339) }

// covering is the number of the segment that has a time of the wall clock, or of the first one
// after it; of the last one if there is none.
func covering(list *record.Segments, at time.Time) int64 {
	i := sort.Search(list.Len()-1, func(i int) bool { return endAt(list, i).After(at) })
	return list.Sequence(i)
}

// reaching is the number of the first segment that does not end before a time; 0 if there is
// none yet.
func reaching(list *record.Segments, at time.Time) int64 {
	i := sort.Search(list.Len(), func(i int) bool { return !endAt(list, i).Before(at) })
	if i == list.Len() {
		return 0
	}
	return list.Sequence(i)
}

// query is what the paths of a part's playlists end with.
func (p part) query() string {
	if p == (part{}) {
		return ""
	}
	out := "?from=" + strconv.FormatInt(p.from, 10)
	if p.to != 0 {
		out += "&to=" + strconv.FormatInt(p.to, 10)
	}
	if p.until != 0 {
		out += "&until=" + strconv.FormatInt(p.until, 10)
	}
	return out
}

// parsePart reads what query wrote.
func parsePart(query url.Values) (p part, ok bool) {
	number := func(name string) int64 {
		if !query.Has(name) {
			return 0
		}
		n, err := strconv.ParseInt(query.Get(name), 10, 64)
		if err != nil || n < 1 {
			return -1
		}
		return n
	}
	p = part{number("from"), number("to"), number("until")}
	return p, p.from >= 0 && p.until >= 0 && (p.to == 0 || p.to >= p.from)
}

// of is the part of an asset: a snapshot whose renditions have what is in it, and whose state
// is that it is being recorded until its end is there. The rest is that of the asset.
func (p part) of(s *record.Snapshot) *record.Snapshot {
	pace := paceOf(s)
	if p == (part{}) || pace == nil {
		return s
	}
	to := p.to
	if p.until != 0 {
		to = reaching(&pace.Segments, time.UnixMilli(p.until))
	}
	complete := to != 0
	if to == 0 {
		to = math.MaxInt64
	}
	out := *s
	out.Renditions = make([]*record.Rendition, 0, len(s.Renditions))
	newest := endAt(&pace.Segments, pace.Segments.Len()-1)
	for _, r := range s.Renditions {
		now := *r
		now.Segments = within(r.Segments, p.from, to)
		out.Renditions = append(out.Renditions, &now)
		if n := r.Segments.Len(); n > 0 && !made(r) {
			last := r.Segments.Unnamed(n - 1)
			complete = complete && (last.Sequence >= to || newest.Sub(endOf(&last)) >= maxLate)
		}
	}
	if complete && !ended(s) {
		out.State = record.Ready
	}
	return &out
}

// form tells apart the texts that are made of parts of an asset, in few ways: what lies before
// its beginning or behind what it has is of no account.
func (p part) form(s *record.Snapshot) string {
	first, last := int64(math.MaxInt64), int64(0)
	for _, r := range s.Renditions {
		if n := r.Segments.Len(); n > 0 {
			first, last = min(first, r.Segments.Sequence(0)), max(last, r.Segments.Sequence(n-1))
		}
	}
	if p.from <= first {
		p.from = 0
	}
	if pace := paceOf(s); p.until != 0 && pace != nil {
		p.to = reaching(&pace.Segments, time.UnixMilli(p.until))
	}
	if p.to >= last {
		p.to = 0
	}
	return part{from: p.from, to: p.to}.query()
}

// within returns the segments with numbers from one to another.
func within(list record.Segments, from, to int64) record.Segments {
	n := int64(list.Len())
	if n == 0 {
		return list
	}
	first := list.Sequence(0)
	i := min(max(from-first, 0), n)
	j := n
	if to-first < j-1 {
		j = max(to-first+1, i)
	}
	return list.Slice(int(i), int(j))
}
