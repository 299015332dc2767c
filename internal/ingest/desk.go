package ingest

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
)

const (
	// starved is how long a publisher on the air may send nothing before filler takes its
	// place, starvedReady the same when another publisher is ready.
	starved      = 700 * time.Millisecond
	starvedReady = 500 * time.Millisecond
	// healthy is for how long the main encoder must send steadily to get the air back from
	// the backup.
	healthy = 5 * time.Second
	// burst is how far apart the packets of a burst are at most.
	burst = 150 * time.Millisecond
	// keyless is how long a publisher's key frame is awaited before its sound goes on alone.
	keyless = 3 * time.Second
	// anchoring is for how long after the beginning packets that are quicker than the first
	// one move the stream's place on the wall clock.
	anchoring = 10 * time.Second
)

// desk is where a stream's publishers meet. It decides who of them is on the air, and
// writes filler while nobody is, or while one of the tracks is silent. It is the only one
// who writes to the stream, and its lanes are the stream's own idea of its tracks: they
// outlive publishers.
//
// A publisher off the air, be it that it stands by, fell silent or came to a stream that
// waits, holds its newest group of pictures; going on the air is the same in each case: its
// first packet comes to stand where the stream's clock was when it was due, or where the
// stream's media ends if that is later, and all its tracks are moved by one offset.
type desk struct {
	*Ingest
	id string

	mu    sync.Mutex
	over  bool
	pub   *hub.Publication // the newest; nil before the first
	owner *session         // whose publication it is; nil once it left
	air   *session         // whose packets go out; nil while filler does
	seats [2]*session      // the main encoder and the backup
	mode  media.LatencyMode
	// zero is the wall clock at media time 0, begun when that was fixed.
	zero, begun time.Time
	lanes       []*lane
	changes     allowance
	group       time.Duration // the last distance of key frames; 0 if it is not known
	ready       *session      // whom people were told of as standing by
	standby     atomic.Pointer[hub.Publisher]
	lost        time.Time // since when nobody is on the air
}

const (
	mainSeat = iota
	backupSeat
)

// deskFor returns the desk of a stream.
func (i *Ingest) deskFor(id string) *desk {
	i.mu.Lock()
	defer i.mu.Unlock()
	d := i.desks[id]
	if d == nil {
		d = &desk{Ingest: i, id: id}
		i.desks[id] = d
	}
	return d
}

// forget takes a desk away whose stream has ended.
func (i *Ingest) forget(d *desk) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.desks[d.id] == d {
		delete(i.desks, d.id)
	}
}

// join gives a publisher whose tracks are known its place, which is on the air unless it
// is the backup of a healthy main encoder, or the main encoder of a healthy backup.
func (s *session) join(first []*media.Packet) error {
	for {
		d := s.deskFor(s.grant.StreamID)
		d.mu.Lock()
		if d.ended() {
			d.mu.Unlock()
			d.forget(d)
			continue
		}
		s.desk = d
		err := d.seat(s, first)
		d.mu.Unlock()
		if err != nil {
			d.leave(s, err)
		}
		return err
	}
}

// ended reports whether the stream is over; the lock is held.
func (d *desk) ended() bool {
	if !d.over && d.pub != nil {
		select {
		case <-d.pub.Stream().Done():
			d.over = true
		default:
		}
	}
	return d.over
}

func (d *desk) seat(s *session, first []*media.Packet) error {
	now := time.Now()
	other := d.seats[1-s.role]
	old := d.seats[s.role]
	d.seats[s.role] = s
	s.arrived, s.steady = now, now
	waits := d.air == nil && d.pub != nil
	if stands := other != nil && d.air == other; !stands && !waits {
		if len(d.lanes) > 0 {
			first = s.newest(first)
		}
		if err := d.enter(s, first, now); err != nil {
			if d.seats[s.role] = old; old != nil && d.air == s {
				d.air = old
			}
			return err
		}
	} else {
		for _, p := range first {
			s.hold(p)
		}
	}
	if waits {
		s.before = old // it may be the one that the stream goes on for
	} else if old != nil {
		old.cancel(hub.ErrTakenOver)
	}
	return nil
}

// enter puts a publisher on the air with the packets that it begins with.
func (d *desk) enter(s *session, first []*media.Packet, now time.Time) error {
	due := now
	if len(first) > 0 {
		due = s.due(first[0])
	}
	start := time.Duration(0)
	if d.pub == nil {
		d.zero, d.begun, s.founded = due, due, true
	} else {
		if d.air == nil {
			d.fill(due)
		}
		start = max(due.Sub(d.zero), d.end())
	}
	s.timeline = newTimeline(s.cfg.MaxForwardJump, s.repairs)
	s.timeline.adopt, s.timeline.zero = s.adopt, d.zero
	s.drift = drift{}
	s.lanes = s.lanes[:0]
	if d.tooMany(s, first) {
		return errTooMany(d.id)
	}
	tracks := s.learnTracks(first)
	if d.pub == nil || d.owner != s {
		pub, err := d.hub.Publish(d.id, hub.PublishOptions{
			Session: s.id, Protocol: s.request.Protocol(), Peer: peerOf(s.request), Encoder: s.encoder,
			Linger: s.grant.Linger, LatencyMode: s.grant.LatencyMode, Backup: s.role == backupSeat,
			Tracks: tracks, Repaired: s.repairs.counts, Standby: d.standby.Load,
		})
		if err != nil {
			return err
		}
		if d.pub != nil && pub.Stream() != d.pub.Stream() {
			// The stream was ended just now, and what ended it is meant for s too.
			pub.End(nil)
			d.over = true
			return d.pub.Stream().Err()
		}
		d.pub, d.owner, d.mode = pub, s, s.grant.LatencyMode
	}
	d.air, s.aired = s, true
	s.release()
	s.replace()
	d.announce(now)
	s.timeline.begin(start, first)
	for _, p := range first {
		if err := d.put(s, p); err != nil {
			return err
		}
	}
	return nil
}

// WritePacket implements media.Sink for what the publisher sends.
func (s *session) WritePacket(_ context.Context, p *media.Packet) error {
	d := s.desk
	now := p.Arrival
	if now.IsZero() {
		now = time.Now()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(s.arrived) > starvedReady {
		s.steady = now
		if d.air != s {
			s.release() // what it held has a hole, and its pace says nothing now
		}
	}
	s.arrived = now
	if d.air == s {
		return d.put(s, p)
	}
	s.hold(p)
	return d.decide(s, now)
}

// decide puts s, which is off the air, on it if it is its turn.
func (d *desk) decide(s *session, now time.Time) error {
	if d.seats[s.role] != s || d.ended() {
		return nil
	}
	first, ok := s.begins(now)
	switch {
	case !ok:
		return nil
	case d.air == nil:
	case s.role == mainSeat && now.Sub(s.steady) >= healthy && s.atKey:
		d.log.Info("the main encoder has the air back", "stream", d.id, "session", s.id)
	default:
		return nil
	}
	return d.enter(s, first, now)
}

// leave takes a publisher away that ended with err.
func (d *desk) leave(s *session, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	clean := err == nil || errors.Is(err, io.EOF)
	if alone := d.seats[s.role] == s && d.seats[1-s.role] == nil; clean && alone && s.justCame() && d.air == nil && !d.ended() && len(s.held) > 0 {
		_ = d.enter(s, append([]*media.Packet(nil), s.held...), now) // a short broadcast is one
	}
	if d.seats[s.role] == s {
		d.seats[s.role] = nil
	}
	s.replace()
	if d.air == s {
		d.air, d.lost = nil, now
	}
	s.release()
	if d.owner == s {
		d.owner = nil
		if other := d.seats[1-s.role]; other != nil && !d.ended() {
			d.handOver(other, err, now)
		} else {
			d.pub.End(err)
		}
	}
	d.announce(now)
	if d.pub == nil {
		d.over = d.seats == [2]*session{}
	}
	if d.ended() {
		d.forget(d)
	}
}

// handOver gives the air of a publisher that left to another one. If that one has nothing
// to begin with yet, the stream waits for it.
func (d *desk) handOver(to *session, err error, now time.Time) {
	if first, ok := to.begins(now); ok && d.enter(to, first, now) == nil {
		return
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = fault.New(fault.Unavailable, "publish", d.id, "the encoder stopped, and the other one has sent no key frame yet", "")
	}
	d.pub.End(err)
}

// announce tells when somebody stands by, or does not any more.
func (d *desk) announce(now time.Time) {
	var ready *session
	for _, s := range d.seats {
		if s != nil && s != d.air && d.air != nil && s.stands(now) {
			ready = s
		}
	}
	if ready == d.ready {
		return
	}
	if d.ready != nil {
		d.bus.Publish(event.StreamStandby{StreamID: d.id, Session: d.ready.id, Backup: d.ready.role == backupSeat})
	}
	d.ready = ready
	if ready == nil {
		d.standby.Store(nil)
		return
	}
	d.bus.Publish(event.StreamStandby{StreamID: d.id, Session: ready.id, Backup: ready.role == backupSeat, Ready: true})
	d.standby.Store(&hub.Publisher{
		Session: ready.id, Protocol: ready.request.Protocol(), Peer: peerOf(ready.request), Encoder: ready.encoder,
		Backup: ready.role == backupSeat, Since: ready.since,
	})
}

// tick does what has to be done without a packet: it notices silence, and fills. It
// reports false when the stream is over.
func (d *desk) tick(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended() {
		return false
	}
	if d.pub == nil {
		return true
	}
	d.notice(now)
	for _, s := range d.seats {
		if s != nil && d.air == nil && s.arrived.After(d.lost) {
			if err := d.decide(s, now); err != nil {
				s.cancel(err)
			}
		}
	}
	d.announce(now)
	d.order(now)
	d.fill(now)
	return true
}

// patience is how long a publisher on the air may be silent.
func (d *desk) patience(s *session, ready bool) time.Duration {
	if len(s.lanes) == 0 {
		return starved
	}
	p := s.lanes[0].patience()
	for _, l := range s.lanes[1:] {
		p = min(p, l.patience())
	}
	if ready && p == starved {
		return starvedReady
	}
	return p
}

// notice takes a publisher off the air that fell silent.
func (d *desk) notice(now time.Time) {
	s := d.air
	if s == nil {
		return
	}
	silent := now.Sub(s.arrived)
	other := d.seats[1-s.role]
	if other == nil || !other.stands(now) {
		other = nil
	}
	if silent < d.patience(s, other != nil) {
		return
	}
	d.log.Warn("the publisher is silent", "stream", d.id, "session", s.id, "since", silent, "standby", other != nil)
	d.metrics.starved.Inc()
	s.release()
	d.air, d.lost = nil, now
	if other != nil {
		if err := d.decide(other, now); err != nil {
			other.cancel(err)
		}
	}
}

// stream is the stream that the desk publishes on.
func (d *desk) stream() *hub.Stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pub.Stream()
}
