package replay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/m3u8"
)

// Active tells which asset the broadcast of a live stream is recorded as that is on the air,
// or was last; and for how long back its playlists are to list it: the whole of it if window
// is negative. ok is false if it is not recorded, or if its playlists are to be short. It is
// called for each request and must be quick.
type Active func(streamID string) (asset string, window time.Duration, ok bool)

// Past knows what live streams had before what is still in memory: what is recorded of them.
// It is the Past of package hls.
type Past struct {
	lib    Library
	active Active
	cache  *cache
}

// NewPast returns a Past. Its metrics are registered with reg (nil for none).
func NewPast(cfg Config, lib Library, active Active, reg prometheus.Registerer) *Past {
	m := newMetrics("past", reg)
	return &Past{lib: lib, active: active, cache: newCache(cfg.CacheBytes, m.cache, m.evicted)}
}

// Has tells whether a stream's playlists list the past.
func (p *Past) Has(streamID string) bool {
	_, _, ok := p.active(streamID)
	return ok
}

// Before returns what the playlist of a rendition lists before an edge; nil if there is
// nothing.
func (p *Past) Before(_, _ string, _ m3u8.Edge) *m3u8.Past {
	return nil
}
