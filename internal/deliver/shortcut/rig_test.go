package shortcut

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/audience"
	"onair/internal/deliver/hls"
	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

const (
	streamID, playbackID = "ls_test", "pb_test"
	child                = "/hls/" + playbackID + "/0123456789abcdef/"
)

var testConfig = Config{HeadTime: 5 * time.Second, IdleTime: 90 * time.Second, DrainTime: time.Second}

var quiet = slog.New(slog.DiscardHandler)

type directory struct{}

func (directory) StreamOf(_ context.Context, id string) (string, error) {
	if id == playbackID {
		return streamID, nil
	}
	return "", fault.New(fault.NotFound, "play", id, "there is no such playback id", "")
}

// broadcast is a real handler with a real stream. Its media is all there at once.
type broadcast struct {
	handler *hls.Handler
	hub     *hub.Hub
	ladder  ladder
	packer  *pack.Packer
	pub     *hub.Publication
	reg     *prometheus.Registry
	names   []string // of a segment, a part and an initialization section
	close   func()
}

func newBroadcast(t testing.TB) *broadcast {
	t.Helper()
	h := hub.New(hub.DefaultConfig(), event.NewBus(), quiet, prometheus.NewRegistry())
	cfg := pack.DefaultConfig()
	cfg.KeepEnded = time.Hour
	b := &broadcast{hub: h, packer: pack.New(cfg, h, quiet, prometheus.NewRegistry())}
	b.reg = prometheus.NewRegistry()
	b.ladder.first = make(chan struct{})
	b.handler = hls.NewHandler(hls.DefaultConfig(), b.packer, directory{}, &b.ladder, audience.New(hls.DefaultConfig().Audience()), quiet, b.reg)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.packer.Run(ctx) }()
	b.close = func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		h.Close(io.EOF)
	}
	var err error
	b.pub, err = h.Publish(streamID, hub.PublishOptions{Session: "s", LatencyMode: media.LatencyLow, Linger: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	const length = 12 * time.Second
	gen := mediatest.NewGenerator(mediatest.Options{Duration: length, Start: time.Now().Add(-length)})
	tracks := map[*media.Track]*media.Track{}
	for {
		p, err := gen.ReadPacket(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if tracks[p.Track] == nil {
			if tracks[p.Track], err = bitstream.Describe(p.Track); err != nil {
				t.Fatal(err)
			}
		}
		p.Track = tracks[p.Track]
		if err := b.pub.WritePacket(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	b.wait("v0", func(s *pack.Stream) bool {
		r, ok := s.Rendition("v0")
		if !ok || r.Snapshot().Open == nil {
			return false
		}
		return len(r.Snapshot().Segments) == 5 && len(r.Snapshot().Open.Parts) == 3 // all that was written
	})
	snap := b.snapshot()
	seg := snap.Segments[1]
	last := snap.Segments[len(snap.Segments)-1]
	b.names = []string{seg.Name, last.Parts[0].Name, seg.Init.Name}
	return b
}

// wait waits until something is so of the stream, or of its rendition of that name.
func (b *broadcast) wait(rendition string, until func(*pack.Stream) bool) {
	s, ok := b.packer.Stream(streamID)
	for ; !ok; s, ok = b.packer.Stream(streamID) {
		runtime.Gosched() // until the packer has seen the stream
	}
	for {
		changed := s.Changed()
		var next <-chan struct{}
		if r, ok := s.Rendition(rendition); ok {
			next = r.Snapshot().Next()
		}
		if until(s) {
			return
		}
		select {
		case <-changed:
		case <-next:
		}
	}
}

func (b *broadcast) snapshot() *pack.Snapshot {
	s, _ := b.packer.Stream(streamID)
	r, _ := s.Rendition("v0")
	return r.Snapshot()
}

// end ends the broadcast, so that no request waits.
func (b *broadcast) end() {
	b.pub.End(io.EOF)
	b.wait("v0", (*pack.Stream).Ended)
}

// pipes is a listener of connections in memory, so that a bubble's time applies.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial returns the client's side of a new connection.
func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// serving is a loop, with net/http behind it.
type serving struct {
	*Server
	stop func() // as ctx ends
	wait func() // for Run to return
	rest *http.Server
}

// newServing serves what l accepts. The handler is that of what is handed over.
func newServing(t testing.TB, l net.Listener, a Answerer, h http.Handler) *serving {
	s := &serving{Server: New(testConfig, l, a, quiet, prometheus.NewRegistry())}
	s.rest = newHTTP(h)
	ctx, cancel := context.WithCancel(context.Background())
	ran, served := make(chan error, 1), make(chan struct{})
	go func() { ran <- s.Run(ctx) }()
	go func() {
		_ = s.rest.Serve(s.Rest())
		close(served)
	}()
	s.stop = cancel
	s.wait = sync.OnceFunc(func() {
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		_ = s.rest.Close()
		<-served
	})
	return s
}

func (s *serving) close() {
	s.stop()
	s.wait()
}

func newHTTP(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: testConfig.HeadTime, IdleTimeout: testConfig.IdleTime, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(quiet.Handler(), slog.LevelDebug)}
}

// answerFunc is an Answerer that writes what it returns.
type answerFunc func(ctx context.Context, r hls.Request) ([]byte, bool)

func (f answerFunc) Answer(ctx context.Context, r hls.Request, a *hls.Answer) bool {
	body, ok := f(ctx, r)
	a.Status, a.Body, a.Size, a.Limit = http.StatusOK, [][]byte{body}, len(body), 10*time.Second
	return ok
}
