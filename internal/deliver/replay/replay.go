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
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/audience"
	"onair/internal/deliver/m3u8"
	"onair/internal/deliver/reply"
	"onair/internal/fault"
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
type Handler struct{ stock }

// NewHandler returns a Handler. Its metrics are registered with reg (nil for none).
func NewHandler(cfg Config, lib Library, dir Directory, log *slog.Logger, reg prometheus.Registerer) *Handler {
	return &Handler{newStock("replay", cfg, lib, dir, log, reg)}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.answer(w, r, h.serve) }

func (h *Handler) serve(a *answer) {
	t, ok := parsePath(a.r.URL.Path)
	if !ok {
		a.problem(http.StatusNotFound, fault.NotFound, "There is nothing under this address. A recording's playlist is at /hls/{playback id}/index.m3u8.")
		return
	}
	s, ok := h.find(a, t.id)
	if !ok {
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

// resource serves a segment or an initialization section.
func (h *Handler) resource(a *answer, s *record.Snapshot, r *record.Rendition, name string) {
	if init, ok := r.Init(name); ok {
		h.memory(a, r, init.Data)
	} else if seg, ok := find(r, name); ok && !seg.Gap {
		h.segment(a, s, r, &seg)
	} else {
		a.problem(http.StatusNotFound, fault.NotFound, "The recording has no such segment. Reload the playlist.")
	}
}

func (h *Handler) multivariant(a *answer, s *record.Snapshot) {
	p, err := partOf(a.r.URL.Query(), s)
	if err != nil {
		a.refuse(err)
		return
	}
	form := p.form(s)
	s = p.of(s)
	v, err := h.made(s, key{s.ID, "", "contents"}, form, func() (any, int64, error) {
		c := contentsOf(s)
		const each = 128 // bytes of a rendition
		return c, int64(len(c.list)) * each, nil
	})
	if err != nil {
		a.refuse(err)
		return
	}
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
	form := p.form(s)
	s = p.of(s)
	r, _ := s.Rendition(t.rendition)
	l := lineupOf(s, r)
	if l.len() == 0 {
		empty(a, s)
		return
	}
	h.text(a, s, key{s.ID, r.Name, t.file}, form, kindPlaylist, typePlaylist, func() ([]byte, error) {
		const each = 48 // bytes of a segment in a playlist
		return render(make([]byte, 0, 1024+each*l.len()), s, &l), nil
	})
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
