package spool

import (
	"context"
	"slices"
	"time"
)

// queue is what waits of one asset. It is guarded by Spool.mu.
type queue struct {
	asset string
	items []*item // in the order in which they are sent
	last  uint64  // number of the newest object

	// While the index is open, objects up to settled are listed in it.
	writers int
	settled uint64
	checked time.Time // when it was last looked whether a copy of the index is due
	copied  int64     // the length of the last copy

	busy     chan struct{} // closed when the first item has been sent, or not; nil if none is
	blocked  int           // somebody deletes of it
	failures int           // in a row
	after    time.Time     // not before that
}

// item is an object, or a copy of the index.
type item struct {
	name  string
	index bool
	final bool  // the index is complete
	size  int64 // in bytes; of an index how much of it
	n     uint64
	since time.Time
	tried bool
}

// queue returns the queue of an asset; s.mu is held, or nobody else knows s.
func (s *Spool) queue(asset string) *queue {
	q := s.queues[asset]
	if q == nil {
		q = &queue{asset: asset, checked: time.Now()}
		s.queues[asset] = q
	}
	return q
}

// leave forgets a queue that is of no use; s.mu is held.
func (s *Spool) leave(q *queue) {
	if len(q.items) == 0 && q.writers == 0 && q.busy == nil && q.blocked == 0 {
		if q.failures > 0 {
			q.failures = 0
			s.recovered(false)
		}
		delete(s.queues, q.asset)
	}
}

// add appends an object that was claimed; s.mu is held.
func (s *Spool) add(name string, size int64) {
	q := s.queue(assetOf(name))
	q.last++
	q.items = append(q.items, &item{name: name, size: size, n: q.last, since: time.Now()})
	s.objects++
}

// addIndex appends a copy of the index, in place of one that waits.
func (q *queue) addIndex(name string, size int64, final bool) {
	q.items = slices.DeleteFunc(q.items, func(it *item) bool { return it.index && (q.busy == nil || it != q.items[0]) })
	q.items = append(q.items, &item{name: name, index: true, final: final, size: size, n: q.settled, since: time.Now()})
	q.copied = size
}

// ready reports whether the first item can be sent.
func (q *queue) ready() bool {
	return len(q.items) > 0 && q.busy == nil && q.blocked == 0 && (q.writers == 0 || q.items[0].n <= q.settled)
}

// next chooses what is sent next: what has waited longest. If there is nothing now, it returns
// when there may be something, as far as that is known.
func (s *Spool) next(now time.Time) (chosen *queue, it *item, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		switch {
		case !q.ready():
		case q.after.After(now):
			if at.IsZero() || q.after.Before(at) {
				at = q.after
			}
		case chosen == nil || q.items[0].since.Before(chosen.items[0].since):
			chosen = q
		}
	}
	if chosen == nil {
		return nil, nil, at
	}
	chosen.busy = make(chan struct{})
	return chosen, chosen.items[0], at
}

// remove takes what is within out of the queue of an asset if work succeeds, which is done
// while nothing of it is sent.
func (s *Spool) remove(ctx context.Context, asset string, within func(name string) bool, work func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	q := s.queue(asset)
	q.blocked++
	defer func() {
		q.blocked--
		s.leave(q)
		s.mu.Unlock()
		s.poke()
	}()
	for q.busy != nil {
		busy := q.busy
		s.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	s.mu.Unlock()
	err := work()
	s.mu.Lock()
	if err == nil {
		q.items = slices.DeleteFunc(q.items, func(it *item) bool {
			if !within(it.name) {
				return false
			}
			s.forget(it)
			return true
		})
	}
	return err
}

// forget counts an item out that is no longer in its queue; s.mu is held.
func (s *Spool) forget(it *item) {
	if it.index {
		return
	}
	s.objects--
	s.bytes -= it.size
	s.disclaim(it.name)
}

// poke lets Run look again.
func (s *Spool) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // it will
	}
}
