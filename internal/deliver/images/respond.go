package images

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/reply"
	"onair/internal/fault"
)

// answer is the response to one request.
type answer struct {
	h    *Handler
	w    http.ResponseWriter
	r    *http.Request
	kind string
}

// send sends a complete answer.
func (a *answer) send(status int, mime, cache string, body []byte) {
	head := a.w.Header()
	head.Set("Access-Control-Allow-Origin", "*")
	head.Set("X-Content-Type-Options", "nosniff")
	// Pages of other sites show pictures, too.
	head.Set("Cross-Origin-Resource-Policy", "cross-origin")
	head.Set("Cache-Control", cache)
	if status != http.StatusNotModified {
		head.Set("Content-Type", mime)
		head.Set("Content-Length", strconv.Itoa(len(body)))
	}
	a.h.m.requests.WithLabelValues(a.kind, strconv.Itoa(status)).Inc()
	// Where there is no deadline to set (in tests), there is none.
	_ = http.NewResponseController(a.w).SetWriteDeadline(time.Now().Add(writeTime))
	a.w.WriteHeader(status)
	if a.r.Method != http.MethodHead && status != http.StatusNotModified {
		_, _ = a.w.Write(body) // who has left needs no answer
	}
}

// picture sends a picture that caches may keep for some seconds.
func (a *answer) picture(p *picture, mime string, seconds int) {
	tag := `"` + p.name + `"`
	a.w.Header().Set("ETag", tag)
	status := http.StatusOK
	if a.r.Header.Get("If-None-Match") == tag {
		status = http.StatusNotModified
	}
	a.send(status, mime, "public, max-age="+strconv.Itoa(seconds), p.data)
}

func (a *answer) index(p *picture) {
	a.send(http.StatusOK, "text/vtt; charset=utf-8", "public, max-age=1", p.vtt)
}

// preflight answers what a browser asks before a request with unusual headers.
func (a *answer) preflight() {
	head := a.w.Header()
	head.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	head.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	head.Set("Access-Control-Max-Age", "86400")
	a.send(http.StatusNoContent, "text/plain", "no-store", nil)
}

func (a *answer) nothing() {
	a.fail(http.StatusNotFound, fault.NotFound, "There is nothing under this address. A stream's picture is at /images/{playback id}/thumbnail.jpg.")
}

// problem sends an error, if there is still somebody to get it. What is not a fault is not
// told.
func (a *answer) problem(err error) {
	if a.r.Context().Err() != nil {
		return
	}
	status, code, detail := reply.Of(err)
	if status == http.StatusInternalServerError {
		a.h.log.Error("picture not served", "error", err)
	}
	a.fail(status, code, detail)
}

// fail sends RFC 9457 problem details.
func (a *answer) fail(status int, code fault.Kind, detail string) {
	if status == http.StatusMethodNotAllowed {
		a.w.Header().Set("Allow", "GET, HEAD, OPTIONS")
	}
	if status == http.StatusServiceUnavailable {
		a.w.Header().Set("Retry-After", "1")
	}
	a.send(status, "application/problem+json", "no-store", reply.Problem(status, code, detail))
}

type metrics struct {
	requests, made, rejected *prometheus.CounterVec
	waiting, cache           prometheus.Gauge
	evicted                  prometheus.Counter
	seconds                  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onair_images_" + name, Help: help}, labels)
	}
	m := &metrics{
		requests: vec("requests_total", "Responses, by what was asked for and status.", "kind", "code"),
		made:     vec("made_total", "Pictures that were to be made, by result.", "result"),
		rejected: vec("rejected_total", "Pictures not made or waited for because there were too many, by bound.", "reason"),
		waiting:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "onair_images_waiting", Help: "Requests that wait for a picture being made."}),
		cache:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "onair_images_cache_bytes", Help: "Memory that pictures of recordings take."}),
		evicted:  prometheus.NewCounter(prometheus.CounterOpts{Name: "onair_images_cache_evicted_total", Help: "Pictures of recordings that were forgotten for others."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "onair_images_seconds", Help: "How long making a picture took.", Buckets: []float64{.05, .1, .2, .5, 1, 2, 5, 15},
		}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.made, m.rejected, m.waiting, m.cache, m.evicted, m.seconds)
	}
	return m
}
