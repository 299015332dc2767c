package hub

import (
	"context"
	"io"
)

// Watcher yields the streams of a hub as they begin. It holds nothing that must be
// closed.
type Watcher struct {
	hub  *Hub
	seen uint64 // serial of the newest stream that was yielded
}

// Watch returns a watcher for every stream that is on the air or begins later.
func (h *Hub) Watch() *Watcher { return &Watcher{hub: h} }

// Next waits for the next stream and yields each once, in the order in which they
// began. A stream that ended before it could be yielded is left out. The error is
// io.EOF after the hub was closed, or ctx's.
func (w *Watcher) Next(ctx context.Context) (*Stream, error) {
	h := w.hub
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h.mu.Lock()
		if s := w.oldestUnseen(); s != nil {
			w.seen = s.serial
			h.mu.Unlock()
			return s, nil
		}
		if h.closed != nil {
			h.mu.Unlock()
			return nil, io.EOF
		}
		if h.wake == nil {
			h.wake = make(chan struct{})
		}
		wake := h.wake
		h.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (w *Watcher) oldestUnseen() *Stream {
	var first *Stream
	for _, s := range w.hub.streams {
		if s.serial > w.seen && !s.over() && (first == nil || s.serial < first.serial) {
			first = s
		}
	}
	return first
}
