// Package api is the HTTP/JSON interface below /v1: live streams, their keys and
// playback ids, their recordings, the feed of events, and what a player asks for. Its description in
// OpenAPI 3.1, made from the Go types, is served at /v1/openapi.json.
//
// Requests come with the admin token in the Authorization header, never with a cookie,
// so that no other site can make a browser act; cross-origin changes are refused all
// the same. Every error, also of routes that do not exist, is a problem of RFC 9457.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/control/auth"
	"onair/internal/control/retention"
	"onair/internal/control/store"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
)

const (
	// maxBody bounds a request's body in bytes.
	maxBody = 64 << 10
	// bodyTime bounds how long a body may take to arrive, also one that nobody reads:
	// the server looks for its end before it lets the connection go on.
	bodyTime = 10 * time.Second
)

// Streams is what the API sees of the media path.
type Streams interface {
	// Snapshot describes a live stream that the hub knows.
	Snapshot(streamID string) (hub.Snapshot, bool)
	// Kick ends a broadcast at once and tells its publisher why; false if there is none.
	Kick(streamID string, err error) bool
	// Viewers counts who watches.
	Viewers(streamID string) int
}

// Deps is what the API needs. What stands before RTMPPort is required.
type Deps struct {
	Store      *store.Store
	Auth       *auth.Auth
	Streams    Streams
	Bus        *event.Bus
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Version    string
	// RTMPPort is where encoders connect; 0 when RTMP is off.
	RTMPPort int
	// PublicURL is scheme and host as the world sees them; empty: as the request says.
	PublicURL string
	// TrustedProxies may tell the client's address, host and scheme in X-Forwarded-For,
	// -Host and -Proto. From anybody else these headers are ignored.
	TrustedProxies []netip.Prefix
	// RTMPSPort and SRTPort are where encoders connect, too; 0 when they are off. WHIP
	// and GoLive tell whether these are served beside the API.
	RTMPSPort, SRTPort int
	WHIP, GoLive       bool
	// Doctor, Targets, Pulls and Ingests tell what goes on; nil: nothing is known.
	Doctor  Doctor
	Targets Targets
	Pulls   Pulls
	Ingests Ingests
	// Assets tells of recordings and removes them; nil: recording is off, and what was
	// recorded can only be listed. Clips makes clips of them; nil: none are made.
	Assets Assets
	Clips  Clips
	// Chat is the rooms beside live streams; nil: there are none.
	Chat Chat
	// Past tells as which asset a live stream is being recorded that viewers can go back in,
	// and how far: a negative window is the whole broadcast. Nil: they cannot.
	Past func(streamID string) (assetID string, window time.Duration, ok bool)
	// WHEP, DASH and Images tell whether these are served beside the API.
	WHEP, DASH, Images bool
	// RealtimeViewers is how many may watch a stream over WebRTC that does not say
	// otherwise itself.
	RealtimeViewers int
	// CheckLadder refuses what the server cannot encode; nil: it takes defaults only.
	CheckLadder func(profile string, rungs []string, mode string) error
	// Ladder and Encoding tell what is encoded, Steer how a viewer is to play; nil: nothing
	// is encoded, and everybody plays HLS.
	Ladder   Ladder
	Encoding Encoders
	Steer    Steer
}

// API serves everything below /v1.
type API struct {
	deps     Deps
	mux      *http.ServeMux
	patterns []string // what is registered at mux, for the tests
	huma     huma.API
	origins  *http.CrossOriginProtection
	spec     spec
	// retention looks at assets and removes them.
	retention retention.Assets
	bodyTime  time.Duration // bodyTime; the tests have less of it
	feeds     chan struct{} // a slot for every open event feed
	draining  context.Context
	drain     context.CancelFunc

	requests *prometheus.CounterVec
	rejected *prometheus.CounterVec
	openFeed prometheus.Gauge
}

// New returns the handler for /v1. Its Drain is to be called when the server stops.
func New(d Deps) (*API, error) {
	const op = "set up the API"
	a := &API{
		deps: d, mux: http.NewServeMux(), origins: http.NewCrossOriginProtection(),
		feeds: make(chan struct{}, maxFeeds), bodyTime: bodyTime, retention: removes(d),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_api_requests_total", Help: "Requests answered, by route and status code.",
		}, []string{"route", "code"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_api_rejected_total",
			Help: "What a bound refused or dropped, by reason: body, event_feeds, events_lagged, idempotency_evicted, cross_origin.",
		}, []string{"reason"}),
		openFeed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onair_api_event_feeds", Help: "Open event feeds.",
		}),
	}
	a.draining, a.drain = context.WithCancel(context.Background())
	if d.PublicURL != "" {
		if err := a.origins.AddTrustedOrigin(trimSlash(d.PublicURL)); err != nil {
			return nil, fault.Wrap(fault.Invalid, "read the configuration", "public-url", err,
				"Write scheme and host only, such as https://live.example.com.")
		}
	}
	for _, c := range []prometheus.Collector{a.requests, a.rejected, a.openFeed} {
		if err := d.Registerer.Register(c); err != nil {
			return nil, fault.Wrap(fault.Internal, op, "", err, "")
		}
	}
	a.huma = humago.New(recordingMux{a}, openAPIConfig(a, d.Version))
	a.huma.UseMiddleware(a.authorize, a.readBody, a.idempotent)
	a.routes()
	if err := a.finishSpec(); err != nil {
		return nil, fault.Wrap(fault.Internal, op, "", err, "")
	}
	return a, nil
}

// Drain ends the event feeds and refuses new ones, so that the server can stop
// (http.Server.RegisterOnShutdown). Other requests are still answered.
func (a *API) Drain() { a.drain() }

// recordingMux notes what is registered, so that the tests can see whether they know
// every route.
type recordingMux struct{ a *API }

// HandleFunc registers a handler.
func (m recordingMux) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.a.patterns = append(m.a.patterns, pattern)
	m.a.mux.HandleFunc(pattern, h)
}

// ServeHTTP answers a request.
func (m recordingMux) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.a.mux.ServeHTTP(w, r) }

// ServeHTTP answers a request.
func (a *API) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := &statusWriter{ResponseWriter: rw}
	route := "none"
	r = r.WithContext(context.WithValue(r.Context(), infoKey{}, a.describe(r)))
	h := w.Header()
	h.Set("X-Request-Id", infoOf(r.Context()).id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	defer func() {
		if v := recover(); v != nil {
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			a.deps.Log.Error("request panicked", "route", route, "request_id", infoOf(r.Context()).id,
				"panic", v, "stack", string(debug.Stack()))
			if w.status == 0 {
				a.writeProblem(w, r, problemOf(r.Context(), fault.New(fault.Internal, "answer", "", "a defect", "")))
			}
		}
		a.requests.WithLabelValues(route, strconv.Itoa(max(w.status, http.StatusOK))).Inc()
	}()
	if r.ContentLength != 0 {
		a.limitBody(w)
	}
	if err := a.origins.Check(r); err != nil {
		a.rejected.WithLabelValues("cross_origin").Inc()
		a.writeProblem(w, r, problemOf(r.Context(), fault.Wrap(fault.Forbidden, "answer", "", err,
			"Pages of other sites may not change anything here; call the API from your own server.")))
		return
	}
	handler, pattern := a.mux.Handler(r)
	if pattern == "" {
		a.noRoute(w, r, handler)
		return
	}
	route = pattern
	a.mux.ServeHTTP(w, r)
}

// noRoute answers as the mux would, but with a problem: 405 and Allow where another
// method exists, 404 elsewhere.
func (a *API) noRoute(w http.ResponseWriter, r *http.Request, h http.Handler) {
	probe := newRecorder()
	h.ServeHTTP(probe, r)
	if allow := probe.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		a.writeProblem(w, r, statusProblem(http.StatusMethodNotAllowed, "This address knows the methods "+allow+"."))
		return
	}
	a.writeProblem(w, r, statusProblem(http.StatusNotFound,
		"There is no such address in the API. /v1/openapi.json lists those that exist."))
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader sends the header.
func (w *statusWriter) WriteHeader(code int) {
	if w.status == 0 && code >= 200 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write sends a part of the body.
func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
