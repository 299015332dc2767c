package play

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/media"
)

// book holds the targets of every stream.
type book struct {
	mu      sync.Mutex
	targets []Target
	err     error
}

func (b *book) Targets(context.Context, string) ([]Target, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Target(nil), b.targets...), b.err
}

func (b *book) set(targets ...Target) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.targets = targets
}

// service is what targets are: it answers dials as its fields say.
type service struct {
	mu sync.Mutex
	// refuse is the error of each dial.
	refuse func(url string) error
	// pause is how long each write takes; stuck writes wait to be closed.
	pause time.Duration
	stuck bool
	dials []time.Time
	open  int
	got   map[string][]*media.Packet
}

func (s *service) dial(_ context.Context, url string, tracks []*media.Track) (Sender, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials = append(s.dials, time.Now())
	if s.refuse != nil {
		if err := s.refuse(url); err != nil {
			return nil, err
		}
	}
	if len(tracks) != 2 || tracks[0].Kind() != media.Video || tracks[1].Kind() != media.Audio {
		return nil, fmt.Errorf("tracks %v", tracks)
	}
	s.open++
	return &connection{service: s, url: url, closed: make(chan struct{})}, nil
}

// opened is how many connections are open, first the first packet that came to the address.
func (s *service) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

func (s *service) first(url string) *media.Packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.got[url]) == 0 {
		return &media.Packet{Track: &media.Track{}}
	}
	return s.got[url][0]
}

type connection struct {
	service *service
	url     string
	once    sync.Once
	closed  chan struct{}
}

func (c *connection) WritePacket(ctx context.Context, p *media.Packet) error {
	if c.service.stuck {
		<-c.closed
		return errors.New("closed")
	}
	if c.service.pause > 0 {
		t := time.NewTimer(c.service.pause)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.service.mu.Lock()
	defer c.service.mu.Unlock()
	if c.service.got == nil {
		c.service.got = map[string][]*media.Packet{}
	}
	c.service.got[c.url] = append(c.service.got[c.url], p)
	return nil
}

func (c *connection) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.service.mu.Lock()
		c.service.open--
		c.service.mu.Unlock()
	})
	return nil
}

type restreaming struct {
	*station
	*Restreamer
	stop context.CancelFunc
	done chan error
}

func startRestreaming(t *testing.T, b *book, s *service) *restreaming {
	t.Helper()
	st := newStation(t)
	r := NewRestreamer(DefaultRestreamConfig(), st.hub, b, s.dial, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	r.jitter = func() float64 { return 1 }
	ctx, cancel := context.WithCancel(t.Context())
	x := &restreaming{st, r, cancel, make(chan error, 1)}
	go func() { x.done <- r.Run(ctx) }()
	return x
}

func (x *restreaming) end(t *testing.T) {
	t.Helper()
	x.stop()
	if err := <-x.done; err != nil {
		t.Error(err)
	}
}

func (x *restreaming) status(t *testing.T, id string) TargetStatus {
	t.Helper()
	for _, s := range x.Statuses("ls_1") {
		if s.ID == id {
			return s
		}
	}
	return TargetStatus{}
}

const secretURL = "rtmp://a.example/app/verysecret?token=evenmore"

// Targets come and go while the stream is live; each gets the stream from a key on.
func TestTargetsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := &book{}, &service{}
		x := startRestreaming(t, b, s)
		if x.Statuses("ls_1") != nil {
			t.Error("a stream that is not live has statuses")
		}
		go x.broadcast(t, 20*time.Second)
		time.Sleep(2 * time.Second)
		b.set(Target{ID: "one", URL: secretURL}, Target{ID: "off", URL: "rtmp://b.example/app/k", Disabled: true})
		x.Changed("ls_1")
		time.Sleep(2 * time.Second)
		st := x.status(t, "one")
		if st.State != TargetBroadcasting || st.Attempts != 1 || st.Packets == 0 || st.Bytes == 0 || st.LastError != "" || time.Since(st.Since) > 2*time.Second {
			t.Errorf("%+v", st)
		}
		if n := len(x.Statuses("ls_1")); n != 1 {
			t.Errorf("%d statuses", n)
		}
		if p := s.first(secretURL); !p.Key || p.Track.Kind() != media.Video {
			t.Errorf("it begins with %+v", p)
		}
		b.set(Target{ID: "two", URL: "rtmp://c.example/app/key"}, Target{ID: "one", URL: secretURL})
		x.Changed("ls_1")
		time.Sleep(2 * time.Second)
		if got := x.Statuses("ls_1"); len(got) != 2 || got[0].ID != "two" || got[1].Attempts != 1 || s.opened() != 2 {
			t.Errorf("%+v, %d open", got, s.opened())
		}
		b.set(Target{ID: "two", URL: "rtmp://c.example/app/other"})
		x.Changed("ls_1")
		time.Sleep(time.Second)
		if got := x.Statuses("ls_1"); len(got) != 1 || got[0].Attempts != 1 || s.opened() != 1 || !s.first("rtmp://c.example/app/other").Key {
			t.Errorf("%+v, %d open", got, s.opened())
		}
		time.Sleep(20 * time.Second) // the stream ends
		if x.Statuses("ls_1") != nil || s.opened() != 0 {
			t.Errorf("%+v, %d open", x.Statuses("ls_1"), s.opened())
		}
		x.end(t)
	})
}

// A target that cannot be reached is tried again, ever more seldom, and its secrets are told
// to nobody.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := &book{}, &service{refuse: func(url string) error { return fmt.Errorf("dial %q: no", url) }}
		b.set(Target{ID: "one", URL: secretURL})
		x := startRestreaming(t, b, s)
		go x.broadcast(t, 5*time.Minute)
		time.Sleep(4 * time.Minute)
		st := x.status(t, "one")
		if st.State != TargetErrored || st.Attempts != len(s.dials) {
			t.Errorf("%+v after %d dials", st, len(s.dials))
		}
		if !strings.Contains(st.LastError, "a.example") || strings.Contains(st.LastError, "secret") || strings.Contains(st.LastError, "evenmore") {
			t.Errorf("it says %q", st.LastError)
		}
		s.mu.Lock()
		dials := append([]time.Time(nil), s.dials...)
		s.mu.Unlock()
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			if d := dials[i+1].Sub(dials[i]); d != want*time.Second {
				t.Errorf("pause %d was %v, want %ds", i, d, want)
			}
		}
		s.mu.Lock()
		s.refuse = nil
		s.mu.Unlock()
		time.Sleep(50 * time.Second)
		if st := x.status(t, "one"); st.State != TargetBroadcasting || st.LastError == "" {
			t.Errorf("%+v", st)
		}
		x.end(t)
		time.Sleep(time.Minute)
	})
}

func TestPauses(t *testing.T) {
	r := &Restreamer{cfg: DefaultRestreamConfig(), jitter: func() float64 { return 0 }}
	s := &sending{r: r}
	if d := s.pause(0, errors.New("no")); d != minBackoff/2 {
		t.Errorf("the shortest is %v", d)
	}
	if d := s.pause(0, fault.New(fault.Unsupported, "", "", "", "")); d != time.Minute/2 {
		t.Errorf("what cannot work is tried after %v", d)
	}
	if d := s.pause(1000, errors.New("no")); d != time.Minute/2 {
		t.Errorf("the longest is %v", d)
	}
}

// A conversion that is not possible is an error of the target by name.
func TestTargetCannotCarry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := &book{}, &service{refuse: func(string) error {
			return fault.New(fault.Unsupported, "publish", "", "RTMP has no name for AC-3", "Send AAC.")
		}}
		b.set(Target{ID: "one", URL: secretURL})
		x := startRestreaming(t, b, s)
		go x.broadcast(t, 20*time.Second)
		time.Sleep(15 * time.Second)
		if st := x.status(t, "one"); st.State != TargetErrored || !strings.Contains(st.LastError, "AC-3") || st.Attempts != 1 {
			t.Errorf("%+v", st)
		}
		x.end(t)
		time.Sleep(time.Minute)
	})
}

// A slow target is connected anew once it is 5 s behind, a stuck one after 10 s; the stream
// and another target go on meanwhile.
func TestSlowTargets(t *testing.T) {
	for name, s := range map[string]*service{"slow": {pause: 60 * time.Millisecond}, "stuck": {stuck: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &book{}
				b.set(Target{ID: "one", URL: secretURL})
				x := startRestreaming(t, b, s)
				done := make(chan struct{})
				start := time.Now()
				go func() {
					defer close(done)
					x.broadcast(t, 40*time.Second)
				}()
				time.Sleep(30 * time.Second)
				st := x.status(t, "one")
				if st.Attempts < 2 || st.LastError == "" {
					t.Errorf("%+v", st)
				}
				if name == "slow" && (st.Dropped == 0 || !strings.Contains(st.LastError, "behind")) {
					t.Errorf("%+v", st)
				}
				if name == "stuck" && !strings.Contains(st.LastError, "no data") {
					t.Errorf("%+v", st)
				}
				<-done
				if d := time.Since(start); d > 41*time.Second {
					t.Errorf("the stream took %v", d)
				}
				x.end(t)
			})
		})
	}
}

func TestRedact(t *testing.T) {
	for _, tt := range []struct{ url, text, want string }{
		{"rtmp://h/app/abc-def", "publish rtmp://h/app/abc-def: no", "publish rtmp://h/app/…: no"},
		{"rtmp://h/app/a%2Fbc", `key "a/bc" refused at rtmp://h/app/a%2Fbc`, `key "…" refused at rtmp://h/app/…`},
		{"srt://h:1?streamid=publish:k1&passphrase=0123456789", "srt://h:1?streamid=publish:k1&passphrase=0123456789 says publish:k1, 0123456789", "srt://h:1?… says …, …"},
		{"rtmp://u:pass@h/app/key", "u:pass@h pass key", "…@h … …"},
		{"rtmp://h/app/abc-def/", "rtmp://h/app/abc-def/ says abc-def", "rtmp://h/app/…/ says …"},
		{"rtmp://h/app/abc-def//?x=uvw#rst", "abc-def uvw rst", "… … …"},
		{"::", "dial ::", "dial …"},
		{"rtmp://h/app", "dial h", "dial h"},
	} {
		if got := redact(tt.text, tt.url); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestRestreamConfig(t *testing.T) {
	if err := DefaultRestreamConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := RestreamConfig{}.Validate()
	for _, key := range []string{"targets", "lag", "dial-timeout", "write-timeout", "backoff"} {
		if err == nil || !strings.Contains(err.Error(), "restream-max-"+key) && !strings.Contains(err.Error(), "restream-"+key) {
			t.Errorf("%s is not checked: %v", key, err)
		}
	}
}
