package hls

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/pack"
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

// write sends a response.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, k kind, status int, length []string, chunks ...[]byte) {
	head := w.Header()
	head["Access-Control-Allow-Origin"] = anyOrigin
	head["Access-Control-Expose-Headers"] = exposed
	head["X-Content-Type-Options"] = noSniff
	head["Content-Length"] = length
	h.m.count(k, status)
	size := 0
	for _, c := range chunks {
		size += len(c)
	}
	// A reader that takes too long loses its connection. Where there is no deadline to
	// set (in tests), there is none.
	limit := h.cfg.WriteTimeout + time.Duration(size)*time.Second/slowestRate
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	for _, c := range chunks {
		if _, err := w.Write(c); err != nil {
			return // the viewer has left
		}
	}
}

// ranged sends a part of a resource.
func (h *Handler) ranged(w http.ResponseWriter, r *http.Request, blob *pack.Blob, spec string) {
	start, length, whole, ok := parseRange(spec, blob.Size)
	if whole {
		h.write(w, r, kindMedia, http.StatusOK, blob.Length, blob.Chunks...)
		return
	}
	size := blob.Length[0]
	if !ok {
		w.Header()["Content-Range"] = []string{"bytes */" + size}
		h.problem(w, r, problemRange)
		return
	}
	first, last := strconv.FormatInt(start, 10), strconv.FormatInt(start+length-1, 10)
	w.Header()["Content-Range"] = []string{"bytes " + first + "-" + last + "/" + size}
	chunks := make([][]byte, 0, len(blob.Chunks))
	left := length
	for _, c := range blob.Chunks {
		n := int64(len(c))
		if start >= n {
			start -= n
			continue
		}
		c = c[start:min(n, start+left)]
		start, left = 0, left-int64(len(c))
		chunks = append(chunks, c)
		if left == 0 {
			break
		}
	}
	h.write(w, r, kindMedia, http.StatusPartialContent, []string{strconv.FormatInt(length, 10)}, chunks...)
}

// preflight answers what a browser asks before a request with unusual headers.
func (h *Handler) preflight(w http.ResponseWriter) {
	head := w.Header()
	head["Access-Control-Allow-Origin"] = anyOrigin
	head["Access-Control-Allow-Methods"] = []string{"GET, HEAD, OPTIONS"}
	head["Access-Control-Allow-Headers"] = []string{"Range, Authorization, Content-Type, CMCD-Request, CMCD-Object, CMCD-Status, CMCD-Session"}
	head["Access-Control-Max-Age"] = []string{"86400"}
	h.m.count(kindOther, http.StatusNoContent)
	w.WriteHeader(http.StatusNoContent)
}

// problem is an error as viewers get it: RFC 9457 problem details.
type problem struct {
	status int
	retry  bool // it may be different in a second
	body   *body
}

func newProblem(status int, code fault.Kind, detail string) *problem {
	text, _ := json.Marshal(map[string]any{ // strings and a number: cannot fail
		"type": "about:blank", "title": http.StatusText(status), "status": status,
		"code": string(code), "detail": detail,
	})
	return &problem{status: status, retry: status == http.StatusServiceUnavailable, body: newBody(text)}
}

// The problems that need no details; answering with them keeps nothing and allocates
// nothing that stays.
var (
	problemMethod    = newProblem(http.StatusMethodNotAllowed, fault.Invalid, "Only GET, HEAD and OPTIONS are possible here.")
	problemPath      = newProblem(http.StatusNotFound, fault.NotFound, "There is nothing under this address. A stream's playlist is at /hls/{playback id}/index.m3u8.")
	problemIdle      = newProblem(http.StatusNotFound, fault.NotFound, "The stream is not live at the moment. Ask again when it is.")
	problemResource  = newProblem(http.StatusNotFound, fault.NotFound, "There is no such rendition, part or segment, or no longer. Reload the playlist.")
	problemBeginning = newProblem(http.StatusServiceUnavailable, fault.Unavailable, "The stream is just beginning and has no complete segment yet. Ask again in a second.")
	problemBusy      = newProblem(http.StatusServiceUnavailable, fault.Unavailable, "The part is not complete yet, or too many viewers wait for it. Reload the playlist.")
	problemDirective = newProblem(http.StatusBadRequest, fault.Invalid, "_HLS_msn and _HLS_part must be decimal numbers, and _HLS_part needs _HLS_msn (RFC 8216bis, 6.2.5.2).")
	problemAhead     = newProblem(http.StatusBadRequest, fault.Invalid, "_HLS_msn or _HLS_part is too far in the future (RFC 8216bis, 6.2.5.2). Reload the playlist without it.")
	problemRange     = newProblem(http.StatusRequestedRangeNotSatisfiable, fault.Invalid, "The range begins after the end of the resource.")
)

var statusOf = map[fault.Kind]int{
	fault.Invalid: http.StatusBadRequest, fault.Unauthorized: http.StatusUnauthorized,
	fault.Forbidden: http.StatusForbidden, fault.NotFound: http.StatusNotFound,
	fault.Conflict: http.StatusConflict, fault.Disabled: http.StatusForbidden,
	fault.Unsupported: http.StatusNotImplemented, fault.TooLarge: http.StatusRequestEntityTooLarge,
	fault.TooMany: http.StatusTooManyRequests, fault.Timeout: http.StatusGatewayTimeout,
	fault.Unavailable: http.StatusServiceUnavailable,
}

// problemOf makes a problem of an error from outside. What is not a fault is not told.
func problemOf(err error) *problem {
	kind := fault.KindOf(err)
	status, ok := statusOf[kind]
	if !ok {
		return newProblem(http.StatusInternalServerError, fault.Internal, "Something went wrong in the server; its log tells more.")
	}
	return newProblem(status, kind, err.Error())
}

func (h *Handler) problem(w http.ResponseWriter, r *http.Request, p *problem) {
	head := w.Header()
	head["Content-Type"] = typeProblem
	head["Cache-Control"] = cacheNever
	if p.retry {
		head["Retry-After"] = oneSecond
	}
	if p.status == http.StatusMethodNotAllowed {
		head["Allow"] = []string{"GET, HEAD, OPTIONS"}
	}
	h.write(w, r, kindOther, p.status, p.body.length, p.body.bytes)
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
		expired:   counter("waiters_expired_total", "Requests held for three target durations in vain."),
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
