package replay

import (
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/reply"
	"onair/internal/fault"
)

// Header values are made once and shared by all responses; nobody appends to them.
var (
	typePlaylist    = []string{"application/vnd.apple.mpegurl"}
	typeManifest    = []string{"application/dash+xml"}
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
	allowed         = []string{"GET, HEAD, OPTIONS"}
)

// kind is what a request asked for, in metrics.
type kind string

const (
	kindMultivariant kind = "multivariant"
	kindPlaylist     kind = "playlist"
	kindManifest     kind = "manifest"
	kindMedia        kind = "media"
	kindFile         kind = "file"
	kindOther        kind = "other"
)

// answer is the response to one request.
type answer struct {
	w       http.ResponseWriter
	r       *http.Request
	timeout time.Duration // Config.WriteTimeout
	m       *metrics
}

// send fills in what all answers have, counts the answer, and sends its head. size is how
// many bytes follow. It reports false if none are wanted.
func (a *answer) send(k kind, status int, mime, cache []string, size int64) bool {
	head := a.w.Header()
	head["Access-Control-Allow-Origin"], head["Access-Control-Expose-Headers"] = anyOrigin, exposed
	head["X-Content-Type-Options"], head["Cache-Control"] = noSniff, cache
	if status != http.StatusNotModified {
		head["Content-Type"] = mime
		head["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	}
	a.m.requests.WithLabelValues(string(k), strconv.Itoa(status)).Inc()
	// A reader that takes too long loses its connection. Where there is no deadline to set
	// (in tests), there is none.
	limit := a.timeout + time.Duration(float64(size)/slowestRate*float64(time.Second))
	_ = http.NewResponseController(a.w).SetWriteDeadline(time.Now().Add(limit))
	a.w.WriteHeader(status)
	return a.r.Method != http.MethodHead
}

// body is a playlist or manifest that is shared by all who ask for it.
type body struct {
	bytes []byte
	tag   string // an entity tag (RFC 9110, section 8.8.3)
}

func newBody(b []byte) *body {
	h := fnv.New64a()
	_, _ = h.Write(b) // never fails
	return &body{bytes: b, tag: `"` + strconv.FormatUint(h.Sum64(), 36) + `"`}
}

// shared sends a playlist or manifest, unless the client has it already.
func (a *answer) shared(b *body, is kind, mime []string, zip bool) {
	head := a.w.Header()
	head["Vary"], head["Etag"] = varyEncoding, []string{b.tag}
	if has(a.r.Header.Get("If-None-Match"), b.tag) {
		a.send(is, http.StatusNotModified, nil, cacheRevalidate, 0)
		return
	}
	if zip {
		head["Content-Encoding"] = encodingGzip
	}
	if a.send(is, http.StatusOK, mime, cacheRevalidate, int64(len(b.bytes))) {
		_, _ = a.w.Write(b.bytes) // else the viewer has left
	}
}

// has reports whether an If-None-Match header names an entity tag (RFC 9110, section 13.1.2).
func has(header, tag string) bool {
	for header != "" {
		var item string
		item, header, _ = strings.Cut(header, ",")
		if item = strings.TrimSpace(item); item == "*" || strings.TrimPrefix(item, "W/") == tag {
			return true
		}
	}
	return false
}

// part says which bytes of a resource an answer has, and fills in the head for it. ok is
// false if it was answered that there are none.
func (a *answer) part(spec string, size int64) (status int, start, length int64, ok bool) {
	head := a.w.Header()
	head["Accept-Ranges"] = acceptRanges
	start, length, whole, ok := reply.ParseRange(spec, size)
	all := strconv.FormatInt(size, 10)
	switch {
	case whole:
		return http.StatusOK, 0, size, true
	case !ok:
		head["Content-Range"] = []string{"bytes */" + all}
		a.problem(http.StatusRequestedRangeNotSatisfiable, fault.Invalid, "The range begins after the end of the resource.")
		return 0, 0, 0, false
	}
	head["Content-Range"] = []string{"bytes " + strconv.FormatInt(start, 10) + "-" + strconv.FormatInt(start+length-1, 10) + "/" + all}
	return http.StatusPartialContent, start, length, true
}

// preflight answers what a browser asks before a request with unusual headers.
func (a *answer) preflight() {
	a.m.requests.WithLabelValues(string(kindOther), "204").Inc()
	reply.Preflight(a.w)
}

// problem sends an error as viewers get it: RFC 9457 problem details.
func (a *answer) problem(status int, code fault.Kind, detail string) {
	text := reply.Problem(status, code, detail)
	head := a.w.Header()
	switch status {
	case http.StatusServiceUnavailable:
		head["Retry-After"] = oneSecond
	case http.StatusMethodNotAllowed:
		head["Allow"] = allowed
	}
	if a.send(kindOther, status, typeProblem, cacheNever, int64(len(text))) {
		_, _ = a.w.Write(text) // else the viewer has left
	}
}

// refuse sends an error from outside. It answers nobody who has left.
func (a *answer) refuse(err error) {
	if a.r.Context().Err() == nil {
		a.problem(reply.Of(err))
	}
}

// metrics of both handlers.
type metrics struct {
	requests *prometheus.CounterVec
	failures prometheus.Counter
	cache    prometheus.Gauge
	evicted  prometheus.Counter
	refused  prometheus.Counter
}

func newMetrics(name string, reg prometheus.Registerer) *metrics {
	name = "onair_" + name + "_"
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name + "requests_total", Help: "Responses, by what was asked for and status.",
		}, []string{"kind", "code"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name + "read_failures_total", Help: "Responses that ended early or were errors because the storage had not what the index lists.",
		}),
		cache: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: name + "cache_bytes", Help: "What is kept in memory to be shared by those who ask next (replay.cache_bytes).",
		}),
		evicted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name + "cache_evicted_total", Help: "What was forgotten to make room (replay.cache_bytes).",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name + "refused_total", Help: "What was asked for and not made, because too many waited for something to be made already.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.failures, m.cache, m.evicted, m.refused)
	}
	return m
}
