// Package steer chooses how each viewer gets a stream: over WebRTC while few watch and
// the machine has room, else over HTTP.
//
// A choice is made when a player asks, and again each time it asks anew, which it is told
// when to do. It is pure policy: it counts who watches, and what the machine has to do, and
// knows neither transport. Who plays over WebRTC and is one too many is asked to move; who
// does not listen is counted in Excess a while later, and let go by whoever serves it.
//
// Which viewers are asked first is decided by a hash of what tells them apart, so that the
// same ones are told the same each time and never all of them at once. Those who take part
// are asked last.
package steer

import (
	"context"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
)

// The protocols of a Way.
const (
	WebRTC = "webrtc"
	HLS    = "hls"
)

// The codes of a Way.
const (
	CodeRoom        = "room"        // few watch
	CodeInteractive = "interactive" // the viewer takes part
	CodeCrowd       = "crowd"       // as many watch over WebRTC as may
	CodeLoad        = "load"        // the machine is busy
	CodeNotLive     = "not_live"    // nothing is to be seen yet
	CodeNoWebRTC    = "no_webrtc"   // the player has none
	CodeOff         = "webrtc_off"  // nobody watches this stream over WebRTC
)

// Ask is what a player says of itself, and what is known of its stream.
type Ask struct {
	StreamID string
	// Viewer tells one player from another over its requests. It is no identity to trust.
	Viewer string
	// Interactive is set for somebody who takes part, who needs the least delay.
	Interactive bool
	// Current is how it plays now: webrtc, hls, or empty if it does not.
	Current string
	// WebRTC is false if the player has none, or has tried it in vain.
	WebRTC bool
	// Limit is how many may watch the stream over WebRTC.
	Limit int
	// Live is set while something is to be seen.
	Live bool
}

// Way is how a player is to play.
type Way struct {
	// Protocol is webrtc or hls. Code is a stable name for why, Reason says it to people.
	Protocol, Code, Reason string
	// CheckAfter is when to ask again; 0 is never.
	CheckAfter time.Duration
}

// Crowd counts who watches over WebRTC.
type Crowd interface {
	// Viewers counts all of a stream's, Interactive those of them who take part.
	Viewers(streamID string) int
	Interactive(streamID string) int
}

// Limits tells how many may watch a stream over WebRTC. It may take as long as a look into
// a database.
type Limits interface {
	RealtimeViewers(ctx context.Context, streamID string) (int, error)
}

const (
	// limitAge is how long a stream's limit is known, maxLimits of how many streams.
	limitAge  = 5 * time.Second
	maxLimits = 4096
	// promised is how long somebody who was told to play over WebRTC is counted before it
	// has come.
	promised = 3 * time.Second
	// grace is how long too many may watch before the newest are let go: those who are
	// asked to move first get to do so.
	grace = 45 * time.Second
	// returning is the share of a limit below which somebody who plays over HLS is sent
	// back to WebRTC: less than all, so that nobody is sent to and fro.
	returning = 0.9
	// soon is when somebody asks again whose stream has not begun, often all others who
	// play. The latter is made longer by up to as much again, for each a different time.
	soon  = 5 * time.Second
	often = 30 * time.Second
)

// Steer chooses. Its methods may be called from several goroutines.
type Steer struct {
	cfg    Config
	crowd  Crowd
	limits Limits
	meter  func() (float64, bool)
	log    *slog.Logger

	choices *prometheus.CounterVec
	load    prometheus.Gauge
	share   prometheus.Gauge

	mu      sync.Mutex
	streams map[string]*stream
	// pressure is how hard viewers are moved away from WebRTC because the machine is busy:
	// up to 1 the share of those who only watch, from there to 2 that of those who take part.
	pressure float64
}

// stream is what is remembered of a stream.
type stream struct {
	limit    int
	known    time.Time   // when limit was
	pending  []time.Time // when those who only watch were told to come who are not there yet
	over     time.Time   // since when too many watch
	lastUsed time.Time
}

// New returns a Steer that counts by crowd, and asks limits for what a player's question
// does not tell. It registers its metrics with reg.
func New(cfg Config, crowd Crowd, limits Limits, log *slog.Logger, reg prometheus.Registerer) *Steer {
	s := &Steer{
		cfg: cfg, crowd: crowd, limits: limits, log: log, streams: make(map[string]*stream), meter: newMeter(),
		choices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_steer_choices_total", Help: "Players that were told how to play, by how and why.",
		}, []string{"protocol", "code"}),
		load: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onair_steer_load", Help: "Share of the cores that the server's own process keeps busy.",
		}),
		share: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onair_steer_moved_share", Help: "Share of WebRTC viewers that are asked to play over HLS because the machine is busy.",
		}),
	}
	reg.MustRegister(s.choices, s.load, s.share)
	return s
}

// Choose says how a player is to play.
func (s *Steer) Choose(a Ask) Way {
	w := s.choose(a, time.Now())
	s.choices.WithLabelValues(w.Protocol, w.Code).Inc()
	return w
}

func (s *Steer) choose(a Ask, now time.Time) Way {
	lot := lotOf(a.StreamID, a.Viewer)
	check := often + time.Duration(lot*float64(often))
	switch {
	case !a.WebRTC:
		return Way{HLS, CodeNoWebRTC, "The player has no WebRTC that gets through.", 0}
	case a.Limit <= 0:
		return Way{HLS, CodeOff, "This stream is not played over WebRTC.", 0}
	case !a.Live:
		return Way{HLS, CodeNotLive, "The stream has not begun.", soon}
	}
	viewers, interactive := s.crowd.Viewers(a.StreamID), s.crowd.Interactive(a.StreamID)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.stream(a.StreamID, now)
	t.limit, t.known = a.Limit, now
	plain := viewers - interactive
	if a.Interactive {
		return s.forInteractive(a, interactive, lot, check)
	}
	if s.pressure > 0 && (a.Current != WebRTC || lot < s.pressure) {
		return Way{HLS, CodeLoad, "The server is busy; HLS costs it less.", check}
	}
	if a.Current == WebRTC {
		if excess := plain - a.Limit; excess > 0 && lot < float64(excess)/float64(plain) {
			return Way{HLS, CodeCrowd, crowdReason, check}
		}
		return Way{WebRTC, CodeRoom, "Few watch, so you get the least delay.", check}
	}
	room := a.Limit
	if a.Current == HLS {
		room = max(1, int(float64(a.Limit)*returning))
	}
	if plain+t.waiting(now) >= room {
		return Way{HLS, CodeCrowd, crowdReason, check}
	}
	t.pending = append(t.pending, now)
	return Way{WebRTC, CodeRoom, "Few watch, so you get the least delay.", check}
}

const crowdReason = "As many watch over WebRTC as the stream allows; HLS carries any number."

// forInteractive chooses for somebody who takes part. Nobody knows that this is true, so
// their number is bounded as well.
func (s *Steer) forInteractive(a Ask, interactive int, lot float64, check time.Duration) Way {
	switch {
	case s.pressure > 1 && lot < s.pressure-1:
		return Way{HLS, CodeLoad, "The server is very busy; HLS costs it less.", check}
	case a.Current != WebRTC && interactive >= s.cfg.Interactive:
		return Way{HLS, CodeCrowd, crowdReason, check}
	}
	return Way{WebRTC, CodeInteractive, "You take part, so you get the least delay.", check}
}

// Admit tells why one more viewer of a stream cannot be served over WebRTC; nil if it can.
func (s *Steer) Admit(ctx context.Context, streamID string, interactive bool) error {
	limit := s.limitOf(ctx, streamID)
	viewers, taking := s.crowd.Viewers(streamID), s.crowd.Interactive(streamID)
	s.mu.Lock()
	defer s.mu.Unlock()
	full := viewers-taking >= limit
	if interactive {
		full = taking >= s.cfg.Interactive
	}
	switch {
	case limit <= 0:
		return fault.New(fault.Disabled, "play over WebRTC", "", "this stream is not played over WebRTC", "Watch it over HLS.")
	case full:
		return fault.New(fault.TooMany, "play over WebRTC", "", "as many watch over WebRTC as may", "Watch it over HLS, which carries any number.")
	case !interactive && s.pressure >= 1:
		return fault.New(fault.TooMany, "play over WebRTC", "", "the server is too busy", "Watch it over HLS, which costs it less.")
	}
	t := s.stream(streamID, time.Now())
	if !interactive && len(t.pending) > 0 {
		t.pending = t.pending[1:]
	}
	return nil
}

// Excess is how many of a stream's viewers who only watch have to go: those over its
// limit, which shrinks while the machine is busy, when that has lasted for a while.
func (s *Steer) Excess(ctx context.Context, streamID string) int {
	limit := s.limitOf(ctx, streamID)
	plain := s.crowd.Viewers(streamID) - s.crowd.Interactive(streamID)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	t := s.stream(streamID, now)
	excess := plain - int(float64(limit)*(1-min(1, s.pressure)))
	switch {
	case excess <= 0:
		t.over = time.Time{}
		return 0
	case t.over.IsZero():
		t.over = now
	}
	if now.Sub(t.over) < grace {
		return 0
	}
	return excess
}

// limitOf returns how many may watch a stream over WebRTC. While that cannot be found out
// it is what it was, or the server's default.
func (s *Steer) limitOf(ctx context.Context, streamID string) int {
	now := time.Now()
	s.mu.Lock()
	t := s.stream(streamID, now)
	limit, fresh := t.limit, now.Sub(t.known) < limitAge
	if !fresh {
		t.known = now // others go on with what is known while it is asked for
	}
	s.mu.Unlock()
	if fresh || s.limits == nil {
		return limit
	}
	asked, err := s.limits.RealtimeViewers(ctx, streamID)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("how many may watch a stream over WebRTC is not known", "stream", streamID, "error", err)
		}
		return limit
	}
	s.mu.Lock()
	s.stream(streamID, now).limit = asked
	s.mu.Unlock()
	return asked
}

// stream returns what is remembered of a stream; the lock is held.
func (s *Steer) stream(id string, now time.Time) *stream {
	t := s.streams[id]
	if t == nil {
		if len(s.streams) >= maxLimits {
			s.forgetOldest()
		}
		t = &stream{limit: s.cfg.Viewers}
		s.streams[id] = t
	}
	t.lastUsed = now
	return t
}

func (s *Steer) forgetOldest() {
	var oldest string
	for id, t := range s.streams {
		if oldest == "" || t.lastUsed.Before(s.streams[oldest].lastUsed) {
			oldest = id
		}
	}
	delete(s.streams, oldest)
}

// waiting counts those who were told to come and are not there yet.
func (t *stream) waiting(now time.Time) int {
	for len(t.pending) > 0 && now.Sub(t.pending[0]) > promised {
		t.pending = t.pending[1:]
	}
	return len(t.pending)
}

// lotOf is a number from 0 to 1 that a viewer of a stream always has.
func lotOf(stream, viewer string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(stream + "\x00" + viewer)) // a hash does not fail
	x := h.Sum64()
	// Similar texts have similar upper bits; these are those of a mixed number.
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}
