package replay

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/reply"
	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/record"
)

// stock is what recordings are served from, in whatever form.
type stock struct {
	cfg   Config
	lib   Library
	dir   Directory
	log   *slog.Logger
	m     *metrics
	cache *cache
	parts *turns // of texts of parts that are being made
}

func newStock(name string, cfg Config, lib Library, dir Directory, log *slog.Logger, reg prometheus.Registerer) stock {
	m := newMetrics(name, reg)
	return stock{cfg: cfg, lib: lib, dir: dir, log: log, m: m, cache: newCache(cfg.CacheBytes, m.cache, m.evicted), parts: newTurns(maxParts, m.refused)}
}

// answer answers a request by its method: serve has those that want something.
func (h *stock) answer(w http.ResponseWriter, r *http.Request, serve func(*answer)) {
	a := &answer{w: w, r: r, timeout: h.cfg.WriteTimeout, m: h.m}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		serve(a)
	case http.MethodOptions:
		a.preflight()
	default:
		a.problem(http.StatusMethodNotAllowed, fault.Invalid, "Only GET, HEAD and OPTIONS are possible here.")
	}
}

// find returns the asset of a playback id. It reports false if it answered that there is none.
func (h *stock) find(a *answer, playbackID string) (*record.Snapshot, bool) {
	id, err := h.dir(a.r.Context(), playbackID)
	if err != nil {
		if fault.KindOf(err) == fault.Internal && a.r.Context().Err() == nil {
			h.log.Error("playback id not looked up", "error", err)
		}
		a.refuse(err)
		return nil, false
	}
	s, ok := h.lib.Snapshot(id)
	if !ok {
		a.problem(http.StatusNotFound, fault.NotFound, "There is no such recording, or no longer.")
	}
	return s, ok
}

// empty answers for an asset, or a rendition of one, that has no media.
func empty(a *answer, s *record.Snapshot) {
	if ended(s) {
		a.problem(http.StatusNotFound, fault.NotFound, "There is nothing in this recording: its broadcast ended before a segment was complete.")
		return
	}
	a.problem(http.StatusServiceUnavailable, fault.Unavailable, "The recording is just beginning and has no complete segment yet. Ask again in a second.")
}

// made returns what there is of an asset's state in a form, and makes it if there is none;
// in turns what is of a part of it, which form is of.
func (h *stock) made(s *record.Snapshot, k key, form string, build func() (any, int64, error)) (any, error) {
	k.form += form
	if form != "" {
		build = h.parts.in(build)
	}
	return h.cache.get(k, stampOf(s), build)
}

// text serves a playlist or manifest of an asset's state, or of a part of it, which is made
// once for all who ask.
func (h *stock) text(a *answer, s *record.Snapshot, k key, form string, is kind, mime []string, render func() ([]byte, error)) {
	zip := reply.AcceptsGzip(a.r.Header.Get("Accept-Encoding"))
	if zip {
		k.form += ".gz"
	}
	v, err := h.made(s, k, form, func() (any, int64, error) {
		text, err := render()
		if err == nil && zip {
			text = compress(text)
		}
		return newBody(text), int64(cap(text)), err
	})
	if err != nil {
		if !fault.Is(err, fault.Unavailable) {
			h.log.Error("playlist of a recording not made", "asset", s.ID, "error", err)
		}
		a.refuse(err)
		return
	}
	a.shared(v.(*body), is, mime, zip)
}

// memory serves media that is in memory: an initialization section.
func (h *stock) memory(a *answer, r *record.Rendition, data []byte) {
	if status, start, length, ok := a.part(rangeOf(a.r), int64(len(data))); ok && a.send(kindMedia, status, mimeOf(r), cacheForever, length) {
		_, _ = a.w.Write(data[start : start+length]) // else the viewer has left
	}
}

// segment serves a segment that is no gap.
func (h *stock) segment(a *answer, s *record.Snapshot, r *record.Rendition, seg *record.Segment) {
	mime, name := mimeOf(r), seg.Name
	status, start, length, ok := a.part(rangeOf(a.r), seg.Size)
	if !ok {
		return
	}
	if a.r.Method == http.MethodHead {
		a.send(kindMedia, status, mime, cacheForever, length)
		return
	}
	ctx := a.r.Context()
	body, err := h.lib.Open(ctx, holder(s, seg), r.Name, name, start, length)
	if err != nil {
		h.missing(a, s, r, name, err)
		return
	}
	defer body.Close()
	a.send(kindMedia, status, mime, cacheForever, length)
	if n, err := io.CopyN(a.w, body, length); n < length && ctx.Err() == nil && !left(err) {
		h.failed(s, r, name, err)
		// What was promised cannot be sent. net/http closes the connection, by which the
		// viewer sees that it has not all.
	}
}

func mimeOf(r *record.Rendition) []string {
	if r.Kind == media.Audio {
		return typeAudio
	}
	return typeVideo
}

// rangeOf is the Range header of a request, where it is not to be ignored.
func rangeOf(r *http.Request) string {
	if r.Header.Get("If-Range") != "" {
		return ""
	}
	return r.Header.Get("Range")
}

// holder is the asset that a segment's object lies in.
func holder(s *record.Snapshot, seg *record.Segment) string {
	if seg.Asset != "" {
		return seg.Asset
	}
	return s.ID
}

// left reports whether sending ended because the viewer has left, or took too long.
func left(err error) bool {
	var e *net.OpError
	return errors.As(err, &e) || errors.Is(err, os.ErrDeadlineExceeded)
}

// missing answers for an object that the index lists and the storage does not give.
func (h *stock) missing(a *answer, s *record.Snapshot, r *record.Rendition, name string, err error) {
	if a.r.Context().Err() != nil {
		return
	}
	h.failed(s, r, name, err)
	head := a.w.Header()
	delete(head, "Content-Range")
	delete(head, "Accept-Ranges")
	if fault.Is(err, fault.NotFound) {
		a.problem(http.StatusNotFound, fault.NotFound, "The segment is in the recording's index, and missing in its storage.")
		return
	}
	a.problem(http.StatusServiceUnavailable, fault.Unavailable, "The storage of the recording does not answer. Ask again in a second.")
}

func (h *stock) failed(s *record.Snapshot, r *record.Rendition, name string, err error) {
	h.m.failures.Inc()
	h.log.Warn("segment of a recording not read", "asset", s.ID, "rendition", r.Name, "segment", name, "error", err)
}

// compress makes the gzip form. It is made once for each state of a playlist, which is long.
func compress(plain []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(plain)/8 + 64)
	w, _ := gzip.NewWriterLevel(&out, gzip.DefaultCompression) // the level is valid
	_, _ = w.Write(plain)                                      // into memory: cannot fail
	_ = w.Close()
	return out.Bytes()
}
