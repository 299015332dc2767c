package ingest

import (
	"time"

	"onair/internal/event"
	"onair/internal/hub"
	"onair/internal/media"
)

const (
	// settled is for how long no packet may have been quicker than those before it, before a
	// publisher that begins to send goes on the air. What an encoder that starts has held
	// back, or what was held up on the way, comes in a burst: the first key frame of it is
	// old already, and placed where it arrived, all that follows would be ahead of the clock
	// by as much, and viewers behind by as much.
	settled = 200 * time.Millisecond
	// quicker is what counts for that.
	quicker = 20 * time.Millisecond
	// freshGroup is how old a group may be to begin with it as soon as that is settled: as
	// long filler waits.
	freshGroup = 400 * time.Millisecond
	// keyWait is how long a fresh key frame is awaited. Then a group will do that is not
	// older than staleGroup, or twice that for a publisher that has just come.
	keyWait    = 2 * time.Second
	staleGroup = 2500 * time.Millisecond
	// otherClock is how far a time stamp may be off where it was due and tell of the same clock.
	otherClock = 5 * time.Second
)

// pace is where a publisher's time stamps stand on the wall clock, by its quickest packets.
type pace struct {
	began bool
	// zero is the wall clock at time stamp 0 of the quickest packet of this group, and before
	// that of the group before.
	zero, before time.Time
	// quick is zero when it last became earlier by more than quicker, at since.
	quick, since time.Time
}

// add takes in a packet; key is set where a group begins.
func (q *pace) add(in time.Duration, arrival time.Time, key bool) {
	zero := arrival.Add(-in)
	switch {
	case !q.began || zero.Sub(q.quick).Abs() > otherClock:
		*q = pace{began: true, zero: zero, before: zero, quick: zero, since: arrival}
	case key:
		q.before, q.zero = q.zero, zero
	case zero.Before(q.zero):
		q.zero = zero
	}
	if q.quick.Sub(zero) > quicker {
		q.since = arrival
	}
	if zero.Before(q.quick) && q.since.Equal(arrival) {
		q.quick = zero
	}
}

// wall is the wall clock at a time stamp.
func (q *pace) wall(in time.Duration) time.Time {
	if q.before.Before(q.zero) {
		return q.before.Add(in)
	}
	return q.zero.Add(in)
}

// due is when a packet was due to arrive, had it been as quick as others.
func (s *session) due(p *media.Packet) time.Time {
	if s.pace.began {
		return s.pace.wall(time.Duration(inTime(p)))
	}
	return s.arrivalOf(p)
}

// replace ends the publisher whose seat s has.
func (s *session) replace() {
	if s.before != nil {
		s.before.cancel(hub.ErrTakenOver)
		s.before = nil
	}
}

// release forgets what a publisher held, as when it goes on the air or falls silent.
func (s *session) release() {
	clear(s.held)
	s.held, s.heldBytes, s.sound, s.atKey, s.resumed = s.held[:0], 0, nil, false, time.Time{}
	s.pace = pace{}
}

// keyRequester is a request whose encoder can be asked for a key frame. It sees to it that
// this is not done too often.
type keyRequester interface{ RequestKey() }

// RequestKey asks the publisher that is on the air of a stream for a key frame, if its
// protocol has a way to ask. It waits for no network; whoever calls it sees to it that it
// is not often.
func (i *Ingest) RequestKey(streamID string) {
	i.mu.Lock()
	d := i.desks[streamID]
	i.mu.Unlock()
	if d == nil {
		return
	}
	d.mu.Lock()
	s := d.air
	d.mu.Unlock()
	if s == nil {
		return
	}
	if r, ok := s.request.(keyRequester); ok {
		r.RequestKey()
	}
}

// hold keeps a packet of a publisher off the air: its newest group of pictures, or its
// newest sound if it has no pictures.
func (s *session) hold(p *media.Packet) {
	if s.resumed.IsZero() {
		s.resumed = s.arrived
	}
	s.names.name(p.Track)
	lead := s.names.video && p.Track.ID == s.names.lead
	s.atKey = lead && p.Key || !s.names.video
	if lead || !s.names.video {
		s.pace.add(time.Duration(inTime(p)), s.arrivalOf(p), s.atKey)
	}
	if s.atKey {
		s.keep(p)
	}
	if len(s.held) == 0 && !s.atKey {
		if p.Track.Kind() == media.Audio {
			s.sound = p
		} else if r, ok := s.request.(keyRequester); ok {
			r.RequestKey()
		}
		return // no picture could be decoded from it
	}
	s.held = append(s.held, p)
	if s.heldBytes += len(p.Data) + packetOverhead; s.heldBytes > s.cfg.LearnMaxBytes {
		s.metrics.heldTooMuch.Inc()
		clear(s.held)
		s.held, s.heldBytes = s.held[:0], 0
	}
}

// keep leaves of what is held only what belongs beside the key packet p.
func (s *session) keep(p *media.Packet) {
	from, kept := inTime(p), s.held[:0]
	s.heldBytes = 0
	if s.names.video {
		for _, h := range s.held {
			if h.Track.ID != p.Track.ID && inTime(h) >= from {
				kept = append(kept, h)
				s.heldBytes += len(h.Data) + packetOverhead
			}
		}
	}
	clear(s.held[len(kept):])
	s.held = kept
}

// newest returns what remains of packets if only their newest group counts.
func (s *session) newest(packets []*media.Packet) []*media.Packet {
	s.names.learn(seen(packets))
	if !s.names.video {
		return packets
	}
	for i := len(packets) - 1; i > 0; i-- {
		if p := packets[i]; p.Key && p.Track.ID == s.names.lead {
			return packets[i:]
		}
	}
	return packets
}

// begins returns what the publisher would begin with, if it could now.
func (s *session) begins(now time.Time) ([]*media.Packet, bool) {
	if s.resumed.IsZero() || now.Sub(s.arrived) > starvedReady {
		return nil, false
	}
	waited := now.Sub(s.resumed)
	if len(s.held) == 0 {
		return []*media.Packet{s.sound}, s.sound != nil && waited > keyless
	}
	wait := keyWait
	if s.desk.group > keyWait+freshGroup {
		wait = settled // there will be none in time
	}
	stale := staleGroup
	if s.justCame() {
		stale *= 2 // better early than late
	}
	age := now.Sub(s.due(s.held[0]))
	switch {
	case waited < wait && now.Sub(s.pace.since) < settled:
		return nil, false
	case age <= freshGroup, waited >= wait && age <= stale:
		return append([]*media.Packet(nil), s.held...), true
	default:
		return nil, false
	}
}

// justCame tells whether a publisher was never on the air, nor silent.
func (s *session) justCame() bool { return !s.aired && s.steady.Equal(s.resumed) }

// awaits is where the stream is left to a publisher that is about to begin; now if there
// is none.
func (d *desk) awaits(now time.Time) time.Time {
	for _, s := range d.seats {
		if d.air != nil || s == nil || len(s.held) == 0 || now.Sub(s.arrived) > starvedReady {
			continue
		}
		if due := s.due(s.held[0]); due.Before(now) && now.Sub(due) <= freshGroup {
			now = due
		}
	}
	return now
}

func (s *session) arrivalOf(p *media.Packet) time.Time {
	if p.Arrival.IsZero() {
		return s.arrived
	}
	return p.Arrival
}

// stands tells whether a publisher off the air is ready to go on.
func (s *session) stands(now time.Time) bool {
	return len(s.held) > 0 && now.Sub(s.arrived) <= starvedReady
}

// learnTracks returns the tracks of packets as the stream has them.
func (s *session) learnTracks(packets []*media.Packet) []*media.Track {
	list := seen(packets)
	s.names.learn(list)
	var out []*media.Track
	for _, t := range list {
		out = append(out, s.timeline.track(t))
	}
	for _, t := range out {
		s.note(t)
	}
	s.changed = false
	return out
}

// seen lists the tracks of packets, each in its first version.
func seen(packets []*media.Packet) (tracks []*media.Track) {
	for _, p := range packets {
		known := false
		for _, t := range tracks {
			known = known || t.ID == p.Track.ID
		}
		if !known {
			tracks = append(tracks, p.Track)
		}
	}
	return tracks
}

// changeEvery is the least time between two events that tell of changed tracks.
const changeEvery = time.Second

// note takes in a track, new or in a new version.
func (s *session) note(t *media.Track) {
	for i, k := range s.known {
		if k == t {
			return
		}
		if k.ID == t.ID {
			s.known[i], s.changed = t, true
			return
		}
	}
	s.known, s.changed = append(s.known, t), true
}

// tell publishes that the tracks changed: once for changes that come together, so that
// an encoder that changes with every packet does not drown everything else.
func (s *session) tell() {
	if !s.changed || time.Since(s.told) < changeEvery {
		return
	}
	s.changed, s.told = false, time.Now()
	s.bus.Publish(event.StreamTracksChanged{StreamID: s.grant.StreamID, Tracks: len(s.known)})
}
