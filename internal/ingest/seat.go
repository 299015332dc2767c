package ingest

import (
	"time"

	"onair/internal/event"
	"onair/internal/media"
)

// release forgets what a publisher held, as when it goes on the air or falls silent.
func (s *session) release() {
	clear(s.held)
	s.held, s.heldBytes, s.sound, s.atKey, s.resumed = s.held[:0], 0, nil, false, time.Time{}
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
	if s.atKey {
		s.keep(p)
	}
	if len(s.held) == 0 && !s.atKey {
		if p.Track.Kind() == media.Audio {
			s.sound = p
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
	switch {
	case s.resumed.IsZero() || now.Sub(s.resumed) < burst || now.Sub(s.arrived) > starvedReady:
		return nil, false
	case len(s.held) > 0 && now.Sub(s.arrivalOf(s.held[0])) <= staleGroup:
		return append([]*media.Packet(nil), s.held...), true
	case len(s.held) == 0 && s.sound != nil && now.Sub(s.resumed) > keyless:
		return []*media.Packet{s.sound}, true
	default:
		return nil, false
	}
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
