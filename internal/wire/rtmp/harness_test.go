package rtmp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortmplib/pkg/amf0"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"onair/internal/fault"
	"onair/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// goodKey is the key and the playback id that the test station takes.
const goodKey = "sk_good"

// station is a Handler that keeps what one publisher sends, and sends it to players.
type station struct {
	mu      sync.Mutex
	keys    []string
	queries []string
	encoder string
	// protocol, backup and link are what the last publisher was.
	protocol string
	backup   bool
	link     func() media.Link
	meta     map[string]any
	tracks   []*media.Track
	packets  []*media.Packet
	ended    error
	// done is closed when a publisher ended, accepted when one was let in.
	done, accepted chan struct{}
	// admit decides; nil takes goodKey.
	admit func(key string) error
	// kick, if it fires, cuts the publisher off with its error.
	kick chan error
	// source is what players get.
	source func() ([]*media.Track, media.Source)
	// supports keeps what a player said it can take.
	supports map[media.Codec]bool
	playErr  error
}

func newStation() *station {
	return &station{done: make(chan struct{}), accepted: make(chan struct{}), kick: make(chan error, 1)}
}

func (s *station) check(key string) error {
	if s.admit != nil {
		return s.admit(key)
	}
	if key != goodKey {
		return fault.New(fault.Unauthorized, "publish", "", "the stream key is not known", "Copy it from the stream's page")
	}
	return nil
}

func (s *station) ServePublish(ctx context.Context, r *PublishRequest) {
	s.mu.Lock()
	s.keys = append(s.keys, r.Key())
	s.queries = append(s.queries, r.Query())
	s.protocol, s.backup, s.link = r.Protocol(), r.Backup(), r.Link
	s.mu.Unlock()
	if err := s.check(r.Key()); err != nil {
		r.Reject(err)
		return
	}
	if err := r.Accept(ctx); err != nil {
		r.Close(err)
		return
	}
	close(s.accepted)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case err := <-s.kick:
			cancel(err)
		case <-stop:
		}
	})
	defer watching.Wait()
	defer close(stop)
	err := media.Copy(ctx, s, r)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	s.mu.Lock()
	s.ended, s.encoder, s.meta, s.tracks = err, r.Encoder(), r.Metadata(), r.Tracks()
	s.mu.Unlock()
	if !errors.Is(err, context.Canceled) {
		r.Close(err)
	}
	close(s.done)
}

func (s *station) WritePacket(_ context.Context, p *media.Packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets = append(s.packets, p)
	return nil
}

func (s *station) ServePlay(ctx context.Context, r *PlayRequest) {
	if r.PlaybackID() != goodKey || s.source == nil {
		r.Reject(fault.New(fault.NotFound, "play", "", "the stream is not live", "Try again later"))
		return
	}
	tracks, src := s.source()
	s.mu.Lock()
	s.supports = make(map[media.Codec]bool)
	for c := media.H264; c <= media.FLAC; c++ {
		s.supports[c] = r.Supports(c)
	}
	s.mu.Unlock()
	if err := r.Accept(ctx, tracks); err != nil {
		r.Close(err)
		return
	}
	err := media.Copy(ctx, r, src)
	s.mu.Lock()
	s.playErr = err
	s.mu.Unlock()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	r.Close(err)
}

func (s *station) wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the publisher did not end")
	}
}

// server is a running Server with its address.
type server struct {
	*Server
	reg  *prometheus.Registry
	stop func() // ends Run and waits for it
}

func (s *server) url(key string) string { return "rtmp://" + s.Addr().String() + "/live/" + key }

func testConfig() Config {
	c := DefaultConfig()
	c.Listen = "127.0.0.1:0"
	return c
}

// serve runs a server until the test ends.
func serve(t testing.TB, cfg Config, h Handler) *server {
	t.Helper()
	return serveWith(t, cfg, nil, h, logTo{t})
}

func serveWith(t testing.TB, cfg Config, certificates *tls.Config, h Handler, out io.Writer) *server {
	t.Helper()
	reg := prometheus.NewRegistry()
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv, err := Listen(cfg, certificates, log, reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- srv.Run(ctx, h) }()
	var once sync.Once
	s := &server{Server: srv, reg: reg}
	s.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-result; err != nil {
				t.Errorf("Run returned %v", err)
			}
		})
	}
	t.Cleanup(s.stop)
	return s
}

// safeBuffer is a buffer that a log and a test share.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type logTo struct{ t testing.TB }

func (l logTo) Write(b []byte) (int, error) {
	if testing.Verbose() {
		l.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// open counts the connections that are served.
func (s *server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// rejected reads onair_rtmp_rejected_total of a reason.
func (s *server) rejected(t testing.TB, reason string) float64 {
	t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "onair_rtmp_rejected_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// settle waits until no more goroutines are left than that: one whose end was waited for may
// still be there for a moment.
func settle(t *testing.T, goroutines int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines stay", runtime.NumGoroutine()-goroutines)
		}
	}
}

func connectProperties(tcURL string) amf0.Object {
	return amf0.Object{
		{Key: "app", Value: "live"},
		{Key: "flashVer", Value: "FMLE/3.0"},
		{Key: "tcUrl", Value: tcURL},
	}
}

func contains(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }
