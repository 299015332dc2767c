package images

import (
	"context"
	"io"
	"time"

	"onair/internal/record"
)

// Recordings is where recordings are, as for package replay.
type Recordings interface {
	// Snapshot returns an asset as it is now.
	Snapshot(asset string) (*record.Snapshot, bool)
	// Open reads length bytes of an object of an asset from offset.
	Open(ctx context.Context, asset, rendition, name string, offset, length int64) (io.ReadCloser, error)
}

// AssetOf returns the asset that a playback id shows: of a recording's id its own, and of a live
// stream's the one that its broadcast is being recorded as, or was last. Its error says whether
// there is none or whether it may not be seen.
type AssetOf func(ctx context.Context, playbackID string) (asset string, err error)

// Active returns the asset that a live stream is being recorded as whose viewers may go back in
// it, and how far; to its beginning if window is negative. It must be quick.
type Active func(streamID string) (asset string, window time.Duration, ok bool)

// past is what there is beside the live window.
type past struct {
	lib    Recordings
	of     AssetOf
	active Active
}

// SetRecordings has pictures of recordings made, too. active may be nil. Call it before the
// first request.
func (h *Handler) SetRecordings(lib Recordings, of AssetOf, active Active) {
	h.past = past{lib, of, active}
}
