package auth

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"

	"onair/internal/control/store"
	"onair/internal/fault"
)

const (
	// replayCacheSize bounds the live streams of which the last recording is remembered, and
	// those that have none.
	replayCacheSize = 10_000
	// replayTTL is how long a newer recording, or a deleted one, may go unseen. All viewers of
	// a broadcast ask at its end.
	replayTTL = 2 * time.Second
)

// replayKey is what a recording is looked up by.
type replayKey struct {
	streamID string
	policy   store.Policy
}

type cachedReplay struct {
	replay  store.Replay
	missing error
	until   time.Time
}

// Replay returns the newest recording of a live stream, as it was at most 2 s ago, with a
// playback id of the policy; fault.NotFound if there is none. Requests for one stream at a
// time share one lookup.
func (a *Auth) Replay(ctx context.Context, streamID string, policy store.Policy) (store.Replay, error) {
	key := replayKey{streamID, policy}
	c, ok := a.replays.GetIfPresent(key)
	if !ok || !time.Now().Before(c.until) {
		if ok {
			a.replays.Invalidate(key)
		}
		var err error
		if c, err = a.replays.Get(ctx, key, otter.LoaderFunc[replayKey, cachedReplay](a.lookupReplay)); err != nil {
			return store.Replay{}, away(ctx, "watch", err)
		}
	}
	return c.replay, c.missing
}

func (a *Auth) lookupReplay(ctx context.Context, key replayKey) (cachedReplay, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTime)
	defer cancel()
	r, err := a.store.LastReplay(ctx, key.streamID, key.policy)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return cachedReplay{}, err
	}
	return cachedReplay{r, err, time.Now().Add(replayTTL)}, nil
}
