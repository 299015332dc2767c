package images

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// shelf keeps pictures of recordings. Their names tell all that they show, so that none grows
// old. They are bounded in bytes: what was not asked for the longest time goes first.
type shelf struct {
	h *Handler

	mu    sync.Mutex
	size  int64
	order *list.List // of *book, the newest use first
	books map[string]*list.Element
}

// book is a picture, or why there is none, or neither while it is being made.
type book struct {
	name   string
	p      *picture
	failed error
	until  time.Time     // until when failed is not tried again
	making chan struct{} // closed when it has been made; nil while it is not
	size   int64
}

// bookSize is what one takes in memory beside its picture, about.
const bookSize = 512

func newShelf(h *Handler) *shelf {
	return &shelf{h: h, order: list.New(), books: map[string]*list.Element{}}
}

// get returns a picture, and has it made if there is none: once for all who ask meanwhile.
// Making goes on when who asked first has left.
func (s *shelf) get(ctx context.Context, name string, produce func(context.Context) (*picture, error)) (*picture, error) {
	release := func() {}
	defer func() { release() }()
	for waits := false; ; {
		s.mu.Lock()
		b := s.book(name)
		switch {
		case b.p != nil:
			s.mu.Unlock()
			return b.p, nil
		case b.failed != nil && time.Now().Before(b.until):
			err := b.failed
			s.mu.Unlock()
			return nil, err
		case !waits: // from here on it takes one of the places
			s.mu.Unlock()
			var err error
			if release, err = s.h.queue(); err != nil {
				release = func() {}
				return nil, err
			}
			waits = true
			continue
		case b.making == nil:
			b.making = make(chan struct{})
			s.mu.Unlock()
			p, err := produce(context.WithoutCancel(ctx))
			s.settle(b, p, err)
			return p, err
		}
		making := b.making
		s.mu.Unlock()
		select {
		case <-making:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// book returns the place of a picture.
func (s *shelf) book(name string) *book {
	if at, ok := s.books[name]; ok {
		s.order.MoveToFront(at)
		return at.Value.(*book)
	}
	b := &book{name: name, size: bookSize}
	s.books[name] = s.order.PushFront(b)
	s.size += b.size
	s.trim()
	return b
}

// settle keeps what became of a picture.
func (s *shelf) settle(b *book, p *picture, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(b.making)
	b.making = nil
	if err != nil {
		b.failed, b.until = err, time.Now().Add(failureKept)
		s.h.m.made.WithLabelValues("failed").Inc()
		return
	}
	b.p, b.failed = p, nil
	b.size += int64(len(p.data))
	s.size += int64(len(p.data))
	s.h.m.made.WithLabelValues("made").Inc()
	s.trim()
}

// trim makes room. What is being made stays, which the places bound.
func (s *shelf) trim() {
	for at := s.order.Back(); at != nil && s.size > s.h.cfg.CacheBytes; {
		b, newer := at.Value.(*book), at.Prev()
		if b.making == nil && at != s.order.Front() {
			s.order.Remove(at)
			delete(s.books, b.name)
			s.size -= b.size
			if b.p != nil {
				s.h.m.evicted.Inc()
			}
		}
		at = newer
	}
	s.h.m.cache.Set(float64(s.size))
}
