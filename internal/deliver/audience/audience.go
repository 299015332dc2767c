// Package audience counts the viewers of streams by the sessions in their requests, and
// bounds how many of their requests wait for media.
//
// A viewer gets a session with the first manifest, as a segment of the paths of all that
// follows; whoever asked for a playlist or manifest lately is there. It makes no difference
// in which format.
package audience

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Config bounds the viewers of one stream.
type Config struct {
	// MaxSessions is how many are counted, and MaxWaiters how many requests wait.
	MaxSessions, MaxWaiters int
	// SessionTimeout is how long after its last request a viewer still counts.
	SessionTimeout time.Duration
}

// Shards is how many locks a stream's viewers are spread over, and so the least useful
// Config.MaxSessions.
const Shards = 16

// Audience knows the crowds of all streams.
type Audience struct{ make func() any }

// New returns an Audience.
func New(cfg Config) *Audience {
	return &Audience{make: func() any {
		return &Crowd{timeout: cfg.SessionTimeout, perShard: cfg.MaxSessions / Shards, maxWaiters: int64(cfg.MaxWaiters)}
	}}
}

// Attacher is what a crowd lives as long as: a broadcast. Attach returns what create made
// under a key, once for all callers.
type Attacher interface {
	Attach(key any, create func() any) any
}

// Of returns the crowd of a broadcast.
func (a *Audience) Of(broadcast Attacher) *Crowd { return broadcast.Attach(a, a.make).(*Crowd) }

// Crowd is who watches one broadcast. Its methods may be called from several goroutines.
type Crowd struct {
	waiting    atomic.Int64
	maxWaiters int64
	timeout    time.Duration
	perShard   int
	shard      [Shards]shard
}

type shard struct {
	mu    sync.Mutex
	seen  map[uint64]time.Time
	swept time.Time
}

// NewSession returns a session that is in no use: 16 hexadecimal digits.
func NewSession() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, says the package
	return hex.EncodeToString(b[:])
}

// See counts a viewer. Sessions that NewSession did not make are not counted. It reports
// false if there are too many.
func (c *Crowd) See(session string, now time.Time) bool {
	id, err := strconv.ParseUint(session, 16, 64)
	if err != nil || len(session) != 16 {
		return true
	}
	s := &c.shard[id%Shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[uint64]time.Time{}
	}
	if now.Sub(s.swept) > c.timeout {
		s.sweep(now.Add(-c.timeout))
		s.swept = now
	}
	if _, ok := s.seen[id]; !ok && len(s.seen) >= c.perShard {
		return false
	}
	s.seen[id] = now
	return true
}

// sweep forgets the sessions that were last seen before a time.
func (s *shard) sweep(before time.Time) {
	for id, at := range s.seen {
		if at.Before(before) {
			delete(s.seen, id)
		}
	}
}

// Viewers returns how many viewers were seen within the session timeout.
func (c *Crowd) Viewers(now time.Time) (n int) {
	for i := range c.shard {
		s := &c.shard[i]
		s.mu.Lock()
		s.sweep(now.Add(-c.timeout))
		n += len(s.seen)
		s.mu.Unlock()
	}
	return n
}

// Hold takes one of the places for requests that wait; Release gives it back. Hold reports
// false if there is none.
func (c *Crowd) Hold() bool {
	if c.waiting.Add(1) > c.maxWaiters {
		c.waiting.Add(-1)
		return false
	}
	return true
}

// Release gives a place back that Hold took.
func (c *Crowd) Release() { c.waiting.Add(-1) }
