package ingest

import (
	"context"
	"time"

	"onair/internal/fault"
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
	// Keys are the last key packet of each video track, Tracks all tracks that it had, as
	// the hub had them.
	Keys   []*media.Packet
	Tracks []*media.Track
}

// Restore puts a stream back on the air as one whose publisher was lost: its timeline goes
// on where it ended, and Run fills it up to now and until the publisher returns. Call it
// before publishers are served.
//
// The error is fault.Invalid for a Restored that names no stream or has a track without a
// timescale; otherwise it is that of hub.Restore.
func (i *Ingest) Restore(_ context.Context, r Restored) error {
	if r.StreamID == "" || len(r.Tracks) == 0 || len(r.Tracks) > maxLanes || r.Position.Media < 0 {
		return fault.New(fault.Invalid, "restore stream", r.StreamID, "its history tells of no tracks", "")
	}
	for _, t := range r.Tracks {
		if t.Timescale <= 0 || t.Kind() == 0 {
			return fault.New(fault.Invalid, "restore stream", r.StreamID, "a track of its history has no timescale", "")
		}
	}
	d := i.deskFor(r.StreamID)
	d.mu.Lock()
	defer d.mu.Unlock()
	pub, err := i.hub.Restore(r.StreamID, hub.RestoreOptions{
		LatencyMode: r.LatencyMode, Linger: r.Linger, Tracks: r.Tracks,
		Reason: "the server was restarted",
	})
	if err != nil {
		return err
	}
	d.pub, d.mode = pub, r.LatencyMode
	d.zero = r.Position.At.Add(-r.Position.Media)
	d.begun, d.lost = d.zero, r.Position.At
	for _, t := range r.Tracks {
		l := &lane{track: t, started: true, needKey: true, next: t.Ticks(r.Position.Media)}
		l.last = l.next - 1
		for _, k := range r.Keys {
			if k.Track != nil && k.Track.ID == t.ID && t.Kind() == media.Video {
				l.sample, l.moved = k.Data, k.PTS-k.DTS
			}
		}
		d.lanes = append(d.lanes, l)
	}
	return nil
}
