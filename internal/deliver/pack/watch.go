package pack

import (
	"context"
	"io"
)

// Watcher yields the streams of a Packer as they begin. It holds nothing that must be closed.
type Watcher struct {
	packer *Packer
	seen   uint64 // serial of the newest stream that was yielded
}

// watched is what watchers wait for; Packer.mu guards it.
type watched struct {
	serial uint64
	wake   chan struct{} // closed when there is another stream; nil while nobody waits
	over   bool          // Run has returned
}

// tell wakes the watchers.
func (w *watched) tell() {
	if w.wake != nil {
		close(w.wake)
		w.wake = nil
	}
}

// Watch returns a watcher for every stream that Stream finds or that begins later, those that
// Histories revived among them.
func (p *Packer) Watch() *Watcher { return &Watcher{packer: p} }

// Next waits for the next stream and yields each once, in the order in which they began. One
// that nobody can find any more before it could be yielded is left out. The error is io.EOF
// after Run has returned, or ctx's.
func (w *Watcher) Next(ctx context.Context) (*Stream, error) {
	p := w.packer
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p.mu.Lock()
		var first broadcast
		for _, b := range p.streams {
			if b.serial > w.seen && (first.Stream == nil || b.serial < first.serial) {
				first = b
			}
		}
		if first.Stream != nil {
			w.seen = first.serial
			p.mu.Unlock()
			return first.Stream, nil
		}
		if p.watched.over {
			p.mu.Unlock()
			return nil, io.EOF
		}
		if p.watched.wake == nil {
			p.watched.wake = make(chan struct{})
		}
		wake := p.watched.wake
		p.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// endWatch ends the watchers.
func (p *Packer) endWatch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched.over = true
	p.watched.tell()
}
