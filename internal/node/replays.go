package node

import (
	"context"
	"sync"
	"time"

	"onair/internal/control/store"
	"onair/internal/fault"
	"onair/internal/record"
)

// replays knows which recording stands behind the playback ids of live streams: that of the
// broadcast on the air, or of the last one.
type replays struct {
	store *store.Store

	mu sync.RWMutex
	// of has, by live stream, those recorded since the start and those that were asked for.
	of      map[string]replayed
	changes int // of what is recorded: what was looked up before one may be outdated
}

// maxReplayed is how many live streams there may be of which it is remembered what was looked
// up. Of more it is looked up each time.
const maxReplayed = 10_000

// replayed is what a live stream is being recorded as, or was last.
type replayed struct {
	asset string        // empty: there is none
	dvr   time.Duration // as store.LiveStream.DVR
}

// set says what a live stream is being recorded as.
func (r *replays) set(streamID, asset string, dvr time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string]replayed{}
	}
	r.of[streamID] = replayed{asset, dvr}
	r.changes++
}

// begin says that a live stream has a new broadcast, of which it is not known yet whether it
// is recorded: what was recorded before is not its past.
func (r *replays) begin(streamID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if is, ok := r.of[streamID]; ok {
		is.dvr = 0
		r.of[streamID] = is
	}
}

// unset says that a broadcast of a live stream is not being recorded.
func (r *replays) unset(streamID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, streamID)
	r.changes++
}

// forget says that an asset is deleted.
func (r *replays) forget(asset string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes++
	for stream, is := range r.of {
		if is.asset == asset {
			delete(r.of, stream)
		}
	}
}

// active implements replay.Active and images.Active.
func (r *replays) active(streamID string) (asset string, window time.Duration, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	is := r.of[streamID]
	return is.asset, is.dvr, is.dvr != 0
}

// last returns the asset of a live stream's newest broadcast that was recorded.
func (r *replays) last(ctx context.Context, streamID string) (string, error) {
	r.mu.RLock()
	is, ok := r.of[streamID]
	changes := r.changes
	r.mu.RUnlock()
	if !ok {
		of, err := r.store.StreamAssets(ctx, streamID)
		if err != nil {
			return "", err
		}
		if recent := of[streamID].Recent; len(recent) > 0 {
			is.asset = recent[0]
		}
		r.remember(streamID, is, changes)
	}
	if is.asset == "" {
		return "", fault.New(fault.NotFound, "watch", streamID, "nothing of the live stream is recorded", "Set record to true before it goes live.")
	}
	return is.asset, nil
}

// remember keeps what was looked up, unless something changed since.
func (r *replays) remember(streamID string, is replayed, changes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changes != changes || len(r.of) >= maxReplayed {
		return
	}
	if r.of == nil {
		r.of = map[string]replayed{}
	}
	r.of[streamID] = is
}

// recorded tells whether there is a recording of a live stream.
func (r *replays) recorded(ctx context.Context, streamID string) bool {
	_, err := r.last(ctx, streamID)
	return err == nil
}

// assetOf implements replay.Directory: of a live stream's playback id it is the recording of
// its broadcast.
func (n *Node) assetOf(ctx context.Context, playbackID string) (string, error) {
	w, err := n.auth.Watch(ctx, playbackID)
	if err != nil || w.AssetID != "" {
		return w.AssetID, err
	}
	return n.broadcasts.replays.last(ctx, w.StreamID)
}

// recordings plugs the library into replay and images.
type recordings struct{ *record.Library }

// Snapshot implements replay.Library and images.Recordings.
func (r recordings) Snapshot(id string) (*record.Snapshot, bool) {
	asset, ok := r.Asset(id)
	if !ok {
		return nil, false
	}
	return asset.Snapshot(), true
}
