package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"onair/internal/event"
)

// feed is a client of /v1/events on a real server.
type feed struct {
	t    *testing.T
	resp *http.Response
	r    *bufio.Reader
}

type sseEvent struct{ id, name, data string }

func openFeed(t *testing.T, h *harness, srv *httptest.Server, query string, header ...string) *feed {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	f := &feed{t, resp, bufio.NewReader(resp.Body)}
	if resp.StatusCode == http.StatusOK {
		if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
			t.Errorf("Content-Type %q", ct)
		}
		f.next() // the greeting: from here on nothing is missed
	}
	return f
}

// next reads one block; comments come back with an empty name.
func (f *feed) next() (e sseEvent) {
	f.t.Helper()
	for {
		line, err := f.r.ReadString('\n')
		if err != nil {
			f.t.Fatalf("the feed ended: %v", err)
		}
		switch k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); k {
		case "id":
			e.id = v
		case "event":
			e.name = v
		case "data":
			e.data = v
		case "":
			if v == "" {
				return e
			}
			e.data += v
		}
	}
}

func newServer(t *testing.T, h *harness) *httptest.Server {
	srv := httptest.NewServer(h.api)
	t.Cleanup(srv.Close)
	t.Cleanup(h.api.Drain) // before the server closes, which waits for its requests
	return srv
}

func TestEventsFollow(t *testing.T) {
	h := newHarness(t)
	srv := newServer(t, h)
	f := openFeed(t, h, srv, "")
	l := h.create(`{"title":"x"}`)
	id := str(t, l, "id")
	e := f.next()
	if e.name != "live_stream.created" || e.id != "1" {
		t.Errorf("got %+v", e)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(e.data), &m); err != nil {
		t.Fatal(err)
	}
	if m["seq"] != 1.0 || m["type"] != "live_stream.created" || m["live_stream_id"] != id || m["at"] == "" ||
		m["data"].(map[string]any)["change"] != "created" {
		t.Errorf("message %v", m)
	}
	h.bus.Publish(event.StreamReconnecting{StreamID: id, Reason: "line\nbreak\r\n\nevent: forged"})
	if e := f.next(); e.name != "live_stream.reconnecting" || e.id != "2" {
		t.Errorf("got %+v", e)
	}
	h.bus.Publish(event.StreamIdle{StreamID: "ls_other"})
	if e := f.next(); e.id != "3" || e.name != "live_stream.idle" {
		t.Errorf("got %+v, want event 3 and nothing forged before it", e)
	}
	if n := testutil.ToFloat64(h.api.openFeed); n != 1 {
		t.Errorf("%v feeds are open", n)
	}
}

func TestEventsResume(t *testing.T) {
	h := newHarness(t)
	srv := newServer(t, h)
	for range 5 {
		h.bus.Publish(event.StreamIdle{StreamID: "a"})
	}
	f := openFeed(t, h, srv, "", "Last-Event-ID", "3")
	if a, b := f.next(), f.next(); a.id != "4" || b.id != "5" {
		t.Errorf("resumed with %+v, %+v", a, b)
	}
	for _, bad := range []string{"x", "-1", "99999999999999999999", "1.5", strings.Repeat("1", 30)} {
		if f := openFeed(t, h, srv, "", "Last-Event-ID", bad); f.resp.StatusCode != 422 || f.resp.Header.Get("Content-Type") != problemType {
			t.Errorf("Last-Event-ID %s: %s", bad, f.resp.Status)
		}
	}
}

func TestEventsTellOfLag(t *testing.T) {
	h := newHarness(t)
	srv := newServer(t, h)
	for range 3000 {
		h.bus.Publish(event.StreamIdle{StreamID: "a"})
	}
	f := openFeed(t, h, srv, "", "Last-Event-ID", "1")
	e := f.next()
	if e.name != "lagged" || e.id != "" || !strings.Contains(e.data, `"missed":1975`) {
		t.Errorf("got %+v", e)
	}
	if e := f.next(); e.id != "1977" {
		t.Errorf("went on with %+v", e)
	}
}

func TestEventsOfOneStream(t *testing.T) {
	h := newHarness(t)
	srv := newServer(t, h)
	f := openFeed(t, h, srv, "?live_stream_id=b")
	for _, id := range []string{"a", "b", "c", "b"} {
		h.bus.Publish(event.StreamIdle{StreamID: id})
	}
	if a, b := f.next(), f.next(); a.id != "2" || b.id != "4" {
		t.Errorf("got %+v, %+v", a, b)
	}
}

func TestEventFeedsAreBounded(t *testing.T) {
	h := newHarness(t)
	srv := newServer(t, h)
	var all []*feed
	for range maxFeeds {
		all = append(all, openFeed(t, h, srv, ""))
	}
	over := openFeed(t, h, srv, "")
	if over.resp.StatusCode != 429 || over.resp.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %s", over.resp.Status)
	}
	if n := testutil.ToFloat64(h.api.rejected.WithLabelValues("event_feeds")); n != 1 {
		t.Errorf("counted %v", n)
	}
	// Another connection than those of the feeds: the API still answers.
	h.want(200, "GET", "/v1/session", "")
	h.api.Drain()
	for _, f := range all {
		if e := f.next(); e.data != "the server is stopping" {
			t.Errorf("the end is told as %+v", e)
		}
		if _, err := f.r.ReadByte(); err == nil {
			t.Error("the feed goes on after the drain")
		}
	}
	if late := openFeed(t, h, srv, ""); late.resp.StatusCode != 503 {
		t.Errorf("after the drain: %s", late.resp.Status)
	}
}

// streamWriter is a client that takes what it is sent, or stalls.
type streamWriter struct {
	mu      sync.Mutex
	header  http.Header
	buf     bytes.Buffer
	stalled bool
	until   time.Time
}

func (w *streamWriter) Header() http.Header { return w.header }
func (w *streamWriter) WriteHeader(int)     {}
func (w *streamWriter) Flush()              {}

func (w *streamWriter) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = t
	return nil
}

func (w *streamWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stalled {
		time.Sleep(time.Until(w.until)) // in the bubble's time, as a full socket would
		return 0, context.DeadlineExceeded
	}
	return w.buf.Write(p)
}

func (w *streamWriter) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func (w *streamWriter) stall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stalled = true
}

func TestEventsPingAndGiveUpOnStalledClients(t *testing.T) {
	h := newHarness(t)
	synctest.Test(t, func(t *testing.T) {
		bus := event.NewBus()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		a := &API{deps: h.api.deps, draining: ctx, feeds: h.api.feeds, rejected: h.api.rejected, openFeed: h.api.openFeed}
		a.deps.Bus = bus
		w := &streamWriter{header: http.Header{}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.serveEvents(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/events", nil), bus.Listen(), "mine")
		}()
		time.Sleep(pingEvery - time.Second)
		// Events of other streams must not keep a proxy from hearing the ping.
		bus.Publish(event.StreamIdle{StreamID: "other"})
		time.Sleep(time.Second)
		synctest.Wait()
		if n := strings.Count(w.text(), ": ping\n\n"); n != 1 {
			t.Errorf("%d pings after 15 s in %q", n, w.text())
		}
		time.Sleep(2 * pingEvery)
		synctest.Wait()
		if n := strings.Count(w.text(), ": ping\n\n"); n != 3 {
			t.Errorf("%d pings after 45 s", n)
		}
		w.stall()
		start := time.Now()
		bus.Publish(event.StreamIdle{StreamID: "mine"})
		<-done
		if took := time.Since(start); took != writeTime {
			t.Errorf("a stalled client was given up after %v, want %v", took, writeTime)
		}
	})
}

func TestEventsHead(t *testing.T) {
	h := newHarness(t)
	if w := h.do("HEAD", "/v1/events", ""); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("HEAD: %d, %d bytes", w.Code, w.Body.Len())
	}
	if n := len(h.api.feeds); n != 0 {
		t.Errorf("%d slots are taken", n)
	}
}
