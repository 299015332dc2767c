package play

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
)

// Fan sends one track to the viewers that watch it. WritePacket never waits.
type Fan interface {
	media.Sink
	Close()
}

// Estimate is what a viewer's transport knows of the way to it.
type Estimate struct {
	// Bitrate is what the way could carry, in bits a second; 0 while it is not known.
	Bitrate int64
	// Loss is the share of packets that were lost lately, from 0 to 1.
	Loss float64
	RTT  time.Duration
}

// RealtimeRequest is a viewer that asks to be sent pictures and sound as they come, over a
// transport that sends one feed to many. Its methods may be called until Close.
type RealtimeRequest interface {
	// Protocol is the protocol's short name, such as "whep".
	Protocol() string
	Peer() net.Addr
	PlaybackID() string
	// Interactive is set if the viewer takes part in what is shown.
	Interactive() bool
	// Supports tells whether the viewer can be sent that track: codec, profile and level.
	Supports(t *media.Track) bool
	// Accepts tells whether the viewer has a decoder for the codec.
	Accepts(c media.Codec) bool
	// Accept tells the viewer which codecs it will get; media.UnknownCodec is none.
	Accept(ctx context.Context, video, audio media.Codec) error
	// Reject tells the viewer why it gets nothing, and closes.
	Reject(err error)
	// Close ends what Accept began.
	Close(err error)
	// Done is closed when the viewer left or was lost, and Err tells how then.
	Done() <-chan struct{}
	Err() error
	Estimate() Estimate
	// Wish names the layer that the viewer wants at most; empty is the best that fits.
	Wish() string
	// Watch says what to send from now on; nil is nothing. Another picture begins at its
	// next key frame, and the one before goes on until then.
	Watch(video, audio Fan)
}

// Ladder makes renditions of a live stream as long as somebody asks for them.
type Ladder interface {
	// Offers lists what can be made of a stream besides what its publisher sends.
	Offers(streamID string) []media.Offer
	// Want says that somebody asks for a rendition now. It never waits. The error says why
	// it cannot be had.
	Want(streamID, rendition string) error
	// Reorders tells whether the publisher's pictures come in another order than they are
	// shown in, which WebRTC has no way to tell a player.
	Reorders(streamID string) bool
}

// Limits bounds how many viewers of a stream are served in real time.
type Limits interface {
	// Admit tells why one more viewer cannot be served, and nil if it can.
	Admit(ctx context.Context, streamID string, interactive bool) error
	// Excess is how many of the viewers who are not interactive have to go.
	Excess(ctx context.Context, streamID string) int
}

// KeyFrames asks the publisher of a stream for a key frame. It never waits.
type KeyFrames interface{ RequestKey(streamID string) }

// RealtimeConfig bounds what viewers in real time may cost.
type RealtimeConfig struct {
	MaxLag time.Duration `name:"realtime-max-lag" yaml:"realtime-max-lag" default:"500ms" help:"How far what is sent to WebRTC viewers may fall behind before it is taken to the newest key frame."`
	Wait   time.Duration `name:"realtime-wait" yaml:"realtime-wait" default:"10m" help:"How long a WebRTC viewer may wait for a stream to begin, or to begin again."`
}

// DefaultRealtimeConfig returns the defaults.
func DefaultRealtimeConfig() RealtimeConfig {
	return RealtimeConfig{MaxLag: 500 * time.Millisecond, Wait: 10 * time.Minute}
}

// Validate reports every setting that cannot work.
func (c RealtimeConfig) Validate() error {
	var problems []error
	if c.MaxLag < 100*time.Millisecond {
		problems = append(problems, fault.New(fault.Invalid, "set", "realtime-max-lag", "it is shorter than 100ms", "Choose 500ms."))
	}
	if c.Wait < time.Second {
		problems = append(problems, fault.New(fault.Invalid, "set", "realtime-wait", "it is shorter than 1s", "Choose 10m."))
	}
	return errors.Join(problems...)
}

const (
	// watchTick is how often a viewer's layer is thought over, waitTick how often a viewer
	// looks whether its stream has begun.
	watchTick = 500 * time.Millisecond
	waitTick  = 250 * time.Millisecond
	// readmit is how often somebody who waits is admitted anew.
	readmit = 10 * time.Second
	// keyEvery is the least time between two questions for a key frame of a stream.
	keyEvery = time.Second
)

// Realtime serves viewers in real time: it admits them, and chooses what each is sent.
// Whatever is watched is read once and written to one Fan, however many watch it. Its
// methods may be called from several goroutines.
type Realtime struct {
	cfg    RealtimeConfig
	gate   Gate
	hub    *hub.Hub
	ladder Ladder
	newFan func(requestKey func()) Fan
	log    *slog.Logger
	limits Limits
	keys   KeyFrames

	viewers  *prometheus.GaugeVec
	pumping  prometheus.Gauge
	lagged   prometheus.Counter
	switches *prometheus.CounterVec
	closed   *prometheus.CounterVec

	mu    sync.Mutex
	rooms map[string]*room // by stream, while somebody is there
}

// NewRealtime returns a Realtime for the streams of h. ladder may be nil: then viewers get
// what publishers send or nothing. newFan makes a Fan that calls requestKey, which never
// waits, when a viewer cannot go on without a key frame.
func NewRealtime(cfg RealtimeConfig, gate Gate, h *hub.Hub, ladder Ladder, newFan func(requestKey func()) Fan, log *slog.Logger, reg prometheus.Registerer) *Realtime {
	if ladder == nil {
		ladder = noLadder{}
	}
	r := &Realtime{
		cfg: cfg, gate: gate, hub: h, ladder: ladder, newFan: newFan, log: log, rooms: make(map[string]*room),
		viewers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onair_realtime_viewers", Help: "Viewers in real time, by whether they are sent a stream or wait for one.",
		}, []string{"state"}),
		pumping: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onair_realtime_feeds", Help: "Tracks that are read for viewers in real time.",
		}),
		lagged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_realtime_lagged_total", Help: "Times that a track for viewers in real time was taken to its newest key frame because the server was too slow.",
		}),
		switches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_realtime_switches_total", Help: "Changes of the rendition that a viewer is sent, by reason.",
		}, []string{"reason"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_realtime_closed_total", Help: "Viewers in real time that were refused or let go by the server, by kind of fault.",
		}, []string{"code"}),
	}
	reg.MustRegister(r.viewers, r.pumping, r.lagged, r.switches, r.closed)
	return r
}

// SetLimits gives what bounds the viewers of a stream; before the first Serve.
func (r *Realtime) SetLimits(l Limits) { r.limits = l }

// SetKeyFrames gives the way to publishers; before the first Serve.
func (r *Realtime) SetKeyFrames(k KeyFrames) { r.keys = k }

// Viewers counts the viewers of a stream, with those who wait for it.
func (r *Realtime) Viewers(streamID string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.rooms[streamID]; m != nil {
		return len(m.viewers)
	}
	return 0
}

// Interactive counts those among the viewers of a stream who take part.
func (r *Realtime) Interactive(streamID string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.rooms[streamID]; m != nil {
		return m.taking
	}
	return 0
}

// Serve admits one viewer and serves it until it leaves, or may not stay. The error says
// why it ended; the viewer has been told. A viewer stays when its stream ends: it waits for
// the next one.
func (r *Realtime) Serve(ctx context.Context, q RealtimeRequest) error {
	id, err := r.gate.AdmitPlay(ctx, q.PlaybackID())
	if err != nil {
		return r.reject(q, err)
	}
	if r.limits != nil {
		if err := r.limits.Admit(ctx, id, q.Interactive()); err != nil {
			return r.reject(q, err)
		}
	}
	v := &viewing{r: r, q: q, id: id, interactive: q.Interactive(), blocked: map[string]block{}}
	v.enter()
	defer v.leave()
	if err := v.admit(); err != nil {
		return r.reject(q, err)
	}
	if err := q.Accept(ctx, v.videoCodec, v.audioCodec); err != nil {
		q.Close(err)
		return err
	}
	err = v.run(ctx)
	select {
	case <-q.Done():
	default:
		if err != nil {
			r.closed.WithLabelValues(string(fault.KindOf(err))).Inc()
		}
	}
	v.release()
	q.Close(err)
	return err
}

func (r *Realtime) reject(q RealtimeRequest, err error) error {
	r.closed.WithLabelValues(string(fault.KindOf(err))).Inc()
	q.Reject(err)
	return err
}

// noLadder is where nothing can be made.
type noLadder struct{}

func (noLadder) Offers(string) []media.Offer { return nil }
func (noLadder) Reorders(string) bool        { return false }

func (noLadder) Want(_, rendition string) error {
	return fault.New(fault.NotFound, "make a rendition", rendition, "this server makes no renditions", "")
}
