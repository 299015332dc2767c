package images

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/fault"
)

// picture is one that was made. It never changes.
type picture struct {
	data []byte
	at   time.Time // when what it shows was
	name string    // names what it shows, for caches
	vtt  []byte    // the index, of a storyboard
}

// album holds the pictures of a broadcast. There are as many as there are formats and
// widths, the last storyboards, and the last pictures of segments.
type album struct {
	h      *Handler
	mu     sync.Mutex
	slots  map[string]*slot
	sheets []*picture // oldest first
	order  []string   // slots of pictures of segments, oldest first
}

// slot is a place for a picture.
type slot struct {
	current *picture
	failed  error
	until   time.Time     // until when failed is not tried again
	making  chan struct{} // closed when it has been made; nil while none is
}

func (h *Handler) album(s *pack.Stream) *album {
	return s.Attach(h, func() any { return &album{h: h, slots: map[string]*slot{}} }).(*album)
}

// get returns the picture in a slot, if it is younger than age or shows the newest moment,
// and else has it made: once for all who ask meanwhile. Making goes on when who asked first
// has left.
func (a *album) get(ctx context.Context, name string, age time.Duration, newest time.Time, produce func(context.Context) (*picture, error)) (*picture, error) {
	for {
		a.mu.Lock()
		s := a.slot(name)
		now := time.Now()
		switch {
		case s.current != nil && (now.Sub(s.current.at) < age || !newest.After(s.current.at)):
			p := s.current
			a.mu.Unlock()
			return p, nil
		case s.failed != nil && now.Before(s.until):
			err := s.failed
			a.mu.Unlock()
			return nil, err
		case s.making == nil:
			s.making = make(chan struct{})
			a.mu.Unlock()
			return a.fill(ctx, s, produce)
		}
		making := s.making
		a.mu.Unlock()
		if err := a.wait(ctx, making); err != nil {
			return nil, err
		}
	}
}

// slot returns the place of a picture. Of those of segments the oldest go that nobody waits
// for.
func (a *album) slot(name string) *slot {
	if s := a.slots[name]; s != nil {
		return s
	}
	if strings.HasPrefix(name, pictureStem) {
		for i := 0; len(a.order) >= maxPictures && i < len(a.order); {
			if old := a.order[i]; a.slots[old].making == nil {
				delete(a.slots, old)
				a.order = slices.Delete(a.order, i, i+1)
			} else {
				i++
			}
		}
		a.order = append(a.order, name)
	}
	s := &slot{}
	a.slots[name] = s
	return s
}

// queue takes one of the places of requests that wait, which release gives back.
func (h *Handler) queue() (release func(), err error) {
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		h.m.rejected.WithLabelValues("waiting").Inc()
		return nil, fault.New(fault.Unavailable, op, "", "too many wait for pictures", "Ask again in a second.")
	}
	h.m.waiting.Inc()
	return func() {
		h.waiting.Add(-1)
		h.m.waiting.Dec()
	}, nil
}

// wait waits for somebody else's picture.
func (a *album) wait(ctx context.Context, making <-chan struct{}) error {
	release, err := a.h.queue()
	if err != nil {
		return err
	}
	defer release()
	select {
	case <-making:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fill makes the picture of a slot.
func (a *album) fill(ctx context.Context, s *slot, produce func(context.Context) (*picture, error)) (*picture, error) {
	p, err := produce(context.WithoutCancel(ctx))
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		p = nil
		s.failed, s.until = err, time.Now().Add(failureKept)
		a.h.m.made.WithLabelValues("failed").Inc()
	} else {
		s.current, s.failed = p, nil
		a.h.m.made.WithLabelValues("made").Inc()
	}
	close(s.making)
	s.making = nil
	if p != nil && p.vtt != nil {
		a.sheets = append(a.sheets, p)
		if len(a.sheets) > maxSheets {
			a.sheets = append([]*picture(nil), a.sheets[1:]...)
		}
	}
	return p, err
}

// sheet returns a storyboard that is kept.
func (a *album) sheet(name string) *picture {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.sheets {
		if p.name == name {
			return p
		}
	}
	return nil
}
