package play

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
)

// Target is another service that a stream is sent to.
type Target struct {
	ID string
	// URL says where, such as rtmp://host/app/key or srt://host:port?streamid=key. Its last
	// path element, its query and a password are secrets: they are in no error and no log.
	URL      string
	Disabled bool
}

// TargetState is where the sending to a target stands.
type TargetState string

// The states of a target.
const (
	// TargetIdle: the stream is not live, or the target is disabled.
	TargetIdle TargetState = "idle"
	// TargetStarting: it is being connected to.
	TargetStarting TargetState = "starting"
	// TargetBroadcasting: it takes packets.
	TargetBroadcasting TargetState = "broadcasting"
	// TargetErrored: it failed and is tried again in a while.
	TargetErrored TargetState = "errored"
)

// TargetStatus describes the sending to a target at one moment.
type TargetStatus struct {
	ID    string
	State TargetState
	// Since is when it came to that state.
	Since time.Time
	// LastError is why it failed last; empty if it did not since the stream began.
	LastError string
	// Attempts counts the connections that were tried.
	Attempts int
	// Bytes and Packets count the payload that was sent, Dropped the packets that were not
	// because the target was too slow.
	Bytes            uint64
	Packets, Dropped uint64
	// Link is what the transport knows of the way; empty if there is none.
	Link media.Link
}

// Targets tells where a stream is to be sent.
type Targets interface {
	Targets(ctx context.Context, streamID string) ([]Target, error)
}

// Sender is a connection to a target.
type Sender interface {
	media.Sink
	Close() error
}

// DialTarget connects to a target that gets the tracks. Its error is fault.Unsupported when
// the target's protocol cannot carry one of them.
type DialTarget func(ctx context.Context, url string, tracks []*media.Track) (Sender, error)

// RestreamConfig bounds what sending to other services may cost.
type RestreamConfig struct {
	MaxTargets   int           `name:"restream-max-targets" yaml:"restream-max-targets" default:"10" help:"Most targets that one stream is sent to at a time."`
	MaxLag       time.Duration `name:"restream-max-lag" yaml:"restream-max-lag" default:"5s" help:"How far a target may fall behind before it is connected anew."`
	DialTimeout  time.Duration `name:"restream-dial-timeout" yaml:"restream-dial-timeout" default:"10s" help:"How long connecting to a target may take."`
	WriteTimeout time.Duration `name:"restream-write-timeout" yaml:"restream-write-timeout" default:"10s" help:"How long a target may take no data before it is connected anew."`
	MaxBackoff   time.Duration `name:"restream-max-backoff" yaml:"restream-max-backoff" default:"1m" help:"Longest pause between two attempts to reach a target."`
}

// DefaultRestreamConfig returns the defaults.
func DefaultRestreamConfig() RestreamConfig {
	return RestreamConfig{MaxTargets: 10, MaxLag: 5 * time.Second, DialTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxBackoff: time.Minute}
}

// Validate reports every setting that cannot work.
func (c RestreamConfig) Validate() error {
	var problems []error
	bad := func(key, cause, hint string) {
		problems = append(problems, fault.New(fault.Invalid, "set", key, cause, hint))
	}
	if c.MaxTargets < 1 {
		bad("restream-max-targets", "it is less than 1", "Choose 10.")
	}
	if c.MaxLag < time.Second {
		bad("restream-max-lag", "it is shorter than 1s", "Choose 5s.")
	}
	if c.DialTimeout < time.Second {
		bad("restream-dial-timeout", "it is shorter than 1s", "Choose 10s.")
	}
	if c.WriteTimeout < time.Second {
		bad("restream-write-timeout", "it is shorter than 1s", "Choose 10s.")
	}
	if c.MaxBackoff < minBackoff {
		bad("restream-max-backoff", "it is shorter than 1s", "Choose 1m.")
	}
	return errors.Join(problems...)
}

const (
	// minBackoff is the pause after the first failure, doubled with each further one.
	minBackoff = time.Second
	// steady is how long a connection must hold for the pauses to begin anew.
	steady = 30 * time.Second
	// askAgain is the pause after targets could not be asked for.
	askAgain = 2 * time.Second
)

// Restreamer sends live streams to other services. Each target has its own reader and its
// own connection: one that is slow or away holds up neither the stream nor another target.
// Sent are the first track of pictures and the first of sound of the source's feed. Its
// methods may be called from several goroutines.
type Restreamer struct {
	cfg     RestreamConfig
	hub     *hub.Hub
	targets Targets
	dial    DialTarget
	log     *slog.Logger
	// jitter returns a number from 0 to 1.
	jitter func() float64

	states   *prometheus.GaugeVec
	attempts *prometheus.CounterVec
	dropped  prometheus.Counter
	refused  prometheus.Counter

	mu      sync.Mutex
	streams map[string]*restream
}

// restream is what is sent of one stream. The Restreamer's mutex guards it.
type restream struct {
	changed chan struct{}
	sent    map[string]*sending
	order   []string
}

// NewRestreamer returns a Restreamer of the streams of h. It registers its metrics with reg.
func NewRestreamer(cfg RestreamConfig, h *hub.Hub, targets Targets, dial DialTarget, log *slog.Logger, reg prometheus.Registerer) *Restreamer {
	r := &Restreamer{
		cfg: cfg, hub: h, targets: targets, dial: dial, log: log, jitter: rand.Float64, streams: map[string]*restream{},
		states: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onair_restream_targets", Help: "Targets of live streams by state.",
		}, []string{"state"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_restream_attempts_total", Help: "Connections to targets that were tried, by how they went.",
		}, []string{"result"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_restream_dropped_packets_total", Help: "Packets that targets missed because they were too slow.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_restream_refused_total", Help: "Targets beyond the number that a stream may have.",
		}),
	}
	reg.MustRegister(r.states, r.attempts, r.dropped, r.refused)
	return r
}

// Run sends until ctx ends, and returns when everything is closed.
func (r *Restreamer) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := r.hub.Watch()
	for {
		s, err := w.Next(ctx)
		if err != nil {
			return ended(err)
		}
		all.Add(1)
		go func() {
			defer all.Done()
			r.serve(ctx, s)
		}()
	}
}

// Changed says that the targets of the stream are others now.
func (r *Restreamer) Changed(streamID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.streams[streamID]; s != nil {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
}

// Statuses describes the targets of a live stream in the order of Targets. A target that is
// not among them is idle.
func (r *Restreamer) Statuses(streamID string) []TargetStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[streamID]
	if s == nil {
		return nil
	}
	var statuses []TargetStatus
	for _, id := range s.order {
		statuses = append(statuses, s.sent[id].describe())
	}
	return statuses
}

// serve sends one stream until it ends.
func (r *Restreamer) serve(ctx context.Context, stream *hub.Stream) {
	s := &restream{changed: make(chan struct{}, 1), sent: map[string]*sending{}}
	r.mu.Lock()
	r.streams[stream.Name()] = s
	r.mu.Unlock()
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		all.Wait()
		r.mu.Lock()
		if r.streams[stream.Name()] == s {
			delete(r.streams, stream.Name())
		}
		r.mu.Unlock()
	}()
	for {
		var again *time.Timer
		targets, err := r.targets.Targets(ctx, stream.Name())
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			r.log.Warn("the targets of a stream are not known", "stream", stream.Name(), "error", err)
			again = time.NewTimer(askAgain)
		} else {
			r.apply(ctx, stream, s, targets, &all)
			again = time.NewTimer(time.Hour) // a change that went unheard
		}
		select {
		case <-ctx.Done():
			return
		case <-stream.Done():
			return
		case <-s.changed:
		case <-again.C:
		}
		again.Stop()
	}
}

// apply starts what is new, and stops and waits for what is gone or different.
func (r *Restreamer) apply(ctx context.Context, stream *hub.Stream, s *restream, targets []Target, all *sync.WaitGroup) {
	wanted := map[string]Target{}
	var order []string
	for _, t := range targets {
		switch {
		case t.Disabled || t.ID == "":
		case len(order) >= r.cfg.MaxTargets:
			r.refused.Inc()
			r.log.Warn("a target is beyond the number that a stream may have", "stream", stream.Name(), "target", t.ID, "most", r.cfg.MaxTargets)
		case wanted[t.ID].ID == "":
			wanted[t.ID] = t
			order = append(order, t.ID)
		}
	}
	for id, old := range s.sent {
		if wanted[id] != old.target {
			old.stop()
			<-old.done
			r.mu.Lock()
			delete(s.sent, id)
			s.order = without(s.order, id)
			r.mu.Unlock()
		}
	}
	for _, id := range order {
		if s.sent[id] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		n := &sending{r: r, stream: stream, target: wanted[id], stop: cancel, done: make(chan struct{})}
		n.set(TargetStarting, nil)
		r.mu.Lock()
		s.sent[id] = n
		r.mu.Unlock()
		all.Add(1)
		go func() {
			defer all.Done()
			defer close(n.done)
			defer cancel()
			n.run(ctx)
		}()
	}
	r.mu.Lock()
	s.order = order
	r.mu.Unlock()
}

func without(ids []string, id string) []string {
	var rest []string
	for _, i := range ids {
		if i != id {
			rest = append(rest, i)
		}
	}
	return rest
}
