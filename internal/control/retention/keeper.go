package retention

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/control/store"
	"onair/internal/fault"
)

const (
	// every is how often a Keeper looks.
	every = 10 * time.Minute
	// maxRemoved bounds the assets of one stream that a pass removes.
	maxRemoved = 100
	// pageSize is how many streams, or deleted assets, are read at a time.
	pageSize = 500
	// keepNames is how long the name of a deleted asset is known.
	keepNames = 30 * day
)

// Keeper removes what is over the limits of its live stream.
type Keeper struct {
	assets  Assets
	log     *slog.Logger
	removed *prometheus.CounterVec
	failed  prometheus.Counter
}

// New returns a Keeper. Its metrics are registered with reg (nil for none).
func New(assets Assets, log *slog.Logger, reg prometheus.Registerer) *Keeper {
	k := &Keeper{
		assets: assets, log: log,
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_retention_removed_total", Help: "Assets removed because they were over a limit of their live stream, by limit: days, bytes.",
		}, []string{"reason"}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_retention_failed_total", Help: "Assets that could not be removed; they are tried again.",
		}),
	}
	if reg != nil {
		reg.MustRegister(k.removed, k.failed)
	}
	return k
}

// Run looks at all streams now and every ten minutes, until ctx ends. What fails is logged
// and tried again the next time.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := k.pass(ctx, time.Now()); err != nil && ctx.Err() == nil {
			k.log.Error("assets that are over the limits of their live streams stay for now", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// pass removes what is over the limits, what is left of assets that could not be removed
// as a whole, and the names of those that are long gone.
func (k *Keeper) pass(ctx context.Context, now time.Time) error {
	if k.assets.Recordings == nil {
		return nil
	}
	if err := k.finish(ctx, now); err != nil {
		return err
	}
	for after := ""; ; {
		page, err := k.assets.Store.Retentions(ctx, after, pageSize)
		if err != nil {
			return err
		}
		for _, s := range page {
			if err := k.stream(ctx, s, now); err != nil {
				return err
			}
		}
		if len(page) < pageSize {
			return nil
		}
		after = page[len(page)-1].LiveStreamID
	}
}

// stream removes what is over the limits of one live stream.
func (k *Keeper) stream(ctx context.Context, s store.StreamRetention, now time.Time) error {
	_, over, err := k.assets.Look(ctx, s.LiveStreamID, s.Retention, now)
	if err != nil {
		return err
	}
	for _, x := range over[:min(len(over), maxRemoved)] {
		err := k.assets.Remove(ctx, x.ID, x.Reason)
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) {
			continue // somebody was faster
		}
		if err != nil {
			if err = k.fail(x.ID, err); err != nil {
				return err
			}
			continue
		}
		k.removed.WithLabelValues(x.Reason).Inc()
		k.log.Info("asset removed, as its live stream keeps no more", "asset", x.ID, "stream", s.LiveStreamID,
			"limit", x.Reason, "created", x.CreatedAt, "bytes", x.Bytes)
	}
	return nil
}

// fail counts an asset that could not be removed, and returns an error if it is not worth
// to go on with others now.
func (k *Keeper) fail(id string, err error) error {
	k.failed.Inc()
	if fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout) {
		return err
	}
	k.log.Error("what was recorded of a deleted asset is not removed", "asset", id, "error", err)
	return nil
}

// finish removes what is left of deleted assets, and forgets the names of old ones.
func (k *Keeper) finish(ctx context.Context, now time.Time) error {
	for after := (store.DeletedAsset{}); ; {
		page, err := k.assets.Store.DeletedAssets(ctx, after, pageSize)
		if err != nil {
			return err
		}
		for _, x := range page {
			if _, there := k.assets.Recordings.Snapshot(x.ID); there {
				if err := k.assets.Recordings.Delete(ctx, x.ID); err != nil {
					if err = k.fail(x.ID, err); err != nil {
						return err
					}
					continue
				}
			}
			if now.Sub(x.At) > keepNames {
				if err := k.assets.Store.ForgetAsset(ctx, x.ID); err != nil {
					return err
				}
			}
		}
		if len(page) < pageSize {
			return nil
		}
		after = page[len(page)-1]
	}
}
