package hls

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"onair/internal/deliver/pack"
)

// shards is how many locks a stream's viewers are spread over.
const shards = 16

// audience is who watches one stream: sessions seen lately, and requests that wait.
type audience struct {
	waiting atomic.Int64
	timeout time.Duration
	perPart int // most sessions a shard
	shard   [shards]shard
}

type shard struct {
	mu    sync.Mutex
	seen  map[uint64]time.Time
	swept time.Time
}

func (h *Handler) audience(s *pack.Stream) *audience { return s.Attach(h.newAudience).(*audience) }

func (h *Handler) makeAudience(s *pack.Stream) any {
	return &audience{timeout: h.cfg.SessionTimeout, perPart: h.cfg.MaxSessions / shards}
}

// newSession returns a session that is in no use.
func newSession() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, says the package
	return hex.EncodeToString(b[:])
}

// see counts a viewer. Sessions that we did not make are not counted. It reports false
// if there are too many.
func (a *audience) see(session string, now time.Time) bool {
	id, err := strconv.ParseUint(session, 16, 64)
	if err != nil || len(session) != 16 {
		return true
	}
	s := &a.shard[id%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[uint64]time.Time{}
	}
	if now.Sub(s.swept) > a.timeout {
		s.sweep(now.Add(-a.timeout))
		s.swept = now
	}
	if _, ok := s.seen[id]; !ok && len(s.seen) >= a.perPart {
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

// count returns the number of viewers.
func (a *audience) count(now time.Time) (n int) {
	for i := range a.shard {
		s := &a.shard[i]
		s.mu.Lock()
		s.sweep(now.Add(-a.timeout))
		n += len(s.seen)
		s.mu.Unlock()
	}
	return n
}

// Viewers returns how many viewers of a live stream have asked for a playlist lately
// (Config.SessionTimeout).
func (h *Handler) Viewers(streamID string) int {
	s, ok := h.packer.Stream(streamID)
	if !ok {
		return 0
	}
	return h.audience(s).count(time.Now())
}
