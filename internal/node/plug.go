package node

import (
	"context"
	"net"

	"onair/internal/deliver/hls"
	"onair/internal/deliver/play"
	"onair/internal/hub"
	"onair/internal/ingest"
	"onair/internal/media"
)

// gate plugs auth into what asks for admission: ingest, play and HLS.
type gate struct{ *Node }

// AdmitPublish implements ingest.Gate.
func (g gate) AdmitPublish(ctx context.Context, protocol string, _ net.Addr, key string) (ingest.Grant, error) {
	admit := g.auth.AdmitPublish
	if protocol == pullProtocol {
		admit = g.auth.AdmitPull // the key is the stream's id: the server itself came
	}
	s, err := admit(ctx, key)
	if err != nil {
		return ingest.Grant{}, err
	}
	return ingest.Grant{
		StreamID:    s.ID,
		Linger:      s.ReconnectWindow,
		LatencyMode: media.LatencyMode(s.LatencyMode),
	}, nil
}

// pullProtocol is what sources that the server fetches call themselves; no wire does.
const pullProtocol = "pull"

// AdmitPlay implements play.Gate.
func (g gate) AdmitPlay(ctx context.Context, playbackID string) (string, error) {
	return g.StreamOf(ctx, playbackID)
}

// StreamOf implements dash.Directory and images.Directory. Somebody who asks for a stream whose source is
// fetched on demand sets that going.
func (g gate) StreamOf(ctx context.Context, playbackID string) (string, error) {
	id, err := g.auth.StreamOf(ctx, playbackID)
	if err != nil {
		return "", err
	}
	g.wanted(id)
	return id, nil
}

// wanted tells that somebody asks for a stream.
func (g gate) wanted(id string) {
	if _, live := g.hub.Stream(id); !live {
		g.pull.Wanted(id)
	}
}

// streams plugs the hub into the API.
type streams struct {
	hub      *hub.Hub
	viewers  *hls.Handler
	play     *play.Player
	realtime *play.Realtime
}

// Snapshot implements api.Streams.
func (s streams) Snapshot(id string) (hub.Snapshot, bool) {
	stream, ok := s.hub.Stream(id)
	if !ok {
		return hub.Snapshot{}, false
	}
	return stream.Snapshot(), true
}

// Kick implements api.Streams.
func (s streams) Kick(id string, err error) bool { return s.hub.Kick(id, err) }

// Viewers implements api.Streams.
func (s streams) Viewers(id string) int {
	return s.viewers.Viewers(id) + s.play.Viewers(id) + s.realtime.Viewers(id)
}
