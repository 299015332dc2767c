package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"onair/internal/control/auth"
	"onair/internal/control/store"
	"onair/internal/event"
	"onair/internal/hub"
	"onair/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeStreams plays the hub.
type fakeStreams struct {
	mu     sync.Mutex
	live   map[string]hub.Snapshot
	kicked map[string][]error
}

func (f *fakeStreams) Snapshot(id string) (hub.Snapshot, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.live[id]
	return s, ok
}

func (f *fakeStreams) Kick(id string, err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kicked[id] = append(f.kicked[id], err)
	_, ok := f.live[id]
	delete(f.live, id)
	return ok
}

func (f *fakeStreams) Viewers(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.live[id]; ok {
		return 7
	}
	return 0
}

func (f *fakeStreams) kicks(id string) []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kicked[id]
}

// goLive makes a stream live, or lingering.
func (f *fakeStreams) goLive(id string, state hub.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	since := time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)
	s := hub.Snapshot{Name: id, State: state, Since: since, Bitrate: 2_600_000.12345, Bytes: 99}
	if state == hub.Live {
		s.Publisher = &hub.Publisher{Session: "se_1", Protocol: "rtmp", Peer: "192.0.2.9:5000", Encoder: "obs", Since: since}
		s.Tracks = []hub.TrackSnapshot{
			{ID: 1, Kind: media.Video, Codec: media.H264, CodecString: "avc1.64001f", Width: 1280, Height: 720, FrameRate: 30, MeasuredFrameRate: 29.97, Bitrate: 2_500_000, KeyframeInterval: 2 * time.Second},
			{ID: 2, Kind: media.Audio, Codec: media.AAC, CodecString: "mp4a.40.2", SampleRate: 48000, Channels: 2, Bitrate: math.Inf(1)},
		}
	}
	f.live[id] = s
}

// harness is the whole API on a real store.
type harness struct {
	t       *testing.T
	api     *API
	store   *store.Store
	auth    *auth.Auth
	bus     *event.Bus
	streams *fakeStreams
	token   string
	log     *syncBuffer

	requests int
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newHarness(t *testing.T, change ...func(*Deps)) *harness {
	t.Helper()
	h := &harness{t: t, bus: event.NewBus(), log: new(syncBuffer), streams: &fakeStreams{live: map[string]hub.Snapshot{}, kicked: map[string][]error{}}}
	log := slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := store.DefaultConfig()
	cfg.Dir = t.TempDir()
	var err error
	if h.store, err = store.Open(t.Context(), cfg, log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.store.Close() })
	reg := prometheus.NewRegistry()
	if h.auth, err = auth.New(t.Context(), h.store, log, reg); err != nil {
		t.Fatal(err)
	}
	if h.token, _, err = h.auth.EnsureAdminToken(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	d := Deps{
		Store: h.store, Auth: h.auth, Streams: h.streams, Bus: h.bus, Log: log, Registerer: reg,
		Version: "0.1.0-test", RTMPPort: 1935,
	}
	for _, c := range change {
		c(&d)
	}
	if h.api, err = New(d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.api.Drain)
	return h
}

// request makes an authorized request; header is pairs of name and value.
func (h *harness) request(method, path, body string, header ...string) *http.Request {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequestWithContext(context.WithoutCancel(h.t.Context()), method, "http://live.test:8080"+path, r)
	req.Header.Set("Authorization", "Bearer "+h.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	return req
}

func (h *harness) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, h.request(method, path, body, header...))
	return w
}

// want makes a request, wants a status, and decodes the answer.
func (h *harness) want(status int, method, path, body string, header ...string) map[string]any {
	h.t.Helper()
	return decode(h.t, status, h.do(method, path, body, header...))
}

func decode(t *testing.T, status int, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if status == http.StatusNoContent {
		if w.Body.Len() > 0 {
			t.Errorf("204 with a body: %s", w.Body)
		}
		return nil
	}
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	ct := w.Header().Get("Content-Type")
	if status < 400 {
		if ct != "application/json" {
			t.Errorf("Content-Type %q", ct)
		}
		return v
	}
	if ct != problemType {
		t.Errorf("Content-Type %q of a problem", ct)
	}
	for _, k := range []string{"type", "title", "detail", "code", "request_id"} {
		if s, _ := v[k].(string); s == "" {
			t.Errorf("the problem has no %s: %s", k, w.Body)
		}
	}
	if v["status"] != float64(status) || v["request_id"] != w.Header().Get("X-Request-Id") {
		t.Errorf("status %v, request id %v in the problem", v["status"], v["request_id"])
	}
	return v
}

func (h *harness) create(body string) map[string]any {
	h.t.Helper()
	return h.want(http.StatusCreated, "POST", "/v1/live-streams", body)
}

func str(t *testing.T, v map[string]any, key string) string {
	t.Helper()
	s, ok := v[key].(string)
	if !ok {
		t.Fatalf("%s is %v", key, v[key])
	}
	return s
}

func (h *harness) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	return w
}

// limitless sends every request from another address, so that the limit on wrong
// tokens does not get in the way of a table of them.
type limitless struct{ h *harness }

func (l limitless) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := l.h.request(method, path, body, header...)
	l.h.requests++
	r.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", l.h.requests/250, l.h.requests%250)
	if strings.HasPrefix(path, "/v1/events") { // a feed that opened by mistake must end
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		r = r.WithContext(ctx)
	}
	return l.h.serve(r)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
