package node

import (
	"context"
	"time"

	"onair/internal/ingest"
)

// restore puts the streams back on the air that were there when the server was killed, if
// their publishers may still come back: their viewers go on with the old playlists.
func (n *Node) restore(ctx context.Context) {
	for _, h := range n.pack.Histories() {
		stream, err := n.store.LiveStream(ctx, h.StreamID)
		left := stream.ReconnectWindow - time.Since(h.Position.At)
		if err != nil || stream.Disabled || left <= 0 {
			n.pack.Forget(h.StreamID)
			continue
		}
		err = n.ingest.Restore(ctx, ingest.Restored{
			StreamID: h.StreamID, Position: h.Position, Linger: left, LatencyMode: h.LatencyMode,
			Keys: h.Keys, Tracks: h.Tracks,
		})
		if err != nil {
			n.pack.Forget(h.StreamID)
			n.log.Warn("a stream cannot go on where it was before the restart", "stream", h.StreamID, "error", err)
		}
	}
}
