// Package pack makes CMAF of what streams carry: one track a rendition, in parts and
// segments that begin at the same places in all renditions of a stream. It is the only
// segmenter of the program; hls (and what else delivers segments) is built on it.
//
// A Packer follows the hub. Each Stream collects the first group of pictures, chooses
// target durations that fit it and never change, and cuts from there on. The state of
// each Rendition is an immutable Snapshot behind an atomic pointer, replaced with every
// part; whoever waits for the next one waits for a channel to be closed. No reader takes
// a lock or slows the packager.
//
// Media is kept while it is listed and as long after that as RFC 8216bis, section 6.2.2
// demands, measured in media time: there are no timers in here but the one that lets go
// of a stream that ended.
package pack

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/hub"
	"onair/internal/media"
)

// Packer packages every stream of a hub.
type Packer struct {
	cfg Config
	hub *hub.Hub
	log *slog.Logger
	m   *metrics

	disk *disk // nil: nothing is kept there

	mu      sync.RWMutex
	streams map[string]broadcast
	revived map[string]*Stream // histories whose streams have not begun yet
	watched watched
}

// broadcast is the newest stream of a name. replaced is closed when a newer one begins:
// nobody finds the old one from then on, so nothing of it is kept.
type broadcast struct {
	*Stream
	replaced chan struct{}
	serial   uint64 // counts the broadcasts, from 1
}

// New returns a Packer; Run makes it work. Its metrics are registered with reg (nil for
// none).
func New(cfg Config, h *hub.Hub, log *slog.Logger, reg prometheus.Registerer) *Packer {
	p := &Packer{cfg: cfg, hub: h, log: log, m: newMetrics(reg), streams: map[string]broadcast{}, revived: map[string]*Stream{}}
	if cfg.Dir != "" && cfg.MaxDiskBytes > 0 {
		p.disk = &disk{dir: cfg.Dir, limit: cfg.MaxDiskBytes, m: p.m, log: log}
	}
	return p
}

// Stream returns the newest broadcast of that name, if it is on the air or ended a
// moment ago (Config.KeepEnded).
func (p *Packer) Stream(name string) (*Stream, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	b, ok := p.streams[name]
	return b.Stream, ok
}

// Run packages streams until ctx or the hub ends. Streams that are live then are ended
// for viewers; Run returns when all are.
func (p *Packer) Run(ctx context.Context) error {
	watcher := p.hub.Watch()
	defer p.endWatch()
	var wg sync.WaitGroup
	defer wg.Wait()
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { p.forgetRest(waiting) })
	for {
		src, err := watcher.Next(ctx)
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if b, ok := p.resumed(src.Name()); ok {
			wg.Go(func() { p.follow(ctx, src, b) })
			continue
		}
		s := newStream(p.cfg, src.Name(), func() (media.LatencyMode, bool) {
			return src.LatencyMode(), announcesVideo(src)
		}, p.m, p.log)
		s.disk = p.disk
		b := p.put(s)
		wg.Go(func() { p.follow(ctx, src, b) })
	}
}

// follow packages one stream, keeps it for a while after it ended, and forgets it.
func (p *Packer) follow(ctx context.Context, src *hub.Stream, s broadcast) {
	s.run(ctx, &hubFeeds{stream: src})
	keep := time.NewTimer(p.cfg.KeepEnded)
	defer keep.Stop()
	select {
	case <-keep.C:
	case <-s.replaced:
	case <-ctx.Done():
	}
	p.gone(s.Stream)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.streams[s.name].Stream == s.Stream && ctx.Err() == nil {
		delete(p.streams, s.name)
	}
}

// gone takes a stream out of the metrics.
func (p *Packer) gone(s *Stream) {
	p.m.bytes.Sub(float64(s.bytes()))
	p.m.streams.Dec()
}

func (p *Packer) put(s *Stream) broadcast {
	p.m.streams.Inc()
	b := broadcast{Stream: s, replaced: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if old, ok := p.streams[s.name]; ok {
		close(old.replaced)
	}
	p.watched.serial++
	b.serial = p.watched.serial
	p.streams[s.name] = b
	p.watched.tell()
	return b
}

// announcesVideo reports whether the publisher has told of a video track so far.
func announcesVideo(s *hub.Stream) bool {
	for _, t := range s.Feed().Tracks() {
		if t.Kind() == media.Video {
			return true
		}
	}
	return false
}
