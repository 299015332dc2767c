package dash

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/reply"
	"onair/internal/fault"
)

// Header values are made once and shared by all responses; nobody appends to them.
var (
	typeManifest    = []string{"application/dash+xml"}
	typeVideo       = []string{"video/mp4"}
	typeAudio       = []string{"audio/mp4"}
	typeProblem     = []string{"application/problem+json"}
	typeText        = []string{"text/plain; charset=utf-8"}
	encodingGzip    = []string{"gzip"}
	varyEncoding    = []string{"Accept-Encoding"}
	anyOrigin       = []string{"*"}
	exposed         = []string{"Age, Date, Content-Length, Server-Timing"}
	cacheForever    = []string{"public, max-age=31536000, immutable"}
	cacheRevalidate = []string{"no-cache"}
	cacheNever      = []string{"no-store"}
	noSniff         = []string{"nosniff"}
	noLength        = []string{"0"}
	oneSecond       = []string{"1"}
	allowed         = []string{"GET, HEAD, OPTIONS"}
)

// kind is what a request asked for, in metrics.
type kind int

const (
	kindOther kind = iota
	kindManifest
	kindMedia
	kinds
)

var kindNames = [kinds]string{"other", "manifest", "media"}

// answer is the response to one request.
type answer struct {
	h    *Handler
	w    http.ResponseWriter
	r    *http.Request
	kind kind
}

// head fills in what all answers have, counts the answer, and sends its head.
func (a *answer) head(status int, mime, cache []string) {
	head := a.w.Header()
	head["Access-Control-Allow-Origin"], head["Access-Control-Expose-Headers"] = anyOrigin, exposed
	head["X-Content-Type-Options"] = noSniff
	head["Content-Type"], head["Cache-Control"] = mime, cache
	a.h.m.count(a.kind, status)
	a.w.WriteHeader(status)
}

// write sends bytes, which may take as long as their size allows. It reports false if the
// viewer has left.
func (a *answer) write(chunks ...[]byte) bool {
	if a.r.Method == http.MethodHead {
		return true
	}
	size := 0
	for _, c := range chunks {
		size += len(c)
	}
	// Where there is no deadline to set (in tests), there is none.
	_ = http.NewResponseController(a.w).SetWriteDeadline(time.Now().Add(a.h.cfg.WriteTimeout + time.Duration(size)*time.Second/slowestRate))
	for _, c := range chunks {
		if _, err := a.w.Write(c); err != nil {
			return false
		}
	}
	return true
}

// whole sends an answer that is complete.
func (a *answer) whole(status int, mime, cache, length []string, chunks ...[]byte) {
	a.w.Header()["Content-Length"] = length
	a.head(status, mime, cache)
	a.write(chunks...)
}

func (a *answer) manifest(b *body, zip bool) {
	a.w.Header()["Vary"] = varyEncoding
	if zip {
		a.w.Header()["Content-Encoding"] = encodingGzip
	}
	a.whole(http.StatusOK, typeManifest, cacheRevalidate, b.length, b.bytes)
}

// clock answers with the time, for players whose clock is wrong (urn:mpeg:dash:utc:http-xsdate:2014).
func (a *answer) clock() {
	b := newBody([]byte(time.Now().UTC().Format("2006-01-02T15:04:05.000Z")))
	a.whole(http.StatusOK, typeText, cacheNever, b.length, b.bytes)
}

// preflight answers what a browser asks before a request with unusual headers.
func (a *answer) preflight() {
	a.h.m.count(kindOther, http.StatusNoContent)
	reply.Preflight(a.w)
}

// problem sends an error.
func (a *answer) problem(p *problem) {
	head := a.w.Header()
	if p.retry {
		head["Retry-After"] = oneSecond
	}
	if p.status == http.StatusMethodNotAllowed {
		head["Allow"] = allowed
	}
	a.whole(p.status, typeProblem, cacheNever, p.body.length, p.body.bytes)
}

// problem is an error as viewers get it: RFC 9457 problem details.
type problem struct {
	status int
	retry  bool // it may be different in a second
	body   *body
}

func newProblem(status int, code fault.Kind, detail string) *problem {
	return &problem{status: status, retry: status == http.StatusServiceUnavailable, body: newBody(reply.Problem(status, code, detail))}
}

// The problems that need no details.
var (
	problemMethod    = newProblem(http.StatusMethodNotAllowed, fault.Invalid, "Only GET, HEAD and OPTIONS are possible here.")
	problemPath      = newProblem(http.StatusNotFound, fault.NotFound, "There is nothing under this address. A stream's manifest is at /dash/{playback id}/manifest.mpd.")
	problemIdle      = newProblem(http.StatusNotFound, fault.NotFound, "The stream is not live at the moment. Ask again when it is.")
	problemResource  = newProblem(http.StatusNotFound, fault.NotFound, "There is no such rendition or segment, or no longer, or not yet. Reload the manifest.")
	problemBeginning = newProblem(http.StatusServiceUnavailable, fault.Unavailable, "The stream is just beginning and has no complete segment yet. Ask again in a second.")
	problemBusy      = newProblem(http.StatusServiceUnavailable, fault.Unavailable, "The segment has not begun yet, or too many viewers wait for it. Reload the manifest.")
)

// problemOf makes a problem of an error from outside. What is not a fault is not told.
func problemOf(err error) *problem {
	return newProblem(reply.Of(err))
}

type metrics struct {
	waiting                                        prometheus.Gauge
	rejected, expired, uncounted, filled, replaced prometheus.Counter
	requests                                       *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "onair_dash_" + name, Help: help})
	}
	m := &metrics{
		waiting:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "onair_dash_waiting", Help: "Requests held for media to come."}),
		rejected:  counter("waiters_rejected_total", "Requests not held because too many waited (hls-max-waiters)."),
		expired:   counter("waiters_expired_total", "Requests held in vain (dash-hold-segment)."),
		uncounted: counter("sessions_rejected_total", "Requests of viewers not counted because there are too many (hls-max-sessions)."),
		filled:    counter("empty_segments_total", "Segments without media sent where a rendition has none."),
		replaced:  counter("refused_total", "Requests for media of listed renditions that were not to be had."),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_dash_requests_total", Help: "Responses, by what was asked for and status.",
		}, []string{"kind", "code"}),
	}
	if reg != nil {
		reg.MustRegister(m.waiting, m.rejected, m.expired, m.uncounted, m.filled, m.replaced, m.requests)
	}
	return m
}

func (m *metrics) count(k kind, status int) {
	m.requests.WithLabelValues(kindNames[k], strconv.Itoa(status)).Inc()
}
