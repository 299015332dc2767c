package dash

import (
	"math"
	"slices"
	"strconv"
	"time"

	"onair/internal/deliver/mpd"
	"onair/internal/deliver/pack"
	"onair/internal/deliver/reply"
	"onair/internal/media"
)

// known is what must be remembered of a stream from one manifest to the next: where its
// Periods began, though what was there is no longer listed, and which of the renditions that
// are made here are listed in each. What a Period lists stays as it is: players do not bear
// that a rendition goes while they play it.
type known struct {
	first   string // id of the Period before the first border
	listed  []string
	borders []border
	changed time.Time // when listed was to change the last time
	offers  []media.Offer

	pictures    Pictures // nil: none
	illustrated bool     // the Period before the first border lists pictures
}

func (k *known) lists(name string) bool {
	return slices.Contains(k.listed, name) ||
		slices.ContainsFunc(k.borders, func(b border) bool { return slices.Contains(b.listed, name) })
}

// keep adds the offers that are no longer there but are listed in a Period.
func (k *known) keep(offers []media.Offer) (all []media.Offer, gone map[string]bool) {
	gone = map[string]bool{}
	all = slices.Clone(offers)
	for _, o := range k.offers {
		name := o.Track.Rendition
		if k.lists(name) && !slices.ContainsFunc(offers, func(o media.Offer) bool { return o.Track.Rendition == name }) {
			all = append(all, o)
			gone[name] = true
		}
	}
	k.offers = all
	return all, gone
}

// border is where a Period ends and another one begins: where the initialization section of
// a rendition changes, or where others are listed.
type border struct {
	number int64
	start  time.Duration
	open   bool     // the segment has not begun, so that start is not known
	listed []string // from here on

	illustrated bool // pictures are listed from here on
}

const (
	// maxBorders bounds the borders that are remembered; those that are out of the window
	// are forgotten, and pack makes at most a segment a second and a handful at once.
	maxBorders = 64
	// changeLists is the least time between two changes of what is listed.
	changeLists = 8 * time.Second
)

// learn adds the borders that are seen, and forgets those that no listed segment needs.
func (k *known) learn(list []listing, oldest int64) {
	for i := range list {
		if list[i].snap == nil {
			continue
		}
		for _, b := range list[i].borders() {
			if !slices.ContainsFunc(k.borders, func(o border) bool { return o.number == b.number }) {
				k.borders = append(k.borders, b)
			}
		}
	}
	slices.SortFunc(k.borders, func(a, b border) int { return int(a.number - b.number) })
	for len(k.borders) > 1 && k.borders[1].number <= oldest || len(k.borders) > maxBorders {
		k.borders = k.borders[1:]
	}
}

// relist makes a Period with other renditions begin behind all that was listed so far, if
// those that can be had have changed.
func (k *known) relist(list []listing, lead *listing, next int64, now time.Time) {
	var names []string
	for i := range list {
		if l := &list[i]; l.derived && !l.refused {
			names = append(names, l.name)
		}
	}
	slices.Sort(names)
	for i := range k.borders {
		b := &k.borders[i]
		if seg := lead.snap.Segment(b.number); b.open && seg != nil && !seg.Gap {
			b.start, b.open = seg.Init.Track.Duration(seg.BaseTime+seg.Offset), false
		}
		if b.listed == nil { // where parameters change everything is new
			b.listed = append([]string{}, names...)
			b.illustrated = k.illustrates(lead)
			k.changed = now
		}
	}
	current := &k.listed
	if n := len(k.borders); n > 0 {
		current = &k.borders[n-1].listed
	}
	switch {
	case *current == nil:
		*current = append([]string{}, names...)
		k.illustrated = k.illustrates(lead)
	case slices.Equal(*current, names) || !k.changed.IsZero() && now.Sub(k.changed) < changeLists:
	case len(k.borders) > 0 && k.borders[len(k.borders)-1].open:
	default:
		k.borders = append(k.borders, border{number: next, open: true, listed: append([]string{}, names...), illustrated: k.illustrates(lead)})
		k.changed = now
	}
}

// gather lists what a stream has and what can be made of it.
func gather(s *pack.Stream, offers []media.Offer, refused func(name string) bool) (list []listing) {
	for _, r := range s.Renditions() {
		snap := r.Snapshot()
		if !derived(r) && silent(s, snap) {
			continue // nobody is sent there
		}
		l := listing{name: r.Name(), track: snap.Track, rate: snap.FrameRate, derived: derived(r), snap: snap}
		l.peak = max(snap.Peak+snap.Peak/10, snap.Average)
		if l.derived {
			i := slices.IndexFunc(offers, func(o media.Offer) bool { return o.Track.Rendition == l.name })
			if i < 0 || !offers[i].Listed {
				continue
			}
			l.peak, l.rate, l.refused = expected(offers[i].Peak, snap), offers[i].Track.FrameRate, refused(l.name)
		}
		list = append(list, l)
	}
	for _, o := range offers {
		name := o.Track.Rendition
		if o.Listed && reply.WellFormed(name) && !slices.ContainsFunc(list, func(l listing) bool { return l.name == name }) {
			list = append(list, listing{name: name, track: o.Track, rate: o.Track.FrameRate, peak: o.Peak, derived: true, refused: refused(name)})
		}
	}
	if at := leading(list, media.Video); at >= 0 {
		for i := range list {
			list[i].below(&list[at])
		}
	}
	return list
}

// expected is the peak of a rendition that is made here, of which it is known what it is
// kept to: less where little was needed so far.
func expected(limit int64, snap *pack.Snapshot) int64 {
	const enough = 3 // segments
	made := 0
	for _, seg := range snap.Segments {
		if !seg.Gap {
			made++
		}
	}
	if made < enough || limit > 0 && snap.Peak+snap.Peak/4 > limit {
		return limit
	}
	return snap.Peak + snap.Peak/4
}

// below makes a smaller picture of the source's one that costs less: what it is kept to may
// be more than an easy source has, and players take what costs more for better.
func (l *listing) below(source *listing) {
	area := func(t *media.Track) float64 { return float64(t.Width) * float64(t.Height) }
	if !l.derived || l.track.Kind() != media.Video || area(l.track) >= area(source.track) || source.peak <= 0 {
		return
	}
	// Half the pixels take about six tenths of the bits.
	share := math.Pow(area(l.track)/area(source.track), 0.75)
	l.peak = min(l.peak, max(1, int64(share*float64(source.peak))))
}

// silent tells whether a rendition has stopped while others of its kind go on.
func silent(s *pack.Stream, snap *pack.Snapshot) bool {
	gone := func(snap *pack.Snapshot) bool {
		n := len(snap.Segments)
		return snap.Open == nil && n > 0 && snap.Segments[n-1].Gap
	}
	if snap.Ended || !gone(snap) {
		return false
	}
	for _, r := range s.Renditions() {
		if other := r.Snapshot(); r.Kind() == snap.Track.Kind() && !gone(other) {
			return true
		}
	}
	return false
}

// leading returns the index of the source's rendition of a kind that others are cut like,
// or -1.
func leading(list []listing, kind media.Kind) int {
	return slices.IndexFunc(list, func(l listing) bool { return !l.derived && l.snap != nil && l.track.Kind() == kind })
}

// present describes a stream as it is now. It returns nil if there is nothing to list.
func present(list []listing, parts time.Duration, target time.Duration, k *known, now time.Time) *mpd.Presentation {
	at := leading(list, media.Video)
	if at < 0 {
		at = leading(list, media.Audio)
	}
	if at < 0 || len(list[at].snap.Segments) == 0 {
		return nil
	}
	lead := &list[at]
	f := foretell(lead.snap, parts)
	oldest := lead.snap.Segments[0].Sequence
	k.learn(list, oldest)
	if k.first == "" {
		k.first = "p" + stem(lead.initIn(oldest, oldest+1))
	}
	k.relist(list, lead, f.last+1, now)
	p := &mpd.Presentation{Low: f.on, Ended: lead.snap.Ended, Longest: target + time.Second/2}
	pace(p, &f, lead, parts, target)
	spans := make([][]span, len(list))
	for i := range list {
		l := &list[i]
		if !l.derived {
			spans[i] = l.spans(&f)
			if n := len(spans[i]); n > 0 {
				end := spans[i][n-1]
				p.End = max(p.End, l.track.Duration(end.T+end.D))
			}
		}
	}
	for i := range list {
		if l := &list[i]; l.derived {
			like := leading(list, l.track.Kind())
			if like < 0 {
				like = at
			}
			if l.track.Timescale <= 0 { // an offer that does not say
				t := *l.track
				t.Timescale = list[like].track.Timescale
				l.track = &t
			}
			spans[i] = rescaled(spans[like], list[like].track, l.track)
		}
	}
	p.Periods = divide(list, at, spans, k, oldest, f.last+1, &f, parts)
	return p
}

// pace says how players are to keep time.
func pace(p *mpd.Presentation, f *forecast, lead *listing, parts, target time.Duration) {
	list := complete(lead.snap)
	first, last := list[0], list[len(list)-1]
	// One segment less than there are: what is listed is there for as long as it is asked for.
	p.Window = (lead.track.Duration(last.T+last.D-first.T) - target).Truncate(time.Second)
	p.Window = max(p.Window, target, time.Second)
	if !f.on {
		p.Update, p.Delay, p.Buffer = max(time.Second, target/3), 5*target/2, target
		return
	}
	p.Update = min(max(time.Second, (f.length/2).Truncate(100*time.Millisecond)), 2*time.Second)
	p.Delay, p.Buffer = (3*parts + lateness).Round(100*time.Millisecond), max(parts, 500*time.Millisecond)
}

// lateness is what players are behind the clock beside three parts. The manifest is asked
// for about each second, and players take whole segments, though in pieces.
const lateness = time.Second

// divide makes the Periods of the segments from one number to before another; lead is the
// index of the leading rendition.
func divide(list []listing, lead int, spans [][]span, k *known, from, to int64, f *forecast, parts time.Duration) (periods []mpd.Period) {
	id, start, listed, illustrated := k.first, time.Duration(0), k.listed, k.illustrated
	for i := 0; ; i++ {
		next := to
		if i < len(k.borders) {
			next = min(k.borders[i].number, to)
		}
		if next > from {
			now := mpd.Period{ID: id, Start: start}
			for j := range list {
				if l := &list[j]; !l.derived || slices.Contains(listed, l.name) {
					add(&now, l, between(spans[j], from, next), l.initIn(from, next), f, parts)
				}
			}
			if illustrated {
				illustrate(&now, &list[lead], between(list[lead].shown(spans[lead]), from, next), k)
			}
			if len(now.Sets) > 0 {
				periods = append(periods, now)
			}
			from = next
		}
		if i >= len(k.borders) || k.borders[i].number >= to || k.borders[i].open {
			return periods // what begins there is listed when it is known when
		}
		b := &k.borders[i]
		id, start, listed, illustrated = "p"+strconv.FormatInt(b.number, 10), b.start.Truncate(time.Millisecond), b.listed, b.illustrated
	}
}

// add lists a rendition in a Period.
func add(p *mpd.Period, l *listing, spans []span, init *pack.Init, f *forecast, parts time.Duration) {
	if len(spans) == 0 || init == nil && !l.derived || l.track.CodecString == "" {
		return
	}
	r := mpd.Representation{Name: l.name, Track: l.track, Rate: l.rate, Peak: l.peak, Stem: stem(init), Spans: spans}
	if init != nil {
		r.Track = init.Track
	}
	if f.on {
		r.Early, r.Part = max(0, f.length-parts), parts
	}
	p.Add(r, !l.derived)
}
