package hub

import (
	"sync"

	"onair/internal/event"
)

// outbox carries events from under a lock to the bus without changing their order: add
// is called where the order is decided, flush where nothing is held any more. It holds
// events only between the two.
type outbox struct {
	bus *event.Bus

	mu       sync.Mutex
	queue    []event.Event
	flushing bool
}

func (o *outbox) add(e event.Event) {
	o.mu.Lock()
	o.queue = append(o.queue, e)
	o.mu.Unlock()
}

// flush publishes what was added. When another goroutine is at it, that one takes
// ours too.
func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flushing {
		return
	}
	o.flushing = true
	for len(o.queue) > 0 {
		batch := o.queue
		o.queue = nil
		o.mu.Unlock()
		for _, e := range batch {
			if o.bus != nil {
				o.bus.Publish(e)
			}
		}
		o.mu.Lock()
	}
	o.flushing = false
}
