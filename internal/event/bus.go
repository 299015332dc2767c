package event

import (
	"context"
	"sync"
	"time"
)

// historyLen is how many events the bus keeps for listeners that are behind or come
// back with the number of the last event they saw.
const historyLen = 1024

// Bus carries events from publishers to listeners. Its methods may be called from
// several goroutines; Publish never waits for a listener.
type Bus struct {
	mu   sync.Mutex
	ring [historyLen]Envelope
	last uint64        // Seq of the newest event
	wake chan struct{} // closed by the next Publish; nil while nobody waits
}

// NewBus returns a bus without events.
func NewBus() *Bus { return &Bus{} }

// Publish appends an event and wakes the listeners.
func (b *Bus) Publish(e Event) {
	b.mu.Lock()
	b.last++
	b.ring[b.last%historyLen] = Envelope{Seq: b.last, At: time.Now(), Event: e}
	wake := b.wake
	b.wake = nil
	b.mu.Unlock()
	if wake != nil {
		close(wake)
	}
}

// Listen returns a listener for the events after this call.
func (b *Bus) Listen() *Listener {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &Listener{bus: b, next: b.last + 1}
}

// ListenAfter returns a listener for the events after the one with number seq. A
// number from the future (of an earlier process, say) listens from now.
func (b *Bus) ListenAfter(seq uint64) *Listener {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &Listener{bus: b, next: min(seq, b.last) + 1}
}

// Listener reads events in order. It holds nothing that must be closed and may be
// used by one goroutine at a time.
type Listener struct {
	bus  *Bus
	next uint64
}

// Next waits for the next event. missed is the number of events that were overwritten
// before this listener read them; it is told once. The error is ctx's.
func (l *Listener) Next(ctx context.Context) (e Envelope, missed uint64, err error) {
	for {
		l.bus.mu.Lock()
		if l.next <= l.bus.last {
			if oldest := l.bus.oldest(); l.next < oldest {
				missed = oldest - l.next
				l.next = oldest
			}
			e = l.bus.ring[l.next%historyLen]
			l.next++
			l.bus.mu.Unlock()
			return e, missed, nil
		}
		if l.bus.wake == nil {
			l.bus.wake = make(chan struct{})
		}
		wake := l.bus.wake
		l.bus.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return Envelope{}, 0, ctx.Err()
		}
	}
}

// oldest returns the number of the oldest event that is still kept.
func (b *Bus) oldest() uint64 {
	if b.last <= historyLen {
		return 1
	}
	return b.last - historyLen + 1
}
