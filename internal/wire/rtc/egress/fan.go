package egress

import (
	"context"

	"onair/internal/media"
)

// Fan packetises one feed for all of its viewers. It implements media.Sink.
type Fan struct{ options FanOptions }

// WritePacket implements media.Sink. It never waits.
func (f *Fan) WritePacket(_ context.Context, _ *media.Packet) error { return nil }

// Close ends the feed. Viewers that watch it get nothing more until they are given another.
func (f *Fan) Close() {}
