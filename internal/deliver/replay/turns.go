package replay

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
)

// Bounds on what is made anew for those who ask. What was made is kept (Config.CacheBytes).
const (
	// maxParts is how many playlists and manifests of parts of recordings are made at the same
	// time: viewers choose the parts, so that each may be another one.
	maxParts = 4
	// maxBuilds is how many files are computed at the same time, which takes memory.
	maxBuilds = 2
	// maxWaiting is how many wait for one of those turns. More are refused.
	maxWaiting = 64
)

// turns bounds how much is made at the same time, and how many wait for that.
type turns struct {
	taken   chan struct{}
	waiting atomic.Int64
	refused prometheus.Counter
}

func newTurns(n int, refused prometheus.Counter) *turns {
	return &turns{taken: make(chan struct{}, n), refused: refused}
}

// take waits for a turn, which ends with give. It fails with fault.Unavailable where too many
// wait already.
func (t *turns) take() error {
	select {
	case t.taken <- struct{}{}:
		return nil
	default:
	}
	defer t.waiting.Add(-1)
	if t.waiting.Add(1) > maxWaiting {
		t.refused.Inc()
		return fault.New(fault.Unavailable, "make what was asked for", "", "many others that want something of recordings are in front", "Ask again in a second")
	}
	t.taken <- struct{}{}
	return nil
}

func (t *turns) give() { <-t.taken }

// in makes something in a turn.
func (t *turns) in(build func() (any, int64, error)) func() (any, int64, error) {
	return func() (any, int64, error) {
		if err := t.take(); err != nil {
			return nil, 0, err
		}
		defer t.give()
		return build()
	}
}
