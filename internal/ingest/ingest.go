// Package ingest is the one loop that every publisher goes through, whatever protocol it
// speaks: admit it, accept it, learn its tracks, put it on the hub, and copy its packets
// there on the stream's own timeline until it leaves.
//
// A protocol package satisfies Request; who may publish is decided by a Gate. The
// timeline (timeline.go) is where the time stamps of encoders, with their jumps, wraps,
// rounding and garbage, become a stream's: from 0, never backwards, sound and pictures
// moved by one and the same offset, through reconnects and takeovers.
//
// A desk (desk.go) is where the publishers of one stream meet: the main encoder, its
// backup, and nobody, for whom filler (filler.go) keeps the timeline going. A stream that
// lives never stops. Run has to run for that.
package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
)

// Request is somebody who wants to publish. Its media may be read after Accept.
type Request interface {
	media.Source
	// Protocol is the protocol's short name, such as "rtmp"; a label of metrics.
	Protocol() string
	Peer() net.Addr
	// Key is the secret that names the stream.
	Key() string
	// Encoder is what the publisher calls itself; empty if it does not tell.
	Encoder() string
	// Backup tells that it came as the stream's backup encoder.
	Backup() bool
	// Tracks are those announced so far. There may be more after a ReadPacket.
	Tracks() []*media.Track
	// Accept tells the encoder that it may publish.
	Accept(ctx context.Context) error
	// Reject tells it why not, and closes.
	Reject(err error)
	// Close ends it after Accept and tells it why; nil is a clean end.
	Close(err error)
}

// Grant is what a publisher is allowed.
type Grant struct {
	StreamID string
	// Linger is how long the stream waits when the publisher is lost.
	Linger      time.Duration
	LatencyMode media.LatencyMode
}

// Gate decides who may publish. Its errors are told to the encoder.
type Gate interface {
	AdmitPublish(ctx context.Context, protocol string, peer net.Addr, key string) (Grant, error)
}

// Ingest carries publishers to the hub.
type Ingest struct {
	cfg     Config
	gate    Gate
	hub     *hub.Hub
	bus     *event.Bus
	log     *slog.Logger
	metrics *metrics
	monitor Monitor
	slate   Slate
	slates  chan slateOrder

	mu    sync.Mutex
	desks map[string]*desk // by stream, while it lives
}

// SetMonitor lets m watch every publisher; before the first Serve.
func (i *Ingest) SetMonitor(m Monitor) { i.monitor = m }

// SetSlate gives the picture that stands in for publishers who are away for longer;
// before Run.
func (i *Ingest) SetSlate(s Slate) { i.slate = s }

// New returns an Ingest that admits by gate and publishes on h. It tells what happens on
// bus, and registers its metrics with reg (nil for none).
func New(cfg Config, gate Gate, h *hub.Hub, bus *event.Bus, log *slog.Logger, reg prometheus.Registerer) *Ingest {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Ingest{cfg: cfg, gate: gate, hub: h, bus: bus, log: log, metrics: newMetrics(reg), desks: make(map[string]*desk), slates: make(chan slateOrder, slateQueue)}
}

// Serve takes a publisher from its request to its end, and closes it. It returns nil
// when the publisher stopped by itself, and else why it was refused or ended; the
// encoder was told the same.
func (i *Ingest) Serve(ctx context.Context, r Request) error {
	grant, err := i.gate.AdmitPublish(ctx, r.Protocol(), r.Peer(), r.Key())
	if err != nil {
		i.refused(r, "", err)
		r.Reject(err)
		return err
	}
	if err := r.Accept(ctx); err != nil {
		r.Close(err)
		return err
	}
	connected := i.metrics.publishers.WithLabelValues(r.Protocol())
	connected.Inc()
	defer connected.Dec()
	s := &session{
		Ingest: i, request: r, grant: grant, id: "in_" + strings.ToLower(rand.Text()), since: time.Now(),
		repairs: &repairs{all: &i.metrics.repaired},
	}
	if r.Backup() {
		s.role = backupSeat
	}
	i.bus.Publish(event.StreamConnected{
		StreamID: grant.StreamID, Session: s.id, Protocol: r.Protocol(), Encoder: r.Encoder(), Backup: r.Backup(),
	})
	s.watch()
	err = s.run(ctx)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if s.tap != nil {
		s.tap.Ended(err)
	}
	r.Close(err)
	return err
}

// refused tells of a publisher of whom nothing was on the air.
func (i *Ingest) refused(r Request, stream string, err error) {
	kind := fault.KindOf(err)
	i.metrics.refused.WithLabelValues(string(kind)).Inc()
	i.bus.Publish(event.IngestRefused{
		StreamID: stream, Protocol: r.Protocol(), Peer: peerOf(r), Code: string(kind), Reason: err.Error(),
	})
	i.log.Info("publisher refused", "stream", stream, "protocol", r.Protocol(), "peer", peerOf(r), "code", string(kind), "reason", err.Error())
}

// peerOf is the publisher's address in words.
func peerOf(r Request) string {
	if a := r.Peer(); a != nil {
		return a.String()
	}
	return ""
}

// session is one publisher that was admitted. Once it has joined its stream, the desk's
// mutex guards it.
type session struct {
	*Ingest
	request Request
	grant   Grant
	id      string
	role    int    // mainSeat or backupSeat
	encoder string // as told when its tracks were known
	since   time.Time
	tap     Tap
	repairs *repairs
	cancel  context.CancelCauseFunc

	desk     *desk
	timeline *timeline
	drift    drift
	names    renditions
	lanes    []seatLane
	arrived  time.Time // when its last packet came
	steady   time.Time // since when they come without a pause

	// Off the air: what it holds, since when it sends again, and whether its last packet
	// is one to begin with.
	held      []*media.Packet
	heldBytes int
	sound     *media.Packet // the newest one, while no key frame is held
	resumed   time.Time
	atKey     bool
	pace      pace
	aired     bool     // it was on the air before
	before    *session // whose seat it has, until it goes on the air
	founded   bool     // the stream's clock began with it

	known   []*media.Track // in their present versions
	changed bool           // and nobody was told yet
	told    time.Time
}

// run learns the publisher's tracks, gives it its place on the stream, and copies until
// one side ends. The error is io.EOF when the publisher stopped by itself.
func (s *session) run(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	s.cancel = cancel
	first, err := s.learn(ctx, cancel)
	if err != nil {
		if err = explain(parent, ctx, err); !errors.Is(err, io.EOF) {
			s.refused(s.request, s.grant.StreamID, err)
		}
		return err
	}
	s.encoder = s.request.Encoder()
	if err := s.join(first); err != nil {
		s.refused(s.request, s.grant.StreamID, err)
		return err
	}
	joined := time.Now()
	// The stream may have been disabled or deleted, or its key renewed, while its tracks
	// were being learned: whoever did that found no publication to end.
	if _, err := s.gate.AdmitPublish(ctx, s.request.Protocol(), s.request.Peer(), s.request.Key()); err != nil {
		// Only what was decided ends the stream: when the gate could not tell, or somebody
		// else had this publisher go, the stream goes on as for any that is lost.
		var left error
		if !decided(err) {
			if ctx.Err() == nil {
				s.log.Warn("it is not known whether a publisher may go on", "stream", s.grant.StreamID, "error", err)
				err = fault.New(fault.Unavailable, "publish", s.grant.StreamID, "it cannot be told whether the stream may go on", "Connect again in a moment")
			}
			err = explain(parent, ctx, err)
			left = err
		}
		s.desk.leave(s, left)
		s.refused(s.request, s.grant.StreamID, err)
		return err
	}

	// Whoever takes over or kicks must not wait for this publisher's next packet.
	stream := s.desk.stream()
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-stream.Done():
			cancel(stream.Err())
		case <-ctx.Done():
		}
	})
	err = explain(parent, ctx, media.Copy(ctx, s, tapped{s.request, s.tap}))
	if errors.Is(err, io.EOF) {
		s.stay(ctx, brief-time.Since(joined))
	}
	s.desk.leave(s, err)
	cancel(nil)
	watch.Wait()
	return err
}

// decided tells whether a Gate's error says that the publisher may not publish, and not
// that the gate could not tell.
func decided(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unauthorized, fault.Disabled, fault.NotFound:
		return true
	}
	return false
}

// brief is how long a broadcast is on the air at least, however short it was: whoever
// watches for streams gets to see it. It is less than the silence that is filled.
const brief = 600 * time.Millisecond

// stay waits for that long, or until the stream is over.
func (s *session) stay(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// tapped is a publisher that a Monitor watches.
type tapped struct {
	Request
	tap Tap
}

// ReadPacket implements media.Source.
func (t tapped) ReadPacket(ctx context.Context) (*media.Packet, error) {
	p, err := t.Request.ReadPacket(ctx)
	if err == nil && t.tap != nil {
		t.tap.Received(p)
	}
	return p, err
}

// explain turns the end of a context into the reason for it.
func explain(parent, ctx context.Context, err error) error {
	switch {
	case errors.Is(err, io.EOF) || ctx.Err() == nil:
		return err
	case parent.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
		return fault.New(fault.Unavailable, "publish", "", "the server is stopping", "Connect again in a moment")
	default:
		return context.Cause(ctx)
	}
}
