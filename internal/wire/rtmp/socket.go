package rtmp

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// goodbyeTime is how long a connection that is being stopped may still write.
const goodbyeTime = 500 * time.Millisecond

// errStopped is what reading returns after stop.
var errStopped = errors.New("the connection is being stopped")

// socket adds to a connection what reading through a buffer cannot do: a deadline for
// the whole of a phase that bytes do not renew, a call whenever the line is quiet, and
// a way to stop from another goroutine that a later deadline does not undo.
type socket struct {
	net.Conn
	received, sent atomic.Uint64
	rate           rate

	mu sync.Mutex
	// deadline is when reading fails; zero for never.
	deadline time.Time
	// quiet is called by Read after each time of quietAfter without a byte.
	quiet      func() error
	quietAfter time.Duration
	stopped    bool
	// goodbye is when writing fails after stop.
	goodbye time.Time
}

// setDeadline replaces the time when reading fails, also for a read under way.
func (s *socket) setDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	if !s.stopped {
		_ = s.Conn.SetReadDeadline(t) // an error means that the connection is closed
	}
}

// onQuiet arranges the calls for a quiet line.
func (s *socket) onQuiet(after time.Duration, f func() error) {
	s.mu.Lock()
	s.quiet, s.quietAfter = f, after
	s.mu.Unlock()
}

// stop makes reading fail at once and writing soon.
func (s *socket) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	s.goodbye = time.Now().Add(goodbyeTime)
	// Errors mean that the connection is closed already.
	_ = s.Conn.SetReadDeadline(time.Unix(1, 0))
	_ = s.Conn.SetWriteDeadline(s.goodbye)
}

// arm sets the deadline of the next read and returns what to do when it passes.
func (s *socket) arm() (quiet func() error, deadline time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, time.Time{}, errStopped
	}
	now := time.Now()
	if !s.deadline.IsZero() && !now.Before(s.deadline) {
		return nil, time.Time{}, os.ErrDeadlineExceeded
	}
	next := s.deadline
	if s.quiet != nil {
		if q := now.Add(s.quietAfter); next.IsZero() || q.Before(next) {
			next = q
		}
	}
	return s.quiet, s.deadline, s.Conn.SetReadDeadline(next)
}

// Read implements io.Reader.
func (s *socket) Read(b []byte) (int, error) {
	for {
		quiet, deadline, err := s.arm()
		if err != nil {
			return 0, err
		}
		n, err := s.Conn.Read(b)
		s.received.Add(uint64(n))
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if s.isStopped() {
			return 0, errStopped
		}
		if quiet == nil || !deadline.IsZero() && !time.Now().Before(deadline) {
			return 0, os.ErrDeadlineExceeded
		}
		if err := quiet(); err != nil {
			return 0, err
		}
	}
}

func (s *socket) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// armWrite gives what is written next that much time.
func (s *socket) armWrite(d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := time.Now().Add(d)
	if s.stopped && s.goodbye.Before(t) {
		t = s.goodbye
	}
	return s.SetWriteDeadline(t)
}

// Write implements io.Writer.
func (s *socket) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.sent.Add(uint64(n))
	return n, err
}

// closeWrite tells the peer that nothing follows, and leaves reading open.
func (s *socket) closeWrite() {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}
