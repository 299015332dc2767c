// Package replay serves recordings: over HLS (RFC 8216bis) while they are made and after, and
// as files to download.
//
// The paths are those of live streams, /hls/{playback id}/index.m3u8 and, below a segment made
// for each viewer, /hls/{id}/{session}/{rendition}/…. The playlist of an asset that is being
// recorded grows and loses nothing (EVENT), and becomes final (VOD) with its end. It is
// rendered once for each state, and shared; segments are sent as they are stored.
//
// The server in front needs no write timeout, and must not have one: responses set their own
// deadline when they begin to write.
package replay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/audience"
	"onair/internal/deliver/m3u8"
	"onair/internal/deliver/reply"
	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/record"
)

// Library is where recordings are: a record.Library.
type Library interface {
	// Snapshot returns an asset as it is now.
	Snapshot(asset string) (*record.Snapshot, bool)
	// Open reads length bytes of an object of an asset from offset; to its end if length is
	// negative. fault.NotFound if there is no such object.
	Open(ctx context.Context, asset, rendition, name string, offset, length int64) (io.ReadCloser, error)
}

// Directory returns the asset that a playback id plays. It is called for each request and
// must be quick. Its error says whether there is no such id or whether it may not be played.
type Directory func(ctx context.Context, playbackID string) (asset string, err error)

// Handler serves the playback ids of assets below /hls/. There is no request that waits.
type Handler struct {
	cfg   Config
	lib   Library
	dir   Directory
	log   *slog.Logger
	m     *metrics
	cache *cache
}

// NewHandler returns a Handler. Its metrics are registered with reg (nil for none).
func NewHandler(cfg Config, lib Library, dir Directory, log *slog.Logger, reg prometheus.Registerer) *Handler {
	m := newMetrics("replay", reg)
	return &Handler{cfg: cfg, lib: lib, dir: dir, log: log, m: m, cache: newCache(cfg.CacheBytes, m.cache, m.evicted)}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{w: w, r: r, timeout: h.cfg.WriteTimeout, m: h.m}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.serve(a)
	case http.MethodOptions:
		a.preflight()
	default:
		a.problem(http.StatusMethodNotAllowed, fault.Invalid, "Only GET, HEAD and OPTIONS are possible here.")
	}
}

func (h *Handler) serve(a *answer) {
	t, ok := parsePath(a.r.URL.Path)
	if !ok {
		a.problem(http.StatusNotFound, fault.NotFound, "There is nothing under this address. A recording's playlist is at /hls/{playback id}/index.m3u8.")
		return
	}
	id, err := h.dir(a.r.Context(), t.id)
	if err != nil {
		if fault.KindOf(err) == fault.Internal && a.r.Context().Err() == nil {
			h.log.Error("playback id not looked up", "error", err)
		}
		a.refuse(err)
		return
	}
	s, ok := h.lib.Snapshot(id)
	if !ok {
		a.problem(http.StatusNotFound, fault.NotFound, "There is no such recording, or no longer.")
		return
	}
	if t.session == "" {
		h.multivariant(a, s)
		return
	}
	rend, ok := s.Rendition(t.rendition)
	if !ok {
		a.problem(http.StatusNotFound, fault.NotFound, "The recording has no such rendition. Reload the playlist.")
		return
	}
	switch t.file {
	case m3u8.IndexName:
		h.playlist(a, s, t, appendPlaylist)
	case m3u8.FramesName:
		h.playlist(a, s, t, appendFrames)
	default:
		h.resource(a, s, rend, t.file)
	}
}

// empty answers for an asset, or a rendition of one, that has no media.
func empty(a *answer, s *record.Snapshot) {
	if ended(s) {
		a.problem(http.StatusNotFound, fault.NotFound, "There is nothing in this recording: its broadcast ended before a segment was complete.")
		return
	}
	a.problem(http.StatusServiceUnavailable, fault.Unavailable, "The recording is just beginning and has no complete segment yet. Ask again in a second.")
}

func (h *Handler) multivariant(a *answer, s *record.Snapshot) {
	p, err := partOf(a.r.URL.Query(), s)
	if err != nil {
		a.refuse(err)
		return
	}
	s = p.of(s)
	v, _ := h.cache.get(key{s.ID, "", "contents" + p.query()}, stampOf(s), func() (any, int64, error) {
		c := contentsOf(s)
		const each = 128 // bytes of a rendition
		return c, int64(len(c.list)) * each, nil
	})
	c := v.(contents)
	if len(c.list) == 0 {
		empty(a, s)
		return
	}
	text := m3u8.AppendMultivariant(make([]byte, 0, 2048), c.list, c.independent, audience.NewSession(), p.query())
	head := a.w.Header()
	head["Vary"] = varyEncoding
	if reply.AcceptsGzip(a.r.Header.Get("Accept-Encoding")) {
		head["Content-Encoding"] = encodingGzip
		text = compress(text)
	}
	if a.send(kindMultivariant, http.StatusOK, typePlaylist, cacheNever, int64(len(text))) { // it names one viewer's session
		_, _ = a.w.Write(text) // else the viewer has left
	}
}

// playlist serves a playlist of a rendition.
func (h *Handler) playlist(a *answer, s *record.Snapshot, t target, render func([]byte, *record.Snapshot, *lineup) []byte) {
	p, ok := parsePart(a.r.URL.Query())
	if !ok {
		a.problem(http.StatusBadRequest, fault.Invalid, "from, to and until of a playlist are numbers that the playlist of playlists gives. Ask that one, with start and end.")
		return
	}
	s = p.of(s)
	r, _ := s.Rendition(t.rendition)
	l := lineupOf(s, r)
	if l.len() == 0 {
		empty(a, s)
		return
	}
	zip, form := reply.AcceptsGzip(a.r.Header.Get("Accept-Encoding")), t.file+p.query()
	if zip {
		form += ".gz"
	}
	v, _ := h.cache.get(key{s.ID, r.Name, form}, stampOf(s), func() (any, int64, error) {
		const each = 48 // bytes of a segment in a playlist
		text := render(make([]byte, 0, 1024+each*l.len()), s, &l)
		if zip {
			text = compress(text)
		}
		return newBody(text), int64(cap(text)), nil
	})
	a.playlist(v.(*body), zip)
}

// resource serves a segment or an initialization section.
func (h *Handler) resource(a *answer, s *record.Snapshot, r *record.Rendition, name string) {
	mime := typeVideo
	if r.Kind == media.Audio {
		mime = typeAudio
	}
	spec := ""
	if a.r.Header.Get("If-Range") == "" {
		spec = a.r.Header.Get("Range")
	}
	if init, ok := r.Init(name); ok {
		if status, start, length, ok := a.part(spec, int64(len(init.Data))); ok && a.send(kindMedia, status, mime, cacheForever, length) {
			_, _ = a.w.Write(init.Data[start : start+length]) // else the viewer has left
		}
		return
	}
	seg := find(r, name)
	if seg == nil || seg.Gap {
		a.problem(http.StatusNotFound, fault.NotFound, "The recording has no such segment. Reload the playlist.")
		return
	}
	status, start, length, ok := a.part(spec, seg.Size)
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
func (h *Handler) missing(a *answer, s *record.Snapshot, r *record.Rendition, name string, err error) {
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

func (h *Handler) failed(s *record.Snapshot, r *record.Rendition, name string, err error) {
	h.m.failures.Inc()
	h.log.Warn("segment of a recording not read", "asset", s.ID, "rendition", r.Name, "segment", name, "error", err)
}

// target is what a path below /hls/ names.
type target struct {
	id        string // playback id
	session   string // empty: the multivariant playlist
	rendition string
	file      string
}

// parsePath takes a path apart, as package hls does.
func parsePath(path string) (t target, ok bool) {
	rest, ok := strings.CutPrefix(path, "/hls/")
	if !ok {
		return t, false
	}
	t.id, rest, ok = strings.Cut(rest, "/")
	if !ok || !reply.WellFormed(t.id) {
		return t, false
	}
	if rest == m3u8.IndexName {
		return t, true
	}
	t.session, rest, ok = strings.Cut(rest, "/")
	if !ok || !reply.WellFormed(t.session) {
		return t, false
	}
	t.rendition, t.file, ok = strings.Cut(rest, "/")
	return t, ok && reply.WellFormed(t.rendition) && len(t.file) <= reply.MaxName && t.file != ""
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
