package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/ingest"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fence is a guard that forbids one host, by name and by address.
type fence struct{ name, address string }

func (f fence) Control(_, address string, _ syscall.RawConn) error {
	if f.address != "" && strings.HasPrefix(address, f.address) {
		return fault.New(fault.Forbidden, "connect to", address, "the address is private", "")
	}
	return nil
}

func (f fence) Resolve(_ context.Context, host string) ([]netip.Addr, error) {
	if f.name != "" && host == f.name || f.address != "" && strings.HasPrefix(host, f.address) {
		return nil, fault.New(fault.Forbidden, "connect to", host, "the address is private", "")
	}
	return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
}

// book holds the sources.
type book struct {
	mu    sync.Mutex
	pulls []Pull
}

func (b *book) Pulls(context.Context) ([]Pull, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Pull(nil), b.pulls...), nil
}

// source sends at the pace of the clock, until it is closed or its end.
type source struct {
	*mediatest.Generator
	begun  time.Time
	end    error
	silent time.Duration // after which nothing comes
	once   sync.Once
	closed chan struct{}
}

func newSource(o mediatest.Options) *source {
	return &source{Generator: mediatest.NewGenerator(o), begun: time.Now(), end: io.EOF, closed: make(chan struct{})}
}

func (s *source) ReadPacket(ctx context.Context) (*media.Packet, error) {
	p, err := s.Generator.ReadPacket(ctx)
	if err != nil {
		return nil, s.end
	}
	at := p.Track.Duration(p.DTS)
	if s.silent > 0 && at > s.silent {
		at += time.Hour
	}
	t := time.NewTimer(time.Until(s.begun.Add(at)))
	defer t.Stop()
	select {
	case <-t.C:
		return p, nil
	case <-s.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *source) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// openGate grants what node's gate does: the key of a pull is the stream.
type openGate struct{}

func (openGate) AdmitPublish(_ context.Context, protocol string, _ net.Addr, key string) (ingest.Grant, error) {
	if protocol != "pull" && protocol != "rtmp" {
		return ingest.Grant{}, fmt.Errorf("protocol %q", protocol)
	}
	return ingest.Grant{StreamID: key, Linger: 20 * time.Second, LatencyMode: media.LatencyLow}, nil
}

type pulling struct {
	*Puller
	hub     *hub.Hub
	book    *book
	mu      sync.Mutex
	dials   []time.Time
	answer  func() (Session, error)
	watched bool
	stop    context.CancelFunc
	done    chan error
}

func start(t *testing.T, g Guard, pulls ...Pull) *pulling {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	bus := event.NewBus()
	x := &pulling{hub: hub.New(hub.DefaultConfig(), bus, log, nil), book: &book{pulls: pulls}, done: make(chan error, 1)}
	in := ingest.New(ingest.DefaultConfig(), openGate{}, x.hub, bus, log, nil)
	dial := func(context.Context, string) (Session, error) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.dials = append(x.dials, time.Now())
		return x.answer()
	}
	x.Puller = New(DefaultConfig(), Deps{
		Sources: x.book, Serve: in.Serve, Dial: map[string]Dial{"rtmp": dial}, Guard: g, Hub: x.hub,
		Watched: func(string) bool {
			x.mu.Lock()
			defer x.mu.Unlock()
			return x.watched
		},
	}, log, prometheus.NewRegistry())
	x.jitter = func() float64 { return 1 }
	return x
}

// run runs it with nothing listening: the proxy needs a real socket.
func (x *pulling) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	x.stop = cancel
	go func() {
		var all sync.WaitGroup
		for {
			pulls, _ := x.book.Pulls(ctx)
			x.apply(ctx, pulls, &all)
			select {
			case <-ctx.Done():
				all.Wait()
				x.done <- nil
				return
			case <-x.changed:
			}
		}
	}()
}

func (x *pulling) end(t *testing.T) {
	t.Helper()
	x.stop()
	if err := <-x.done; err != nil {
		t.Error(err)
	}
	x.hub.Close(nil)
	synctest.Wait()
}

func (x *pulling) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.dials)
}

func (x *pulling) watch(v bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watched = v
}

const address = "rtmp://a.example/live/verysecret?token=evenmore"

func live(h *hub.Hub) bool {
	s, ok := h.Stream("ls_1")
	return ok && s.State() == hub.Live
}

// A source is fetched while it is enabled, and the stream ends when it is not any more.
func TestFetchedWhileEnabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(t, fence{}, Pull{StreamID: "ls_1", URL: address})
		x.answer = func() (Session, error) { return newSource(mediatest.Options{}), nil }
		x.run(t)
		time.Sleep(3 * time.Second)
		if s, ok := x.Statuses("ls_1"); !ok || s.State != Live || s.Attempts != 1 || s.LastError != "" || !live(x.hub) {
			t.Errorf("%+v, live %v", s, live(x.hub))
		}
		x.book.mu.Lock()
		x.book.pulls = nil
		x.book.mu.Unlock()
		x.Changed("ls_1")
		time.Sleep(time.Second)
		if _, ok := x.hub.Stream("ls_1"); ok {
			t.Error("the stream lingers")
		}
		if _, ok := x.Statuses("ls_1"); ok {
			t.Error("there is still a status")
		}
		x.end(t)
	})
}

// A source on demand is fetched when somebody asks, and for 30 s after nobody watches.
func TestFetchedOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(t, fence{}, Pull{StreamID: "ls_1", URL: address, OnDemand: true})
		x.answer = func() (Session, error) { return newSource(mediatest.Options{}), nil }
		x.run(t)
		time.Sleep(time.Minute)
		if s, _ := x.Statuses("ls_1"); s.State != Idle || x.count() != 0 {
			t.Errorf("%+v after %d dials", s, x.count())
		}
		x.Wanted("ls_1")
		time.Sleep(2 * time.Second)
		if s, _ := x.Statuses("ls_1"); s.State != Live || !live(x.hub) {
			t.Errorf("%+v", s)
		}
		x.watch(true)
		time.Sleep(5 * time.Minute)
		if s, _ := x.Statuses("ls_1"); s.State != Live || s.Attempts != 1 {
			t.Errorf("%+v", s)
		}
		x.watch(false)
		time.Sleep(25 * time.Second)
		if !live(x.hub) {
			t.Error("it ended early")
		}
		time.Sleep(10 * time.Second)
		if s, _ := x.Statuses("ls_1"); s.State != Idle || s.LastError != "" || live(x.hub) {
			t.Errorf("%+v, live %v", s, live(x.hub))
		}
		x.Wanted("ls_1")
		time.Sleep(2 * time.Second)
		if s, _ := x.Statuses("ls_1"); s.State != Live || s.Attempts != 2 {
			t.Errorf("%+v", s)
		}
		x.end(t)
	})
}

// A source that fails is tried again, ever more seldom; what is secret is told to nobody.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(t, fence{}, Pull{StreamID: "ls_1", URL: address})
		x.answer = func() (Session, error) { return nil, fmt.Errorf("dial %s: verysecret is wrong", address) }
		x.run(t)
		time.Sleep(3 * time.Minute)
		s, _ := x.Statuses("ls_1")
		if s.State != Errored || !strings.Contains(s.LastError, "a.example") || strings.Contains(s.LastError, "secret") || strings.Contains(s.LastError, "evenmore") {
			t.Errorf("%+v", s)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60} {
			if d := x.dials[i+1].Sub(x.dials[i]); d != want*time.Second {
				t.Errorf("pause %d was %v, want %ds", i, d, want)
			}
		}
		x.end(t)
	})
}

// A source that breaks off, ends or falls silent is connected to again; the stream waits.
func TestSourceFails(t *testing.T) {
	for name, tt := range map[string]struct {
		make func() *source
		says string
	}{
		"ends": {func() *source { return newSource(mediatest.Options{Duration: 3 * time.Second}) }, "ended"},
		"breaks off": {func() *source {
			s := newSource(mediatest.Options{Duration: 3 * time.Second})
			s.end = errors.New("reset")
			return s
		}, "reset"},
		"falls silent": {func() *source { s := newSource(mediatest.Options{}); s.silent = 3 * time.Second; return s }, "nothing for 20s"},
		"is silent":    {func() *source { s := newSource(mediatest.Options{}); s.begun = s.begun.Add(time.Hour); return s }, "nothing for 20s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := start(t, fence{}, Pull{StreamID: "ls_1", URL: address})
				x.answer = func() (Session, error) { return tt.make(), nil }
				x.run(t)
				time.Sleep(40 * time.Second)
				if s, _ := x.Statuses("ls_1"); s.Attempts < 2 || !strings.Contains(s.LastError, tt.says) {
					t.Errorf("%+v", s)
				}
				x.end(t)
			})
		})
	}
}

// What breaks off a source is told to people and logs, without what is secret of its address.
func TestSecretsAreNotInTheReasonOfABreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(t, fence{}, Pull{StreamID: "ls_1", URL: address})
		x.answer = func() (Session, error) {
			s := newSource(mediatest.Options{Duration: 3 * time.Second})
			// As ffmpeg says it, to which the address is another.
			s.end = fault.New(fault.Timeout, "pull", "", "rtmp://127.0.0.1:4711/live/verysecret?token=evenmore: timed out", "Check it.")
			return s, nil
		}
		x.run(t)
		time.Sleep(3500 * time.Millisecond)
		s, ok := x.hub.Stream("ls_1")
		if !ok || s.State() != hub.Lingering {
			t.Fatal("the stream does not wait for its source")
		}
		reason := s.Snapshot().Reason
		if !strings.Contains(reason, "timed out. Check it.") || strings.Contains(reason, "secret") || strings.Contains(reason, "evenmore") {
			t.Errorf("%q", reason)
		}
		x.end(t)
	})
}

// An encoder is stronger: while it publishes the source is left alone.
func TestEncoderIsStronger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(t, fence{}, Pull{StreamID: "ls_1", URL: address})
		x.answer = func() (Session, error) { return newSource(mediatest.Options{}), nil }
		x.run(t)
		time.Sleep(3 * time.Second)
		pub, err := x.hub.Publish("ls_1", hub.PublishOptions{Protocol: "rtmp"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if s, _ := x.Statuses("ls_1"); s.State != Idle || x.count() != 1 || pub.Err() != nil {
			t.Errorf("%+v after %d dials, the encoder: %v", s, x.count(), pub.Err())
		}
		pub.End(nil)
		time.Sleep(5 * time.Second)
		if s, _ := x.Statuses("ls_1"); s.State != Live {
			t.Errorf("%+v", s)
		}
		x.end(t)
	})
}

// Addresses that are not public are refused before anything is connected to.
func TestGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(t, fence{name: "a.example"}, Pull{StreamID: "ls_1", URL: address})
		x.answer = func() (Session, error) { return nil, errors.New("connected") }
		x.run(t)
		time.Sleep(10 * time.Second)
		if s, _ := x.Statuses("ls_1"); s.State != Errored || !strings.Contains(s.LastError, "private") || x.count() != 0 || s.Attempts != 1 {
			t.Errorf("%+v after %d dials", s, x.count())
		}
		x.end(t)
		for address, want := range map[string]fault.Kind{
			address: fault.Forbidden, "ftp://b.example/": fault.Unsupported, "file:///etc/passwd": fault.Invalid, "rtmp:opaque": fault.Invalid,
			"": fault.Invalid, "http://b.example/\n": fault.Invalid, "https://b.example/x.m3u8": "", "rtmp://b.example/live/x": "", "RTSP://b.example/": "",
		} {
			if err := x.Check(t.Context(), address); want == "" && err != nil || want != "" && !fault.Is(err, want) {
				t.Errorf("%q: %v", address, err)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{}.Validate()
	for _, key := range []string{"ffmpeg", "max-sources", "start-timeout", "stall-timeout", "idle-timeout", "max-backoff"} {
		if err == nil || !strings.Contains(err.Error(), "pull-"+key) {
			t.Errorf("%s is not checked: %v", key, err)
		}
	}
}

func TestRedact(t *testing.T) {
	for _, tt := range []struct{ url, text, want string }{
		{address, "dial " + address + ": verysecret is wrong", "dial rtmp://a.example/…: … is wrong"},
		// One secret is a part of another.
		{"rtmp://h/live/key?a=key-and-more&b=and", "key-and-more and key", "… … …"},
		{"rtmp://h/live/key/?a=bcd", "key, bcd", "…, …"},
		{"rtsp://u:pass%20word@h/x", "pass word, pass%20word of u:pass%20word", "…, … of …"},
		{"http://h/live/a%20b.m3u8#rst", "a b.m3u8 a%20b.m3u8 rst", "… … …"},
		{"::", "dial ::", "dial …"},
	} {
		if got := redact(tt.text, tt.url); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
