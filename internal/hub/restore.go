package hub

import (
	"errors"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/media"
)

// RestoreOptions tell how a stream that was on the air before a restart goes on.
type RestoreOptions struct {
	LatencyMode media.LatencyMode
	// Linger is how long it waits for its publisher, and Reason what people are told.
	Linger time.Duration
	Reason string
	// Tracks are those it had.
	Tracks []*media.Track
}

// Restore makes a stream that is Lingering, as if its publisher had been lost just now.
// The publication it returns can only be used to Fill, until somebody publishes.
//
// The error is fault.Conflict if there is such a stream already, and otherwise as that of
// Publish.
func (h *Hub) Restore(name string, o RestoreOptions) (*Publication, error) {
	s, err := h.streamFor(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.state != Idle {
		s.mu.Unlock()
		return nil, fault.New(fault.Conflict, "restore stream", name, "it is on the air already", "")
	}
	s.last = PublishOptions{LatencyMode: o.LatencyMode, Linger: o.Linger, Tracks: o.Tracks}
	p := &Publication{stream: s, options: s.last, since: time.Now(), done: make(chan struct{})}
	s.claim(o.Tracks)
	s.state = s.state.after(publish).after(lose)
	s.reason = o.Reason
	p.leave(errors.New(o.Reason))
	s.await(p)
	s.hub.out.add(event.StreamReconnecting{StreamID: s.name, Reason: s.reason, Until: time.Now().Add(o.Linger)})
	s.mu.Unlock()
	h.out.flush()
	h.announce()
	h.log.Info("stream restored", "stream", name, "linger", o.Linger)
	return p, nil
}
