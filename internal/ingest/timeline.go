package ingest

import (
	"time"

	"onair/internal/media"
)

const (
	// videoTimescale is exact for all usual frame rates.
	videoTimescale = 90000
	// plainTimescale is for sound whose sample rate is not known.
	plainTimescale = 48000

	// calm is how far a time stamp may lie from where it was due and still be a pause or
	// a burst. What lies further off has to be confirmed by a second one.
	calm = int64(time.Second)
	// backstep is how far a track's time stamps may step back and still be jitter.
	backstep = int64(100 * time.Millisecond)
	// overrun is how far a track's output may be ahead of its time stamps.
	overrun = int64(time.Second)
	// grace is how long after a jump a track may still follow the old clock, in media time.
	grace = int64(2 * time.Second)
	// memory is how long an old clock that nobody follows is remembered, in media time.
	memory = int64(10 * time.Second)
	// maxComposition bounds the distance of PTS and DTS.
	maxComposition = int64(10 * time.Second)
	// farthest bounds time stamps so that sums of them do not overflow.
	farthest = int64(1) << 61
	// nowhere is later than every time stamp.
	nowhere = int64(1) << 62
	// defaultStep is how long a packet lasts as long as nothing is known about it.
	defaultStep = int64(33 * time.Millisecond)
)

// timeline maps a publisher's time stamps onto the stream's: what comes out starts where
// it was told to, never goes back, and goes on at the pace of the wall clock when the
// publisher's clock leaps. All tracks are moved by one and the same offset, so that
// sound stays with the picture.
//
// A time stamp that lies near where it was due is taken as it is. One that does not is
// an outlier: its packet is put where it was due. When another one confirms it, of
// whatever track, the clock has leapt: forward by a little is a pause, which stays as it
// is; anything else gives a new offset, with which the new clock goes on where the old
// one was. For a moment tracks may still follow the old clock, since they are not
// interleaved perfectly.
//
// Times in it are nanoseconds; "in" is the publisher's, "out" the stream's.
type timeline struct {
	maxForward int64
	fixed      *repairs
	// adopt, if set, says what a publisher's track is on the stream.
	adopt func(in *media.Track) (*media.Track, *lane)
	// zero is the wall clock at the stream's time 0, if it is known.
	zero time.Time
	// bias is added to all time stamps that come, so that the stream follows the wall clock.
	bias int64

	begun    bool
	start    int64 // nothing comes out before it
	cur      int64 // the offset: out = in + cur
	prev     int64 // the one before the last jump
	hasPrev  bool
	switched int64 // the clock at the last jump
	prevUsed int64 // the clock when prev was right for a packet
	clock    int64 // the highest DTS out
	arrived  time.Time
	lines    []*line
}

// line is one track of a timeline.
type line struct {
	in, out *media.Track
	lane    *lane
	extra   int64 // is added to the track's time stamps, beside the timeline's bias
	slewed  slewed

	started bool
	off     int64 // the offset of its last packet
	lastIn  int64 // the last time stamp that was taken as it is
	lastOut int64
	last    int64 // the last DTS out, in ticks
	step    int64 // the distance of the last two packets
	packets int64
	leapt   int64 // how far the time stamps leapt when they last did
	leaptAt int64 // after how many packets that was
	arrived time.Time

	// lead is set when the last packet leapt ahead by more than jitter. leadFrom is the
	// time stamp before the latest one that did, for a second, and nowhere otherwise:
	// stamps that fall back to there are jitter, and no clock that went back.
	lead     bool
	leadFrom int64

	suspect   bool
	suspectIn int64
	// suspectOut is where the outlier's packet was put.
	suspectOut int64

	sound smoother
}

func newTimeline(maxForward time.Duration, r *repairs) *timeline {
	return &timeline{maxForward: int64(maxForward), fixed: r}
}

// begin fixes the offset so that the earliest of the first packets comes out at start.
func (l *timeline) begin(start time.Duration, first []*media.Packet) {
	l.begun, l.start, l.clock = true, int64(start), int64(start)
	if len(first) == 0 {
		return
	}
	base, origin := farthest, inTime(first[0])
	for _, p := range first {
		in := inTime(p)
		if away(in, origin) > l.maxForward {
			continue // another clock
		}
		base = min(base, in, in+l.composition(p))
	}
	l.cur = l.start - base
	l.arrived = first[0].Arrival
}

// track returns the track as the stream has it: with a timescale of our own. It is the
// same pointer as long as in is.
func (l *timeline) track(in *media.Track) *media.Track { return l.line(in).out }

func (l *timeline) line(in *media.Track) *line {
	for _, n := range l.lines {
		if n.in == in {
			return n
		}
		if n.in.ID == in.ID {
			l.change(n, in)
			return n
		}
	}
	n := &line{step: defaultStep}
	l.change(n, in)
	l.lines = append(l.lines, n)
	return n
}

// change gives the line a new version of its track. Where the stream's track stays as it
// is, so does the count of samples.
func (l *timeline) change(n *line, in *media.Track) {
	out, was := inStreamScale(in), n.out
	if l.adopt != nil {
		out, n.lane = l.adopt(in)
	}
	n.in, n.out = in, out
	if out == was {
		return
	}
	if was != nil && was.Timescale != out.Timescale {
		n.last = media.Rescale(n.last, int64(was.Timescale), int64(out.Timescale))
	}
	n.sound = newSmoother(out)
}

// inStreamScale returns the track with a timescale of our own.
func inStreamScale(in *media.Track) *media.Track {
	out := *in
	switch {
	case in.Kind() == media.Video:
		out.Timescale = videoTimescale
	case in.SampleRate > 0:
		out.Timescale = in.SampleRate
	default:
		out.Timescale = plainTimescale
	}
	return &out
}

// knows tells whether a track is known, and whether in has other parameters than it had.
func (l *timeline) knows(in *media.Track) (changed, known bool) {
	for _, n := range l.lines {
		if n.in == in {
			return false, true
		}
		if n.in.ID == in.ID {
			return !equal(inStreamScale(in), inStreamScale(n.in)), true
		}
	}
	return false, false
}

// put maps a packet; nil means that it is to be left out.
func (l *timeline) put(p *media.Packet) *media.Packet {
	q, _ := l.move(p)
	return q
}

// move maps a packet and returns the line that it is on; nil means that it is to be left out.
func (l *timeline) move(p *media.Packet) (*media.Packet, *line) {
	n := l.line(p.Track)
	if !l.begun {
		l.begin(0, []*media.Packet{p})
	}
	n.packets++
	in := inTime(p) + l.bias + n.extra
	out := l.place(n, in, p.Arrival)
	if p.Arrival.After(l.arrived) {
		l.arrived = p.Arrival
	}
	n.arrived = p.Arrival
	if out < l.start {
		l.fixed.count(repairBefore)
		return nil, n
	}
	ts := int64(n.out.Timescale)
	exact := media.Rescale(out, int64(time.Second), ts)
	q := &media.Packet{Track: n.out, DTS: exact, Key: p.Key, Arrival: p.Arrival, Data: p.Data}
	if n.out.Kind() == media.Audio {
		var keep bool
		if q.DTS, q.Duration, keep = n.sound.next(exact, p.Data, n.started, n.last, l.fixed); !keep {
			return nil, n
		}
		q.PTS = q.DTS
	} else {
		q.Duration = media.Rescale(p.Duration, int64(p.Track.Timescale), ts)
	}
	if n.started && q.DTS <= n.last {
		q.DTS = n.last + least(n.out)
		l.fixed.count(repairOrder)
	}
	if n.out.Kind() == media.Video {
		q.PTS = exact + media.Rescale(l.checkedComposition(p), int64(time.Second), ts)
		if p.PTS >= p.DTS {
			q.PTS = max(q.PTS, q.DTS) // also where the DTS was moved
		}
	}
	if floor := media.Rescale(l.start, int64(time.Second), ts); q.PTS < floor {
		q.PTS = floor
		l.fixed.count(repairEarlyPTS)
	}
	n.started, n.last = true, q.DTS
	n.lastOut = media.Rescale(q.DTS, ts, int64(time.Second))
	l.clock = max(l.clock, n.lastOut)
	return q, n
}

// least is the least distance of two packets, in ticks: a millisecond for pictures, which
// is the finest that some containers have.
func least(t *media.Track) int64 {
	if t.Kind() == media.Video {
		return max(1, int64(t.Timescale)/1000)
	}
	return 1
}

// place finds where a packet with the time stamp in belongs.
func (l *timeline) place(n *line, in int64, now time.Time) int64 {
	wall := l.clock + int64(since(now, l.arrived))
	onCur := l.fits(n, in, l.cur, wall)
	if l.hasPrev && l.clock-l.prevUsed < memory {
		// Who was on the old clock stays there for a moment; and for good if the new
		// clock is not its own.
		follows, settled := n.started && n.off == l.prev, l.clock-l.switched >= grace
		if (!onCur || follows && !settled) && l.fits(n, in, l.prev, wall) {
			l.prevUsed = l.clock
			swap := n.started && n.off == l.cur // it leapt back: so much for the new clock
			if d := l.prev - l.cur; follows && settled && d > 0 && d <= calm {
				swap = true // the tracks are to be together again, and nobody can go back
			}
			off := l.prev
			if swap {
				l.cur, l.prev, l.switched = l.prev, l.cur, l.clock
			}
			return n.take(in, off)
		}
	}
	if onCur {
		return n.take(in, l.cur)
	}
	if s := l.confirms(n, in); s != nil {
		return l.leap(n, s, in, now, wall)
	}
	l.fixed.count(repairOutlier)
	n.suspect, n.suspectIn, n.suspectOut = true, in, n.due(now, wall)
	return n.suspectOut
}

// fits tells whether a time stamp moved by off lands where a packet of this track may be.
func (l *timeline) fits(n *line, in, off, wall int64) bool {
	out := in + off
	ahead := max(l.clock, wall)
	if !n.started {
		return out >= l.clock-l.maxForward && out <= ahead+l.maxForward
	}
	if n.off == off && in >= min(n.lastIn, n.leadFrom)-backstep && in-n.lastIn <= n.calm() {
		return out >= n.lastOut-overrun
	}
	return out >= n.lastOut-backstep && out <= max(ahead, n.lastOut)+n.calm()
}

// calm is how much longer than usual the track may pause without being suspected.
func (n *line) calm() int64 { return max(calm, 3*n.step) }

// take accepts a time stamp as it is.
func (n *line) take(in, off int64) int64 {
	switch d := in - n.lastIn; {
	case !n.started || n.off != off:
		n.sound.leapt = true
		n.lead, n.leadFrom = false, nowhere
	case d <= n.step+backstep:
		if d > 0 {
			n.step = d
		}
		if n.lead = false; in-n.leadFrom > calm {
			n.leadFrom = nowhere
		}
	default:
		// A pause, or a step that will be taken back. Only a second one is the pace.
		if n.lead && d <= maxComposition {
			n.step = d
		}
		n.lead, n.leadFrom = true, n.lastIn
	}
	n.lastIn, n.off, n.suspect = in, off, false
	return in + off
}

// due is where the track's next packet belongs if its time stamp says nothing.
func (n *line) due(now time.Time, wall int64) int64 {
	if !n.started {
		return wall
	}
	if pause := int64(since(now, n.arrived)); pause >= calm {
		return n.lastOut + pause
	}
	return n.lastOut + n.step
}

// confirms returns the track with an outlier that in agrees with, n itself first.
func (l *timeline) confirms(n *line, in int64) *line {
	near := func(s *line) bool {
		return s.suspect && in-s.suspectIn >= -calm && in-s.suspectIn <= l.maxForward
	}
	if near(n) {
		return n
	}
	for _, s := range l.lines {
		if near(s) {
			return s
		}
	}
	return nil
}

// leap accepts a new clock, which s was the first to show.
func (l *timeline) leap(n, s *line, in int64, now time.Time, wall int64) int64 {
	step := in - n.lastIn
	if step > 0 && step <= maxComposition && away(step, n.leapt) < step/4 && n.packets-n.leaptAt <= 3 {
		n.step = step // slides: that is how fast they come
	}
	n.leapt, n.leaptAt = step, n.packets
	if out := in + l.cur; n.started && out > n.lastOut && out <= max(wall, l.elapsed(now))+n.calm() {
		return n.take(in, l.cur) // a pause, for which the clock on the wall went on too
	}
	l.fixed.count(repairJump)
	l.prev, l.hasPrev, l.switched, l.prevUsed = l.cur, true, l.clock, l.clock
	l.cur = s.suspectOut - s.suspectIn
	if n.started && in+l.cur < n.lastOut-backstep {
		l.cur = n.due(now, wall) - in // the other's packet was put where n has been already
	}
	s.suspect = false
	return n.take(in, l.cur)
}

// elapsed is where the wall clock stands on the stream.
func (l *timeline) elapsed(now time.Time) int64 {
	if l.zero.IsZero() {
		return 0
	}
	return int64(since(now, l.zero))
}

// inTime is the packet's DTS in nanoseconds, within bounds.
func inTime(p *media.Packet) int64 {
	return bounded(media.Rescale(p.DTS, int64(p.Track.Timescale), int64(time.Second)))
}

// composition is the distance of PTS and DTS in nanoseconds; 0 where it is absurd.
func (l *timeline) composition(p *media.Packet) int64 {
	if p.Track.Kind() != media.Video {
		return 0
	}
	c := bounded(media.Rescale(p.PTS, int64(p.Track.Timescale), int64(time.Second))) - inTime(p)
	if c > maxComposition || c < -maxComposition {
		return 0
	}
	return c
}

func (l *timeline) checkedComposition(p *media.Packet) int64 {
	c := l.composition(p)
	if c == 0 && p.PTS != p.DTS && away(bounded(p.PTS), bounded(p.DTS)) > int64(p.Track.Timescale) {
		l.fixed.count(repairComposition)
	}
	return c
}

func bounded(v int64) int64 { return min(max(v, -farthest), farthest) }

func away(a, b int64) int64 { return max(a-b, b-a) }

// since is the time from then to now; 0 if it is negative or not known.
func since(now, then time.Time) time.Duration {
	if now.IsZero() || then.IsZero() {
		return 0
	}
	return max(0, now.Sub(then))
}
