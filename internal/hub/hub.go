// Package hub holds the streams that are on the air: who publishes each, and the
// media that its readers pull.
//
// A Hub has Streams by name, a Stream has Feeds (one a rendition, the source first; the
// others are the publisher's own, or derived of its media on this machine), a Feed is a ring of immutable packets in groups, a Reader is a cursor into it. A
// group is a video key packet and everything up to the next one; a feed without video
// is cut into groups of a second. Groups are indivisible: joining begins at a group,
// eviction takes whole groups, and a reader that lags is told so once (*Gap) and goes
// on at the newest group. Writing never waits for a reader. The ring is the cache that
// lets somebody who joins see a picture at once.
//
// # Concurrency
//
// Every exported method may be called from several goroutines, except that one Reader,
// one Watcher and one Publication's WritePacket belong to one goroutine at a time.
// One mutex a stream guards its state and its feeds; nothing that can wait and nothing
// outside the package is called while it is held. Events go out in the order in which
// their causes happened, after the mutex was released.
package hub

import (
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/media"
)

// ErrTakenOver is what a publisher is told when another one replaced it.
var ErrTakenOver error = fault.New(fault.Conflict, "publish", "",
	"another encoder has begun to publish with the same stream key and is live now",
	"Stop one of the two; each time an encoder connects, the newest one wins")

// PublishOptions tell who publishes and how the stream is to be treated.
type PublishOptions struct {
	// Session identifies this publisher's connection in events and logs.
	Session string
	// Protocol, Peer and Encoder describe the publisher for people; no secrets.
	Protocol, Peer, Encoder string
	// Linger is how long the stream waits for a publisher that was lost.
	Linger      time.Duration
	LatencyMode media.LatencyMode
	// Tracks are the tracks that are known to come, so that whoever sees the stream
	// begin knows what to wait for. More may follow.
	Tracks []*media.Track
	// Backup says that it is the stream's backup encoder that publishes.
	Backup bool
	// Standby, if set, describes the publisher that is ready to take the place of this
	// one; nil if there is none. Snapshot calls it; it must not wait.
	Standby func() *Publisher
	// Repaired, if set, tells how many timestamps were repaired, by kind. Snapshot
	// calls it; it must not wait.
	Repaired func() map[string]int64
}

// Hub is the set of streams on the air. Make one with New; Close ends it.
type Hub struct {
	cfg     Config
	log     *slog.Logger
	out     outbox
	metrics *metrics

	// bytes and living are over all streams that did not end, and decide the fair share.
	bytes  atomic.Int64
	living atomic.Int64

	mu      sync.Mutex
	streams map[string]*Stream
	serial  uint64        // of the newest stream
	wake    chan struct{} // closed when a stream begins or the hub closes; nil while nobody waits
	closed  error
}

// New returns an empty hub. It tells what happens on bus, and registers its metrics
// with reg (nil for none).
func New(cfg Config, bus *event.Bus, log *slog.Logger, reg prometheus.Registerer) *Hub {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Hub{cfg: cfg, log: log, streams: make(map[string]*Stream)}
	h.out.bus = bus
	h.metrics = newMetrics(reg, h)
	return h
}

// Publish puts a publisher on the stream of that name and makes the stream Live. A
// publisher that is there already is replaced at once: its WritePacket returns
// ErrTakenOver from now on. A stream that lingers is resumed; readers notice neither.
//
// The error is fault.TooMany beyond Config.MaxStreams and fault.Unavailable after Close.
func (h *Hub) Publish(name string, o PublishOptions) (*Publication, error) {
	for {
		s, err := h.streamFor(name)
		if err != nil {
			return nil, err
		}
		p, began := s.publish(o)
		if p == nil {
			continue // it ended between the look-up and now: take another one
		}
		h.out.flush()
		if began {
			h.announce()
		}
		return p, nil
	}
}

// streamFor returns the living stream of that name, a new one if there is none.
func (h *Hub) streamFor(name string) (*Stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		return nil, fault.Wrap(fault.Unavailable, "publish", "", h.closed, "Try again in a moment")
	}
	if s := h.streams[name]; s != nil && !s.over() {
		return s, nil
	}
	if len(h.streams) >= h.cfg.MaxStreams {
		h.metrics.refused.Inc()
		return nil, fault.New(fault.TooMany, "publish", "", "the server carries as many streams as it may",
			"Raise hub-max-streams, or end another stream first")
	}
	h.serial++
	s := newStream(h, name, h.serial)
	h.streams[name] = s
	h.living.Add(1)
	return s, nil
}

// streamLimit is how many bytes a stream may keep: its own bound, or its share while all
// streams together are over theirs.
func (h *Hub) streamLimit() int {
	if h.bytes.Load() <= int64(h.cfg.MaxTotalBytes) {
		return h.cfg.MaxFeedBytes
	}
	return min(h.cfg.MaxFeedBytes, h.cfg.MaxTotalBytes/max(1, int(h.living.Load())))
}

// announce wakes the watchers.
func (h *Hub) announce() {
	h.mu.Lock()
	wake := h.wake
	h.wake = nil
	h.mu.Unlock()
	if wake != nil {
		close(wake)
	}
}

// forget takes a stream that ended out of the hub.
func (h *Hub) forget(s *Stream) {
	h.mu.Lock()
	if h.streams[s.name] == s {
		delete(h.streams, s.name)
	}
	h.mu.Unlock()
}

// Kick ends the stream of that name at once, whatever its state; its publisher is told
// err. It reports whether there was such a stream.
func (h *Hub) Kick(name string, err error) bool {
	s, ok := h.Stream(name)
	return ok && s.stop(nil, err)
}

// Stream returns the stream of that name if it has not ended.
func (h *Hub) Stream(name string) (*Stream, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[name]
	if s == nil || s.over() {
		return nil, false
	}
	return s, true
}

// list returns the living streams in the order in which they began.
func (h *Hub) list() []*Stream {
	h.mu.Lock()
	all := make([]*Stream, 0, len(h.streams))
	for _, s := range h.streams {
		if !s.over() {
			all = append(all, s)
		}
	}
	h.mu.Unlock()
	slices.SortFunc(all, func(a, b *Stream) int {
		if a.serial < b.serial {
			return -1
		}
		return 1
	})
	return all
}

// Snapshots describes every stream, in the order in which they began.
func (h *Hub) Snapshots() []Snapshot {
	all := h.list()
	out := make([]Snapshot, len(all))
	for i, s := range all {
		out[i] = s.Snapshot()
	}
	return out
}

// Close ends every stream, tells their publishers err, and refuses new ones; nil is io.EOF,
// a clean stop. Watchers get io.EOF. It does not wait for readers; they read what is kept
// and then io.EOF.
func (h *Hub) Close(err error) {
	if err == nil {
		err = io.EOF
	}
	h.mu.Lock()
	h.closed = err
	h.mu.Unlock()
	for _, s := range h.list() {
		s.stop(nil, err)
	}
	h.announce()
}
