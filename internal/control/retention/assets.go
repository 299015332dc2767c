package retention

import (
	"context"
	"time"

	"onair/internal/control/store"
	"onair/internal/event"
	"onair/internal/fault"
)

// Recordings is where what was recorded for assets is.
type Recordings interface {
	// Snapshot tells how far the recording of an asset is; false if there is nothing.
	Snapshot(assetID string) (store.Recorded, bool)
	// Delete removes what was recorded for an asset. There being nothing is no error.
	Delete(ctx context.Context, assetID string) error
}

// Assets looks at assets and removes them.
type Assets struct {
	Store *store.Store
	// Recordings may be nil: recording is off, and nothing can be removed.
	Recordings Recordings
	// Forget lets go of what is remembered of playback ids.
	Forget func(playbackIDs ...string)
	Bus    *event.Bus
}

// Remove removes an asset: first its name and its playback ids, then what was recorded, so
// that whatever fails, nobody is sent to a recording of which a part is gone. A removed one
// can be removed again, in case its recording could not be. It is a fault.Conflict while
// the asset is being recorded, and a fault.Disabled where there are no Recordings.
func (a Assets) Remove(ctx context.Context, id, reason string) error {
	if a.Recordings == nil {
		return fault.New(fault.Disabled, "delete the asset", "", "recording is off on this server, so that it cannot remove what was recorded",
			"Switch recording on, then delete the asset.")
	}
	was, err := a.Store.DeleteAsset(ctx, id)
	if err != nil {
		return err
	}
	if was.Status != store.AssetDeleted {
		for _, p := range was.PlaybackIDs {
			a.Forget(p.ID)
		}
		a.Bus.Publish(event.AssetDeleted{StreamID: was.LiveStreamID, AssetID: was.ID, Reason: reason})
	}
	return a.Recordings.Delete(ctx, was.ID)
}

// MaxLook bounds the assets of a stream that are looked at, the oldest ones.
const MaxLook = 1000

// maxActive bounds the assets of a stream that are being recorded: the broadcast, and clips.
const maxActive = 100

// Look returns what the assets of a live stream take now, and which are over limits. Of
// more than MaxLook assets only the oldest are looked at.
func (a Assets) Look(ctx context.Context, streamID string, limits store.Retention, now time.Time) (store.Usage, []Expired, error) {
	usage, err := a.Store.StreamUsage(ctx, streamID)
	if err != nil {
		return store.Usage{}, nil, err
	}
	if a.Recordings != nil {
		active, _, err := a.Store.Assets(ctx, store.AssetFilter{LiveStreamID: streamID, Status: store.AssetRecording}, maxActive, "")
		if err != nil {
			return store.Usage{}, nil, err
		}
		for _, x := range active {
			if r, ok := a.Recordings.Snapshot(x.ID); ok {
				usage.Bytes += r.Bytes - x.Bytes
			}
		}
	}
	if limits.IsZero() {
		return usage, nil, nil
	}
	oldest, err := a.Store.OldestAssets(ctx, streamID, MaxLook)
	if err != nil {
		return store.Usage{}, nil, err
	}
	return usage, Over(limits, oldest, usage.Bytes, now), nil
}
