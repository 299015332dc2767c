package ingest

import (
	"context"
	"slices"
	"time"

	"onair/internal/event"
	"onair/internal/media"
)

// changeEvery is the least time between two events that tell of changed tracks.
const changeEvery = time.Second

// source yields a publisher's packets on the stream's timeline: first those that were
// read while learning, then as they come.
type source struct {
	*session
	first []*media.Packet

	known   []*media.Track // in their present versions
	changed bool           // and nobody was told yet
	told    time.Time
}

// tracks returns the tracks that were learned, as the stream has them.
func (s *source) tracks() []*media.Track {
	var ids []int
	for _, p := range s.first {
		if !slices.Contains(ids, p.Track.ID) {
			ids = append(ids, p.Track.ID)
			s.note(s.timeline.track(p.Track))
		}
	}
	s.changed = false
	return append([]*media.Track(nil), s.known...)
}

// ReadPacket implements media.Source.
func (s *source) ReadPacket(ctx context.Context) (*media.Packet, error) {
	for {
		var p *media.Packet
		if len(s.first) > 0 {
			p, s.first = s.first[0], s.first[1:]
		} else {
			var err error
			if p, err = s.request.ReadPacket(ctx); err != nil {
				return nil, err
			}
		}
		if q := s.timeline.put(p); q != nil {
			s.note(q.Track)
			s.tell()
			return q, nil
		}
	}
}

// note takes in a track, new or in a new version.
func (s *source) note(t *media.Track) {
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
func (s *source) tell() {
	if !s.changed || time.Since(s.told) < changeEvery {
		return
	}
	s.changed, s.told = false, time.Now()
	s.bus.Publish(event.StreamTracksChanged{StreamID: s.grant.StreamID, Tracks: len(s.known)})
}
