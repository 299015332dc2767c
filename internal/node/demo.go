package node

import (
	"context"
	"time"

	"onair/internal/control/store"
	"onair/internal/media"
)

// Demo is the stream that the test picture is published to.
type Demo struct{ StreamKey, PlaybackID string }

// demoSetting remembers the demo's stream over restarts.
const demoSetting = "demo_stream"

// DemoStream returns the stream of the test picture; the first call in a data folder
// creates it.
func (n *Node) DemoStream(ctx context.Context) (Demo, error) {
	if id, ok, err := n.store.Setting(ctx, demoSetting); err != nil {
		return Demo{}, err
	} else if ok {
		// It may have been deleted, or lost its playback ids, through the API.
		s, err := n.store.LiveStream(ctx, id)
		if err == nil && len(s.PlaybackIDs) > 0 && !s.Disabled {
			return Demo{s.StreamKey, s.PlaybackIDs[0].ID}, nil
		}
	}
	s, err := n.store.CreateLiveStream(ctx, store.LiveStream{
		Title: "Test picture", LatencyMode: string(media.LatencyLow), ReconnectWindow: time.Minute,
	}, []store.Policy{store.Public})
	if err != nil {
		return Demo{}, err
	}
	if err := n.store.SetSetting(ctx, demoSetting, s.ID); err != nil {
		return Demo{}, err
	}
	return Demo{s.StreamKey, s.PlaybackIDs[0].ID}, nil
}
