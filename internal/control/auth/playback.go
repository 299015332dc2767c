package auth

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"

	"onair/internal/control/store"
	"onair/internal/fault"
)

const (
	// playbackCacheSize bounds the playback ids that are remembered, known and unknown
	// together. Ids that are asked for often stay when somebody tries many others.
	playbackCacheSize = 10_000
	// hitTTL and missTTL are how long another process's change may go unseen; changes
	// through this process are seen at once (Forget).
	hitTTL  = 10 * time.Second
	missTTL = 2 * time.Second
	// lookupTime bounds a lookup, which may serve several requests at once and
	// therefore does not end with the one that began it.
	lookupTime = 5 * time.Second
)

// cached is what is remembered of a playback id: what it stands for, or that it stands
// for nothing.
type cached struct {
	playback store.Playback
	missing  error
	until    time.Time
}

// Playback returns which live stream a playback id stands for, whether or not one may
// watch with the id alone; fault.NotFound if for none, also if it is an asset's.
func (a *Auth) Playback(ctx context.Context, playbackID string) (store.Playback, error) {
	p, err := a.resolve(ctx, playbackID)
	if err == nil && p.AssetID != "" {
		a.refused.WithLabelValues("playback_id").Inc()
		return store.Playback{}, fault.New(fault.NotFound, "look up the playback id", playbackID, "it is that of a recording, not of a live stream",
			"Play it over HLS.")
	}
	return p, err
}

// resolve returns what a playback id stands for; fault.NotFound if for nothing. Requests
// for one id at a time share one lookup.
func (a *Auth) resolve(ctx context.Context, playbackID string) (store.Playback, error) {
	if !store.PlausibleID(playbackID) {
		a.refused.WithLabelValues("playback_id").Inc()
		return a.store.Playback(ctx, playbackID) // answers without looking
	}
	c, ok := a.playback.GetIfPresent(playbackID)
	if ok && time.Now().Before(c.until) {
		a.lookups.WithLabelValues("cache").Inc()
	} else {
		if ok {
			a.playback.Invalidate(playbackID)
		}
		var err error
		if c, err = a.playback.Get(ctx, playbackID, otter.LoaderFunc[string, cached](a.lookup)); err != nil {
			return store.Playback{}, away(ctx, "watch", err)
		}
	}
	if c.missing != nil {
		a.refused.WithLabelValues("playback_id").Inc()
		return store.Playback{}, c.missing
	}
	return c.playback, nil
}

func (a *Auth) lookup(ctx context.Context, playbackID string) (cached, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTime)
	defer cancel()
	a.lookups.WithLabelValues("database").Inc()
	p, err := a.store.Playback(ctx, playbackID)
	switch {
	case fault.Is(err, fault.NotFound):
		return cached{missing: err, until: time.Now().Add(missTTL)}, nil
	case err != nil:
		return cached{}, err
	}
	return cached{playback: p, until: time.Now().Add(hitTTL)}, nil
}

// StreamOf returns the id of the live stream that may be watched under a playback id.
// It is a fault.NotFound for an id that stands for nothing, and a fault.Forbidden for
// one that needs a token.
func (a *Auth) StreamOf(ctx context.Context, playbackID string) (string, error) {
	p, err := a.Playback(ctx, playbackID)
	if err != nil {
		return "", err
	}
	if err := a.mayWatch(p); err != nil {
		return "", err
	}
	return p.StreamID, nil
}

// Watched is what may be watched under a playback id: a live stream or an asset. The
// other id is empty.
type Watched struct{ StreamID, AssetID string }

// Watch returns what may be watched under a playback id. It fails as StreamOf does, but
// for the ids of assets.
func (a *Auth) Watch(ctx context.Context, playbackID string) (Watched, error) {
	p, err := a.resolve(ctx, playbackID)
	if err != nil {
		return Watched{}, err
	}
	if err := a.mayWatch(p); err != nil {
		return Watched{}, err
	}
	return Watched{p.StreamID, p.AssetID}, nil
}

// mayWatch refuses ids that are not enough to watch.
func (a *Auth) mayWatch(p store.Playback) error {
	if p.Policy == store.Public {
		return nil
	}
	a.refused.WithLabelValues("playback_policy").Inc()
	return fault.New(fault.Forbidden, "watch", p.ID, "the playback id needs a token",
		"Use a playback id with the policy public.")
}

// Forget drops what is remembered of playback ids, after they, their stream or their
// asset changed.
func (a *Auth) Forget(playbackIDs ...string) {
	for _, id := range playbackIDs {
		a.playback.Invalidate(id)
	}
}
