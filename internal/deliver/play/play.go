// Package play serves viewers that take packets: whatever the protocol, a viewer is a
// media.Sink, and one loop admits it, joins it to the stream and copies until either
// leaves.
package play

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
)

// Request is a viewer that asks to watch.
type Request interface {
	media.Sink
	// Protocol is the protocol's short name, such as "rtmp".
	Protocol() string
	Peer() net.Addr
	PlaybackID() string
	// Supports tells whether the viewer can be sent that codec.
	Supports(media.Codec) bool
	// Accept tells the viewer which tracks it will get.
	Accept(ctx context.Context, tracks []*media.Track) error
	// Reject tells the viewer why it gets nothing, and closes.
	Reject(err error)
	// Close ends what Accept began; a nil err is the end of the stream.
	Close(err error)
}

// Gate decides who may watch what.
type Gate interface {
	// AdmitPlay returns the id of the stream that the playback id stands for.
	AdmitPlay(ctx context.Context, playbackID string) (streamID string, err error)
}

// Config bounds what a viewer may cost.
type Config struct {
	MaxLag   time.Duration `name:"play-max-lag" yaml:"play-max-lag" default:"3s" help:"How far an RTMP viewer may fall behind before it is taken to the newest key frame."`
	MaxSkips int           `name:"play-max-skips" yaml:"play-max-skips" default:"3" help:"How often within 30 s an RTMP viewer may be taken to the newest key frame before it is let go."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{MaxLag: 3 * time.Second, MaxSkips: 3} }

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var problems []error
	if c.MaxLag < 100*time.Millisecond {
		problems = append(problems, fault.New(fault.Invalid, "set", "play-max-lag", "it is shorter than 100ms", "Choose 3s, or more for poor networks."))
	}
	if c.MaxSkips < 1 {
		problems = append(problems, fault.New(fault.Invalid, "set", "play-max-skips", "it is less than 1", "Choose 3."))
	}
	return errors.Join(problems...)
}

// skipWindow is the time in which MaxSkips are counted.
const skipWindow = 30 * time.Second

// Player serves viewers. Its methods may be called from several goroutines.
type Player struct {
	cfg     Config
	gate    Gate
	hub     *hub.Hub
	log     *slog.Logger
	viewers *prometheus.GaugeVec
	dropped *prometheus.CounterVec

	mu       sync.Mutex
	watching map[string]int // viewers by stream
}

// New returns a player for the streams of h.
func New(cfg Config, gate Gate, h *hub.Hub, log *slog.Logger, reg prometheus.Registerer) *Player {
	p := &Player{
		cfg: cfg, gate: gate, hub: h, log: log, watching: make(map[string]int),
		viewers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onair_play_viewers", Help: "Viewers that are sent packets.",
		}, []string{"protocol"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_play_dropped_total", Help: "Viewers that were let go because they could not keep up.",
		}, []string{"protocol"}),
	}
	reg.MustRegister(p.viewers, p.dropped)
	return p
}

// Viewers counts who is sent the stream now.
func (p *Player) Viewers(streamID string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watching[streamID]
}

func (p *Player) enter(streamID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watching[streamID]++
}

func (p *Player) leave(streamID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watching[streamID]--; p.watching[streamID] == 0 {
		delete(p.watching, streamID)
	}
}

// Serve admits one viewer and copies to it until the stream or the viewer ends. The
// error says why it ended; the viewer has been told.
func (p *Player) Serve(ctx context.Context, r Request) error {
	stream, tracks, err := p.admit(ctx, r)
	if err != nil {
		r.Reject(err)
		return err
	}
	if err := r.Accept(ctx, tracks); err != nil {
		r.Close(err)
		return err
	}
	gauge := p.viewers.WithLabelValues(r.Protocol())
	gauge.Inc()
	defer gauge.Dec()
	p.enter(stream.Name())
	defer p.leave(stream.Name())

	reader := stream.Feed().NewReader(hub.ReaderOptions{Name: r.Protocol(), MaxLag: p.cfg.MaxLag})
	defer reader.Close()
	err = media.Copy(ctx, r, &source{reader: reader, viewer: r, maxSkips: p.cfg.MaxSkips})
	if errors.Is(err, io.EOF) {
		r.Close(nil)
		return nil
	}
	if fault.Is(err, fault.TooLarge) {
		p.dropped.WithLabelValues(r.Protocol()).Inc()
	}
	r.Close(err)
	return err
}

// admit finds the stream and those of its tracks that the viewer can take.
func (p *Player) admit(ctx context.Context, r Request) (*hub.Stream, []*media.Track, error) {
	const op = "play"
	id, err := p.gate.AdmitPlay(ctx, r.PlaybackID())
	if err != nil {
		return nil, nil, err
	}
	stream, ok := p.hub.Stream(id)
	if !ok {
		return nil, nil, fault.New(fault.NotFound, op, r.PlaybackID(), "the stream is not live", "Try again when it is.")
	}
	var tracks []*media.Track
	// A stream whose picture, or whose sound, cannot be sent at all is refused: a viewer
	// who gets half of it is not told why.
	supported, unsupported := map[media.Kind]bool{}, map[media.Kind]media.Codec{}
	for _, t := range stream.Feed().Tracks() {
		if r.Supports(t.Codec) {
			tracks = append(tracks, t)
			supported[t.Kind()] = true
		} else {
			unsupported[t.Kind()] = t.Codec
		}
	}
	for _, kind := range []media.Kind{media.Video, media.Audio} {
		if codec, has := unsupported[kind]; has && !supported[kind] {
			return nil, nil, fault.New(fault.Unsupported, op, r.PlaybackID(),
				"the stream's "+kind.String()+" is "+codec.String()+", which cannot be sent to this player", "Watch it over HLS.")
		}
	}
	return stream, tracks, nil
}

// source hides from the viewer what it cannot take, and the gaps of a reader that lags.
type source struct {
	reader   *hub.Reader
	viewer   Request
	maxSkips int
	skips    []time.Time
}

func (s *source) ReadPacket(ctx context.Context) (*media.Packet, error) {
	for {
		p, err := s.reader.ReadPacket(ctx)
		var gap *hub.Gap
		switch {
		case errors.As(err, &gap):
			if err := s.skip(time.Now()); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		case s.viewer.Supports(p.Track.Codec):
			return p, nil
		}
	}
}

// skip counts a jump to the newest key frame and gives up on a viewer that needs too many.
func (s *source) skip(now time.Time) error {
	recent := s.skips[:0]
	for _, at := range s.skips {
		if now.Sub(at) < skipWindow {
			recent = append(recent, at)
		}
	}
	s.skips = append(recent, now)
	if len(s.skips) > s.maxSkips {
		return fault.New(fault.TooLarge, "play", "", "the connection is too slow for this stream", "Watch it over HLS, which adapts.")
	}
	return nil
}
