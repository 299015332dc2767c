package ingest

import (
	"context"
	"time"

	"onair/internal/hub"
	"onair/internal/media"
)

// Restored is a stream that was on the air when the server ended.
type Restored struct {
	StreamID string
	// Position is where its timeline ended.
	Position hub.Position
	// Linger is how long it waits for its publisher.
	Linger      time.Duration
	LatencyMode media.LatencyMode
	// Keys are the last key packet of each video track, Tracks all tracks that it had.
	Keys   []*media.Packet
	Tracks []*media.Track
}

// Restore puts a stream back on the air as one whose publisher was lost: its timeline goes
// on where it ended, and is filled up to now and until the publisher returns. Call it
// before publishers are served.
//
// The errors are those of hub.Restore.
func (i *Ingest) Restore(_ context.Context, r Restored) error {
	_, err := i.hub.Restore(r.StreamID, hub.RestoreOptions{
		Position: r.Position, LatencyMode: r.LatencyMode, Linger: r.Linger, Tracks: r.Tracks,
		Reason: "the server was restarted",
	})
	return err
}
