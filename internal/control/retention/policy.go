// Package retention removes the assets of live streams that keep only so many days or
// bytes of them, and tells beforehand which it would remove.
package retention

import (
	"time"

	"onair/internal/control/store"
)

// The reasons why an asset goes, as event.AssetDeleted has them.
const (
	// Requested assets go because somebody asked for that.
	Requested = "requested"
	// Days and Bytes name the limit that the asset is over.
	Days  = "days"
	Bytes = "bytes"
)

// Expired is an asset that goes.
type Expired struct {
	store.KeptAsset
	Reason string
}

const day = 24 * time.Hour

// Over returns which assets of a live stream are over its limits at a time, oldest first:
// those that ended too long ago, and then so many of the oldest ones that the rest is not
// too much. assets are oldest first, all of them or the oldest; total is what all take, in
// bytes. What is being recorded counts, and stays. A clip counts as any other asset, with
// the days since it was made.
func Over(limits store.Retention, assets []store.KeptAsset, total int64, now time.Time) []Expired {
	old := func(a store.KeptAsset) bool {
		return limits.Days > 0 && a.Status != store.AssetRecording && now.Sub(ended(a)) > time.Duration(limits.Days)*day
	}
	for _, a := range assets { // before others have to make room for them
		if old(a) {
			total -= a.Bytes
		}
	}
	var out []Expired
	for _, a := range assets {
		switch {
		case old(a):
			out = append(out, Expired{a, Days})
		case limits.Bytes > 0 && total > limits.Bytes && a.Status != store.AssetRecording:
			out = append(out, Expired{a, Bytes})
			total -= a.Bytes
		}
	}
	return out
}

// ended is from when on the days of an asset are counted.
func ended(a store.KeptAsset) time.Time {
	if a.Clip {
		return a.CreatedAt
	}
	return a.CreatedAt.Add(a.Duration)
}
