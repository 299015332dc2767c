// Package pull fetches streams whose source is an address instead of an encoder that
// connects: RTMP and SRT through dialers that are plugged in, HLS and RTSP through an ffmpeg
// child process.
//
// What it fetches goes through ingest as any publisher does. An encoder that publishes is
// stronger than a pull: while one is live the source is left alone.
//
// Addresses come from users, so every connection is made through a Guard, those of ffmpeg
// too: its HTTP goes through a proxy of this package on the loopback interface, its RTSP
// through a relay, both of which connect only where the guard allows after resolution.
package pull

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/ingest"
	"onair/internal/media"
)

// Pull says where a stream's media comes from.
type Pull struct {
	StreamID string
	// URL is rtmp://, rtmps://, srt://, http://, https:// (HLS), rtsp:// or rtsps://. What
	// stands behind the host is secret: it is in no error and no log.
	URL string
	// OnDemand fetches only while somebody watches.
	OnDemand bool
}

// Sources tells what is to be fetched: every enabled source.
type Sources interface {
	Pulls(ctx context.Context) ([]Pull, error)
}

// Session is a connection to a source.
type Session interface {
	media.Source
	Tracks() []*media.Track
	Close() error
}

// Dial connects to a source. It obeys the guard.
type Dial func(ctx context.Context, url string) (Session, error)

// Guard keeps connections from where they must not go.
type Guard interface {
	// Control is what net.Dialer takes.
	Control(network, address string, c syscall.RawConn) error
	// Resolve fails for a host with an address that may not be connected to.
	Resolve(ctx context.Context, host string) ([]netip.Addr, error)
}

// Confiner keeps ffmpeg from what is none of its business.
type Confiner interface {
	// Confine prepares a command.
	Confine(ctx context.Context, cmd *exec.Cmd) error
	// Bound bounds what the process that it started may take.
	Bound(pid int)
	// Renew gives a process that does its work more processor time.
	Renew(pid int)
}

// State is where the fetching of a stream stands.
type State string

// The states of a source.
const (
	// Idle: nobody watches, or an encoder publishes.
	Idle State = "idle"
	// Connecting: no media has come yet.
	Connecting State = "connecting"
	// Live: media comes.
	Live State = "live"
	// Errored: it failed and is tried again in a while.
	Errored State = "errored"
)

// Status describes a source at one moment.
type Status struct {
	State State
	// Since is when it came to that state.
	Since time.Time
	// LastError is why it failed last, in words; empty if it did not.
	LastError string
	// Attempts counts the connections that were tried.
	Attempts int
}

// Config bounds what fetching may cost.
type Config struct {
	FFmpeg       string        `name:"pull-ffmpeg" yaml:"pull-ffmpeg" default:"ffmpeg" help:"The ffmpeg that fetches HLS and RTSP sources."`
	MaxSources   int           `name:"pull-max-sources" yaml:"pull-max-sources" default:"64" help:"Most sources that are fetched at a time."`
	StartTimeout time.Duration `name:"pull-start-timeout" yaml:"pull-start-timeout" default:"20s" help:"How long a source may take from connecting to its first frame."`
	StallTimeout time.Duration `name:"pull-stall-timeout" yaml:"pull-stall-timeout" default:"20s" help:"How long a source may send nothing before it is connected anew."`
	IdleTimeout  time.Duration `name:"pull-idle-timeout" yaml:"pull-idle-timeout" default:"30s" help:"How long a source on demand is fetched when nobody watches any more."`
	MaxBackoff   time.Duration `name:"pull-max-backoff" yaml:"pull-max-backoff" default:"1m" help:"Longest pause between two attempts to reach a source."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		FFmpeg: "ffmpeg", MaxSources: 64, StartTimeout: 20 * time.Second, StallTimeout: 20 * time.Second,
		IdleTimeout: 30 * time.Second, MaxBackoff: time.Minute,
	}
}

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var problems []error
	bad := func(key, cause, hint string) {
		problems = append(problems, fault.New(fault.Invalid, "set", key, cause, hint))
	}
	if c.FFmpeg == "" {
		bad("pull-ffmpeg", "it is empty", "Name the program, such as ffmpeg.")
	}
	if c.MaxSources < 1 {
		bad("pull-max-sources", "it is less than 1", "Choose 64.")
	}
	if c.StartTimeout < time.Second {
		bad("pull-start-timeout", "it is shorter than 1s", "Choose 20s.")
	}
	if c.StallTimeout < time.Second {
		bad("pull-stall-timeout", "it is shorter than 1s", "Choose 20s.")
	}
	if c.IdleTimeout < time.Second {
		bad("pull-idle-timeout", "it is shorter than 1s", "Choose 30s.")
	}
	if c.MaxBackoff < minBackoff {
		bad("pull-max-backoff", "it is shorter than 1s", "Choose 1m.")
	}
	return errors.Join(problems...)
}

const (
	// minBackoff is the pause after the first failure, doubled with each further one.
	minBackoff = time.Second
	// steady is how long a connection must hold for the pauses to begin anew.
	steady = 30 * time.Second
	// look is how often viewers and other publishers are looked for.
	look = time.Second
)

// Deps is what a Puller needs of others.
type Deps struct {
	Sources Sources
	// Serve takes a publisher from its request to its end: ingest.Serve.
	Serve func(ctx context.Context, r ingest.Request) error
	// Dial connects to addresses of a scheme.
	Dial  map[string]Dial
	Guard Guard
	// Confiner of ffmpeg; nil for none.
	Confiner Confiner
	// Hub tells whether an encoder publishes.
	Hub *hub.Hub
	// Watched tells whether somebody watches the stream.
	Watched func(streamID string) bool
}

// Puller fetches sources. Its methods may be called from several goroutines.
type Puller struct {
	cfg  Config
	deps Deps
	log  *slog.Logger
	// jitter returns a number from 0 to 1.
	jitter  func() float64
	changed chan struct{}
	proxy   *proxy

	states   *prometheus.GaugeVec
	attempts *prometheus.CounterVec
	refused  prometheus.Counter

	mu      sync.Mutex
	workers map[string]*worker
}

// New returns a Puller. It registers its metrics with reg.
func New(cfg Config, deps Deps, log *slog.Logger, reg prometheus.Registerer) *Puller {
	p := &Puller{
		cfg: cfg, deps: deps, log: log, jitter: rand.Float64, changed: make(chan struct{}, 1), workers: map[string]*worker{},
		states: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onair_pull_sources", Help: "Sources by state.",
		}, []string{"state"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_pull_attempts_total", Help: "Connections to sources that were tried, by how they went.",
		}, []string{"result"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_pull_refused_total", Help: "Sources beyond the number that may be fetched at a time.",
		}),
	}
	reg.MustRegister(p.states, p.attempts, p.refused)
	p.proxy = newProxy(deps.Guard)
	return p
}

// Check tells whether an address can be a source: its scheme is known and its host may be
// connected to. The API calls it before it stores one.
func (p *Puller) Check(ctx context.Context, address string) error {
	u, err := parse(address)
	if err != nil {
		return err
	}
	if p.deps.Dial[u.Scheme] == nil && !usesFFmpeg(u.Scheme) {
		return fault.New(fault.Unsupported, "pull from", u.Scheme+"://", "the protocol is not one that can be fetched",
			"Use rtmp, rtmps, srt, http(s) with HLS, or rtsp(s).")
	}
	_, err = p.deps.Guard.Resolve(ctx, u.Hostname())
	return err
}

func usesFFmpeg(scheme string) bool {
	switch scheme {
	case "http", "https", "rtsp", "rtsps":
		return true
	}
	return false
}

// parse reads a source's address. The error does not repeat it.
func parse(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || strings.ContainsFunc(address, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, fault.New(fault.Invalid, "pull", "", "the address has no scheme and host", "Write it as scheme://host/path.")
	}
	u.Scheme = strings.ToLower(u.Scheme)
	return u, nil
}

// redact takes what stands behind the host of an address, and its user, out of a text.
func redact(text, address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return strings.ReplaceAll(text, address, "…")
	}
	text = strings.ReplaceAll(text, address, u.Scheme+"://"+u.Host+"/…")
	var parts []string
	if password, ok := u.User.Password(); ok {
		_, escaped, _ := strings.Cut(u.User.String(), ":")
		parts = append(parts, u.User.String(), password, escaped)
	}
	parts = append(parts, u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery, u.EscapedFragment(), u.Fragment)
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	for _, path := range []string{u.EscapedPath(), u.Path} {
		path = strings.TrimRight(path, "/")
		parts = append(parts, path[strings.LastIndexByte(path, '/')+1:])
	}
	// The longest first: one may be a part of another.
	slices.SortFunc(parts, func(a, b string) int { return len(b) - len(a) })
	for _, part := range parts {
		if len(part) > 2 {
			text = strings.ReplaceAll(text, part, "…")
		}
	}
	return text
}

// Run fetches until ctx ends, and returns when everything is closed.
func (p *Puller) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fault.Wrap(fault.Unavailable, "listen for", "the proxy of pull sources", err, "")
	}
	all.Add(1)
	go func() {
		defer all.Done()
		p.proxy.run(ctx, l)
	}()
	for {
		again := time.Hour // a change that went unheard
		pulls, err := p.deps.Sources.Pulls(ctx)
		if err == nil {
			p.apply(ctx, pulls, &all)
		} else if ctx.Err() == nil {
			p.log.Warn("the sources to pull are not known", "error", err)
			again = 2 * time.Second
		}
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-p.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// apply starts what is new, and stops and waits for what is gone or different.
func (p *Puller) apply(ctx context.Context, pulls []Pull, all *sync.WaitGroup) {
	wanted := map[string]Pull{}
	for _, w := range pulls {
		if len(wanted) >= p.cfg.MaxSources && wanted[w.StreamID].StreamID == "" {
			p.refused.Inc()
			p.log.Warn("a source is beyond the number that may be fetched", "stream", w.StreamID, "most", p.cfg.MaxSources)
			continue
		}
		wanted[w.StreamID] = w
	}
	p.mu.Lock()
	var stopped []*worker
	for id, w := range p.workers {
		if wanted[id] != w.pull {
			stopped = append(stopped, w)
		}
	}
	p.mu.Unlock()
	for _, w := range stopped {
		w.stop()
	}
	for _, w := range stopped {
		<-w.done
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range stopped {
		delete(p.workers, w.pull.StreamID)
	}
	for id, pull := range wanted {
		if p.workers[id] != nil {
			continue
		}
		own, stop := context.WithCancel(ctx)
		w := &worker{p: p, pull: pull, stop: stop, done: make(chan struct{}), asked: make(chan struct{}, 1)}
		w.set(Idle, nil)
		p.workers[id] = w
		all.Add(1)
		go func() {
			defer all.Done()
			defer close(w.done)
			defer stop()
			w.run(ctx, own)
		}()
	}
}

// Changed says that the source of the stream is another now, or is gone.
func (p *Puller) Changed(string) {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Wanted says that somebody asked for the stream: a source on demand is fetched.
func (p *Puller) Wanted(streamID string) {
	p.mu.Lock()
	w := p.workers[streamID]
	p.mu.Unlock()
	if w != nil {
		w.want()
	}
}

// Statuses describes the source of a stream; false if it has none that is enabled.
func (p *Puller) Statuses(streamID string) (Status, bool) {
	p.mu.Lock()
	w := p.workers[streamID]
	p.mu.Unlock()
	if w == nil {
		return Status{}, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status, true
}
