package ingest

import (
	"time"

	"onair/internal/media"
)

const (
	// quickest is over how long the quickest packet is looked for. What it says of the
	// publisher's clock is not disturbed by the network's delays.
	quickest = 5 * time.Second
	// tolerated is how far media time may be off the wall clock before it is moved, and
	// settling how long that takes to move it by what it is further off.
	tolerated = 40 * time.Millisecond
	settling  = 20 * time.Second
	// maxSlew is the most that time is stretched or pressed, in parts of a million: nobody
	// hears that.
	maxSlew = 2000
	// apart is how far a track may drift from the leading one, and apartFor how many times
	// in a row it must be seen.
	apart    = 25 * time.Millisecond
	apartFor = 3
)

// drift makes a publisher's time stamps follow the wall clock, whose place on the stream is
// the desk's. It compares the quickest packets of a few seconds with it and lets the
// timeline's bias grow or shrink a little with each packet.
type drift struct {
	rate  int64 // parts of a million by which time is stretched
	clock int64 // media time, in nanoseconds, up to which bias was moved
	since time.Time
	began bool
	key   int64 // where the last key frame stands
}

// slewed is what drift knows of one line.
type slewed struct {
	seen     bool
	behind   int64 // of the quickest packet of the present window
	home     int64 // how far behind the lead it was at first
	atHome   bool
	away     int
	leftover int64 // that extra has still to be moved by
}

// follow takes in a packet that was written.
func (s *session) follow(n *line, q *media.Packet) {
	d, f := s.desk, &s.drift
	out := int64(q.Track.Duration(q.DTS))
	arrived := q.Arrival
	if arrived.IsZero() {
		arrived = s.arrived
	}
	behind := int64(arrived.Sub(d.zero)) - out
	if s.founded && arrived.Sub(d.begun) < anchoring && behind < 0 {
		d.zero, behind = d.zero.Add(time.Duration(behind)), 0
	}
	if w := &n.slewed; !w.seen || behind < w.behind {
		w.seen, w.behind = true, behind
	}
	if q.Key && q.Track.Kind() == media.Video && q.Track.Rendition == "" {
		if f.key > 0 {
			d.group = time.Duration(out - f.key)
		}
		f.key = out
	}
	if !f.began {
		f.began, f.clock, f.since = true, out, arrived
		return
	}
	if gone := out - f.clock; gone > 0 {
		f.clock = out
		s.timeline.bias += gone * f.rate / 1e6
		for _, l := range s.timeline.lines {
			l.slew(gone)
		}
	}
	if arrived.Sub(f.since) >= quickest {
		f.since = arrived
		s.steer()
	}
}

// steer decides what is to be moved, at the end of a window.
func (s *session) steer() {
	var lead *line
	for _, n := range s.timeline.lines {
		if n.slewed.seen && (lead == nil || n.out.Kind() == media.Video && lead.out.Kind() != media.Video) {
			lead = n
		}
	}
	if lead == nil {
		return
	}
	// Behind the wall clock, stamps have to grow faster.
	off := lead.slewed.behind
	excess := max(0, off-int64(tolerated)) + min(0, off+int64(tolerated))
	rate := min(max(excess*1e6/int64(settling), -maxSlew), maxSlew)
	if rate != 0 && s.drift.rate == 0 {
		s.repairs.count(repairClock)
	}
	s.drift.rate = rate
	for _, n := range s.timeline.lines {
		w := &n.slewed
		if n != lead && w.seen {
			w.compare(lead.slewed.behind, s.repairs)
		}
		w.seen = false
	}
}

// compare looks whether a line has drifted from the leading one.
func (w *slewed) compare(lead int64, fixed *repairs) {
	apartBy := w.behind - lead
	if !w.atHome {
		w.home, w.atHome = apartBy, true
		return
	}
	apartBy -= w.home
	if w.leftover != 0 || away(apartBy, 0) < int64(apart) || away(apartBy, 0) > int64(time.Second) {
		w.away = 0
		return
	}
	if w.away++; w.away < apartFor {
		return
	}
	w.away, w.leftover = 0, apartBy
	fixed.count(repairTrackClock)
}

// slew moves a line by a little of what it is to be moved by.
func (n *line) slew(gone int64) {
	w := &n.slewed
	if w.leftover == 0 {
		return
	}
	most := gone * maxSlew / 1e6
	by := min(max(w.leftover, -most), most)
	w.leftover -= by
	n.extra += by
}
