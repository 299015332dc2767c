package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"onair/internal/control/store"
	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
	"onair/internal/wire/rtmp"
)

const testToken = "node-test-admin-token"

// harness is a running node.
type harness struct {
	*Node
	t    *testing.T
	log  *logBuffer
	http *http.Client
	stop func() error
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testConfig(t *testing.T) Config {
	cfg := DefaultConfig()
	cfg.Data = t.TempDir()
	cfg.HTTP, cfg.RTMP.Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.SRT.Listen, cfg.RTC.Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.AdminToken = testToken
	cfg.LogLevel, cfg.LogFormat = "debug", "text"
	return cfg
}

func serve(t *testing.T) *harness {
	t.Helper()
	return serveWith(t, testConfig(t))
}

func serveWith(t *testing.T, cfg Config) *harness {
	t.Helper()
	h := &harness{t: t, log: &logBuffer{}, http: &http.Client{Transport: &http.Transport{}}}
	n, err := New(t.Context(), cfg, "test", NewLogger(cfg, h.log))
	if err != nil {
		t.Fatal(err)
	}
	h.Node = n
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	h.stop = sync.OnceValue(func() error {
		h.http.CloseIdleConnections()
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return h
}

func (h *harness) get(path string) (int, string) {
	h.t.Helper()
	res, err := h.http.Get("http://" + h.HTTPAddr().String() + path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// getUntil asks until the answer contains a text: what was published is seen a moment
// later.
func (h *harness) getUntil(path, text string) string {
	h.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		status, body := h.get(path)
		if status == 200 && strings.Contains(body, text) {
			return body
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: status %d, without %q:\n%s", path, status, text, body)
		}
	}
}

// publish sends seconds of synthetic media as fast as the server takes it, and stays
// connected until the returned function is called.
func (h *harness) publish(key string, seconds time.Duration) (*rtmp.Publisher, error) {
	p, err := rtmp.DialPublish(h.t.Context(), "rtmp://"+h.RTMPAddr().String()+"/live/"+key)
	if err != nil {
		return nil, err
	}
	g := mediatest.NewGenerator(mediatest.Options{Duration: seconds})
	for {
		packet, err := g.ReadPacket(h.t.Context())
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err == nil {
			err = p.WritePacket(h.t.Context(), packet)
		}
		if err != nil {
			p.Close()
			return nil, err
		}
	}
}

func TestBroadcastFromEncoderToViewer(t *testing.T) {
	for name, short := range map[string]bool{"through the short loop": true, "through net/http": false} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.HTTPShortLoop = short
			h := serveWith(t, cfg)
			broadcast(t, h)
			const counter = "onair_http_short_requests_total"
			if _, text := h.get("/metrics"); strings.Contains(text, counter) != short || strings.Contains(text, counter+" 0") {
				t.Errorf("short loop %v, and the metrics are\n%s", short, text)
			}
		})
	}
}

func broadcast(t *testing.T, h *harness) {
	demo, err := h.DemoStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.publish(demo.StreamKey, 8*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	master := h.getUntil("/hls/"+demo.PlaybackID+"/index.m3u8", "avc1.")
	if !strings.Contains(master, "mp4a.40.2") {
		t.Fatal(master)
	}
	media := ""
	for _, line := range strings.Split(master, "\n") {
		if line != "" && line[0] != '#' {
			media = line
		}
	}
	playlist := h.getUntil("/hls/"+demo.PlaybackID+"/"+media, "#EXT-X-PART:")
	if !strings.Contains(playlist, "#EXTINF") {
		t.Fatal(playlist)
	}
}

func TestKeysAreNotInTheLog(t *testing.T) {
	h := serve(t)
	demo, err := h.DemoStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.publish(demo.StreamKey, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	if _, err := h.publish("sk_wrongwrongwrong", time.Second); err == nil {
		t.Error("a wrong key was taken")
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/v1/events?token=" + testToken} {
		_, body := h.get(path)
		if strings.Contains(body, demo.StreamKey) || strings.Contains(body, "sk_wrong") {
			t.Errorf("a key is in %s", path)
		}
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{demo.StreamKey, "sk_wrongwrongwrong", testToken} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	if h.log.String() == "" {
		t.Error("nothing was logged, so nothing was shown")
	}
}

// TestThreeHundredBroadcasts leaves memory and goroutines where they were.
func TestThreeHundredBroadcasts(t *testing.T) {
	h := serve(t)
	// Streams side by side, for a broadcast takes its time however short it is.
	const abreast = 20
	var keys []string
	for range abreast {
		l, err := h.store.CreateLiveStream(t.Context(), store.LiveStream{LatencyMode: string(media.LatencyLow), ReconnectWindow: time.Minute}, []store.Policy{store.Public})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, l.StreamKey)
	}
	cycle := func(n int) {
		var publishers sync.WaitGroup
		for _, key := range keys {
			publishers.Go(func() {
				for range n / abreast {
					p, err := h.publish(key, 500*time.Millisecond)
					if err != nil {
						t.Error(err)
						return
					}
					p.Close()
				}
			})
		}
		publishers.Wait()
		h.waitIdle()
	}
	cycle(20)
	goroutines, heap := usage()
	cycle(300)
	// A connection's goroutine ends some time after its stream.
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > goroutines+5; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after", goroutines, runtime.NumGoroutine())
		}
	}
	_, heapAfter := usage()
	// Ended broadcasts stay for viewers for a while, so that their number and not the
	// number of cycles bounds memory.
	if heapAfter > heap+16<<20 {
		t.Errorf("heap grew from %d to %d KiB", heap>>10, heapAfter>>10)
	}
}

// waitIdle waits until the hub has no stream.
func (h *harness) waitIdle() {
	h.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for len(h.hub.Snapshots()) > 0 {
		if time.Now().After(deadline) {
			h.t.Fatalf("streams are still there: %+v", h.hub.Snapshots())
		}
		runtime.Gosched()
	}
}

func usage() (goroutines int, heap uint64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}

func TestReadyEndsWithTheDrain(t *testing.T) {
	h := serve(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := h.get(path); status != 200 || body != "ok\n" {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	h.draining.Store(true)
	if status, _ := h.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz of a draining node: %d", status)
	}
}

func TestStartNamesWhatIsWrong(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tt := range []struct {
		name   string
		change func(*Config)
		kind   fault.Kind
		says   string
	}{
		{"busy HTTP port", func(c *Config) { c.HTTP = busy.Addr().String() }, fault.Conflict, "--http"},
		{"busy RTMP port", func(c *Config) { c.RTMP.Listen = busy.Addr().String() }, fault.Conflict, "--rtmp"},
		{"data folder below a file", func(c *Config) { c.Data = "node_test.go/data" }, fault.Unavailable, "--data"},
		{"no data folder", func(c *Config) { c.Data = "" }, fault.Invalid, "data"},
		{"bad public URL", func(c *Config) { c.PublicURL = "example.com" }, fault.Invalid, "https://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(t)
			tt.change(&cfg)
			n, err := New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
			if err == nil {
				n.Close()
				t.Fatal("it starts")
			}
			if fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v", fault.KindOf(err), err)
			}
		})
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	l := limitConnections(inner, 1, reg).(*limitedListener)
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := dial()
	defer first.Close()
	held := <-accepted
	second := dial()
	defer second.Close()
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("a connection over the limit stays open")
	}
	if n := testutil.ToFloat64(l.rejected); n != 1 {
		t.Errorf("%v connections counted as rejected", n)
	}
	held.Close()
	held.Close() // gives its slot back once
	third := dial()
	defer third.Close()
	(<-accepted).Close()
	if n := testutil.ToFloat64(l.open); n != 0 {
		t.Errorf("%v connections counted as open", n)
	}
}

func TestDemoStreamIsKept(t *testing.T) {
	h := serve(t)
	first, err := h.DemoStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.DemoStream(t.Context())
	if err != nil || again != first {
		t.Errorf("second call: %+v, %v; want %+v", again, err, first)
	}
	page, _, err := h.store.LiveStreams(t.Context(), 10, "")
	if err != nil || len(page) != 1 {
		t.Fatalf("%d streams, %v", len(page), err)
	}
	if _, err := h.store.DeleteLiveStream(t.Context(), page[0].ID); err != nil {
		t.Fatal(err)
	}
	if anew, err := h.DemoStream(t.Context()); err != nil || anew == first {
		t.Errorf("after it was deleted: %+v, %v", anew, err)
	}
}

// TestAPIShowsTheBroadcast follows one broadcast through the API.
func TestAPIShowsTheBroadcast(t *testing.T) {
	h := serve(t)
	demo, err := h.DemoStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.publish(demo.StreamKey, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	body := h.getUntil("/v1/playback/"+demo.PlaybackID, "active")
	var answer struct{ Status string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Status != "active" {
		t.Errorf("%v: %s", err, body)
	}
	if status, _ := h.get("/v1/live-streams"); status != http.StatusUnauthorized {
		t.Errorf("the list without a token: %d", status)
	}
}
