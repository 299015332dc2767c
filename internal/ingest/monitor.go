package ingest

import (
	"time"

	"onair/internal/media"
)

// Monitor watches what publishers send.
type Monitor interface {
	// Watch is called for each publisher that was admitted.
	Watch(s Session) Tap
}

// Session describes a publisher to a Monitor.
type Session struct {
	StreamID, Session, Protocol, Encoder string
	Backup                               bool
	Since                                time.Time
	// Link tells of the way to the publisher; nil if its protocol knows nothing of it.
	Link func() media.Link
	// Repaired tells how many time stamps were repaired, by kind.
	Repaired func() map[string]int64
}

// Tap is told what comes from one publisher. Its methods are called by one goroutine and
// must not wait.
type Tap interface {
	// Received tells of a packet as it came, before anything was repaired.
	Received(p *media.Packet)
	// Ended tells that there will be no more, and why; nil is a clean end.
	Ended(err error)
}

// watch lets the Monitor, if there is one, watch the publisher.
func (s *session) watch() {
	if s.monitor == nil {
		return
	}
	o := Session{
		StreamID: s.grant.StreamID, Session: s.id, Protocol: s.request.Protocol(), Encoder: s.request.Encoder(),
		Backup: s.request.Backup(), Since: s.since, Repaired: s.repairs.counts,
	}
	if linked, ok := s.request.(media.Linked); ok {
		o.Link = linked.Link
	}
	s.tap = s.monitor.Watch(o)
}
