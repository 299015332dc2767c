package hls

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/pack"
	"onair/internal/deliver/reply"
	"onair/internal/fault"
)

// Header values are made once and shared by all responses; nobody appends to them.
var (
	typePlaylist    = []string{"application/vnd.apple.mpegurl"}
	typeVideo       = []string{"video/mp4"}
	typeAudio       = []string{"audio/mp4"}
	typeProblem     = []string{"application/problem+json"}
	encodingGzip    = []string{"gzip"}
	varyEncoding    = []string{"Accept-Encoding"}
	acceptRanges    = []string{"bytes"}
	anyOrigin       = []string{"*"}
	exposed         = []string{"Age, Date, Content-Length, Content-Range, Server-Timing"}
	cacheForever    = []string{"public, max-age=31536000, immutable"}
	cacheRevalidate = []string{"no-cache"}
	cacheNever      = []string{"no-store"}
	noSniff         = []string{"nosniff"}
	oneSecond       = []string{"1"}
	retryLater      = []string{"10"} // until others have left, or an encoder was tried again
	allowed         = []string{"GET, HEAD, OPTIONS"}
)

// cacheStates are the values for playlists at a URL that names their state, by target
// duration: such an answer stays true, and is of use for a moment only.
var cacheStates = func() (v [64][]string) {
	for i := range v {
		v[i] = []string{"public, max-age=" + strconv.Itoa(i)}
	}
	return v
}()

func cacheState(s *pack.Stream) []string {
	return cacheStates[min(max(s.TargetDuration(), 0), len(cacheStates)-1)]
}

// kind is what a request asked for, in metrics.
type kind int

const (
	kindMultivariant kind = iota
	kindPlaylist
	kindMedia
	kindOther
	kinds
)

var kindNames = [kinds]string{"multivariant", "playlist", "media", "other"}

// preflight answers what a browser asks before a request with unusual headers.
func (h *Handler) preflight(w http.ResponseWriter) {
	h.m.count(kindOther, http.StatusNoContent)
	reply.Preflight(w)
}

// problem is an error as viewers get it: RFC 9457 problem details.
type problem struct {
	status int
	retry  []string // when it may be different; nil: never
	body   *body
}

func newProblem(status int, code fault.Kind, detail string) *problem {
	p := &problem{status: status, body: newBody(reply.Problem(status, code, detail))}
	if status == http.StatusServiceUnavailable {
		p.retry = oneSecond
	}
	return p
}

// The problems that need no details; answering with them keeps nothing and allocates
// nothing that stays.
var (
	problemMethod    = newProblem(http.StatusMethodNotAllowed, fault.Invalid, "Only GET, HEAD and OPTIONS are possible here.")
	problemPath      = newProblem(http.StatusNotFound, fault.NotFound, "There is nothing under this address. A stream's playlist is at /hls/{playback id}/index.m3u8.")
	problemIdle      = newProblem(http.StatusNotFound, fault.NotFound, "The stream is not live at the moment. Ask again when it is.")
	problemResource  = newProblem(http.StatusNotFound, fault.NotFound, "There is no such rendition, part or segment, or no longer. Reload the playlist.")
	problemBeginning = newProblem(http.StatusServiceUnavailable, fault.Unavailable, "The stream is just beginning and has no complete segment yet. Ask again in a second.")
	problemStarting  = newProblem(http.StatusServiceUnavailable, fault.Unavailable, "The rendition was not being made, and its encoder has not begun in time. Ask again in a second, or play another rendition.")
	problemBusy      = newProblem(http.StatusServiceUnavailable, fault.Unavailable, "The part is not complete yet, or too many viewers wait for it. Reload the playlist.")
	problemDirective = newProblem(http.StatusBadRequest, fault.Invalid, "_HLS_msn and _HLS_part must be decimal numbers, and _HLS_part needs _HLS_msn (RFC 8216bis, 6.2.5.2).")
	problemAhead     = newProblem(http.StatusBadRequest, fault.Invalid, "_HLS_msn or _HLS_part is too far in the future (RFC 8216bis, 6.2.5.2). Reload the playlist without it.")
	problemRange     = newProblem(http.StatusRequestedRangeNotSatisfiable, fault.Invalid, "The range begins after the end of the resource.")
)

// problemOf makes a problem of an error from outside. What is not a fault is not told.
func problemOf(err error) *problem {
	return newProblem(reply.Of(err))
}

// metrics are made with all their labels, so that counting a request is one addition.
type metrics struct {
	waiting                      prometheus.Gauge
	rejected, expired, uncounted prometheus.Counter
	requests                     *prometheus.CounterVec
	known                        [kinds][600]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "onair_hls_" + name, Help: help})
	}
	m := &metrics{
		waiting:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "onair_hls_waiting", Help: "Requests held for media to come."}),
		rejected:  counter("waiters_rejected_total", "Requests not held because too many waited (hls.max_waiters)."),
		expired:   counter("waiters_expired_total", "Requests held in vain: for three target durations, or for hls.hold_rendition."),
		uncounted: counter("sessions_rejected_total", "Requests of viewers not counted because there are too many (hls.max_sessions)."),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_hls_requests_total", Help: "Responses, by what was asked for and status.",
		}, []string{"kind", "code"}),
	}
	for k := range kinds {
		for _, status := range []int{200, 204, 206, 400, 401, 403, 404, 405, 409, 413, 416, 429, 500, 501, 503, 504} {
			m.known[k][status] = m.requests.WithLabelValues(kindNames[k], strconv.Itoa(status))
		}
	}
	if reg != nil {
		reg.MustRegister(m.waiting, m.rejected, m.expired, m.uncounted, m.requests)
	}
	return m
}

func (m *metrics) count(k kind, status int) { m.known[k][status].Inc() }
