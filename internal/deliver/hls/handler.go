// Package hls serves HLS and Low-Latency HLS (RFC 8216bis) of what pack makes.
//
// A viewer asks for /hls/{playback id}/index.m3u8, the multivariant playlist. Its children
// live under a path segment made for this viewer, /hls/{id}/{session}/{rendition}/…, by
// which viewers are counted; what is served there is the same bytes for everybody, so a
// cache may leave the session out of its key.
//
// Playlists are rendered once for each state of a rendition and form (full or delta,
// plain or gzip) and shared. A request that is ahead of the media is held until the
// media is there: it waits for a channel, holds no lock, and ends with its connection.
//
// The server in front needs no write timeout, and must not have one: responses set
// their own deadline when they begin to write.
package hls

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/pack"
	"onair/internal/fault"
	"onair/internal/media"
)

// Directory knows which live stream a playback id plays.
type Directory interface {
	// StreamOf returns the live stream's id. It is called for each request and must be
	// quick. Its error says whether there is no such id or whether it may not be played.
	StreamOf(ctx context.Context, playbackID string) (streamID string, err error)
}

// Handler serves everything below /hls/.
type Handler struct {
	cfg    Config
	packer *pack.Packer
	dir    Directory
	log    *slog.Logger
	m      *metrics

	newAudience func(*pack.Stream) any
}

// NewHandler returns a Handler. Its metrics are registered with reg (nil for none).
func NewHandler(cfg Config, p *pack.Packer, dir Directory, log *slog.Logger, reg prometheus.Registerer) *Handler {
	h := &Handler{cfg: cfg, packer: p, dir: dir, log: log, m: newMetrics(reg)}
	h.newAudience = h.makeAudience
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		h.preflight(w)
		return
	default:
		h.problem(w, r, problemMethod)
		return
	}
	t, ok := parsePath(r.URL.Path)
	if !ok {
		h.problem(w, r, problemPath)
		return
	}
	id, err := h.dir.StreamOf(r.Context(), t.id)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	s, ok := h.packer.Stream(id)
	if !ok {
		h.problem(w, r, problemIdle)
		return
	}
	switch {
	case t.session == "":
		h.multivariant(w, r, s)
	case t.file == playlistName:
		h.media(w, r, s, t)
	default:
		h.resource(w, r, s, t)
	}
}

// refuse answers with what the directory said.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	if fault.KindOf(err) == fault.Internal {
		h.log.Error("playback id not looked up", "error", err)
	}
	h.problem(w, r, problemOf(err))
}

// multivariant serves the playlist of playlists. While the stream is just beginning it
// is held, so that the first request of a player already gets all renditions.
func (h *Handler) multivariant(w http.ResponseWriter, r *http.Request, s *pack.Stream) {
	if !h.ready(r.Context(), s, h.cfg.HoldManifest) {
		h.problem(w, r, problemBeginning)
		return
	}
	if len(s.Renditions()) == 0 {
		h.problem(w, r, problemIdle) // it ended before there was anything to see
		return
	}
	text := appendMultivariant(make([]byte, 0, 1024), s, newSession())
	head := w.Header()
	head["Content-Type"] = typePlaylist
	head["Cache-Control"] = cacheNever // it names one viewer's session
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		text = compress(text)
		head["Content-Encoding"] = encodingGzip
	}
	head["Vary"] = varyEncoding
	b := newBody(text)
	h.write(w, r, kindMultivariant, http.StatusOK, b.length, b.bytes)
}

// ready waits until a stream has something to show.
func (h *Handler) ready(ctx context.Context, s *pack.Stream, hold time.Duration) bool {
	select {
	case <-s.Ready():
		return true
	default:
	}
	release, ok := h.hold(s)
	if !ok {
		return false
	}
	defer release()
	timer := time.NewTimer(hold)
	defer timer.Stop()
	select {
	case <-s.Ready():
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// hold counts a request that waits. It reports false if there are too many.
func (h *Handler) hold(s *pack.Stream) (release func(), ok bool) {
	a := h.audience(s)
	if a.waiting.Add(1) > int64(h.cfg.MaxWaiters) {
		a.waiting.Add(-1)
		h.m.rejected.Inc()
		return nil, false
	}
	h.m.waiting.Inc()
	return func() {
		a.waiting.Add(-1)
		h.m.waiting.Dec()
	}, true
}

// media serves a rendition's playlist.
func (h *Handler) media(w http.ResponseWriter, r *http.Request, s *pack.Stream, t target) {
	d, ok := parseDirectives(r.URL.RawQuery)
	if !ok {
		h.problem(w, r, problemDirective)
		return
	}
	if !h.ready(r.Context(), s, h.cfg.HoldPlaylist) {
		h.problem(w, r, problemBeginning)
		return
	}
	rend, ok := s.Rendition(t.rendition)
	if !ok {
		h.problem(w, r, problemResource)
		return
	}
	a := h.audience(s)
	if !a.see(t.session, time.Now()) {
		h.m.uncounted.Inc()
	}
	snap, cache := rend.Snapshot(), cacheRevalidate
	if d.sequence >= 0 && !snap.Ended {
		if rend.PartTarget() == 0 {
			d.part = -1
		}
		if tooFar(rend, snap, d) {
			h.problem(w, r, problemAhead)
			return
		}
		var reached bool
		if snap, reached = h.await(r.Context(), s, rend, snap, d); reached {
			cache = cacheState(s)
		} else {
			cache = cacheNever // the URL names a state that this is not
		}
		if r.Context().Err() != nil {
			return
		}
		a.see(t.session, time.Now())
	}
	head := w.Header()
	head["Content-Type"] = typePlaylist
	head["Cache-Control"] = cache
	head["Vary"] = varyEncoding
	zip := acceptsGzip(r.Header.Get("Accept-Encoding"))
	if zip {
		head["Content-Encoding"] = encodingGzip
	}
	b := playlist(s, rend, snap, d.skip, zip)
	h.write(w, r, kindPlaylist, http.StatusOK, b.length, b.bytes)
}

// tooFar reports whether a request asks for what is further in the future than a client
// can know of (RFC 8216bis, section 6.2.5.2).
func tooFar(r *pack.Rendition, snap *pack.Snapshot, d directives) bool {
	last := snap.LastSequence()
	if d.sequence <= last {
		return false
	}
	if d.sequence > last+2 {
		return true
	}
	limit := 3
	if pt := r.PartTarget(); pt > 0 && pt < time.Second {
		limit = int((3*time.Second + pt - 1) / pt)
	}
	listed := 0
	if snap.Open != nil && snap.Open.Sequence == d.sequence {
		listed = len(snap.Open.Parts)
	}
	return d.part > listed+limit
}

// await waits until the playlist has come to what the directives ask for, at most three
// target durations. Then, and when too many wait, the current playlist is the answer: an
// error would end playback in players that took a child playlist's for final.
func (h *Handler) await(ctx context.Context, s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, d directives) (now *pack.Snapshot, reached bool) {
	if snap.Has(d.sequence, d.part) {
		return snap, true
	}
	release, ok := h.hold(s)
	if !ok {
		return snap, false
	}
	defer release()
	timer := time.NewTimer(3 * time.Duration(s.TargetDuration()) * time.Second)
	defer timer.Stop()
	for !snap.Has(d.sequence, d.part) {
		select {
		case <-snap.Next():
			snap = r.Snapshot()
		case <-timer.C:
			h.m.expired.Inc()
			return snap, false
		case <-ctx.Done():
			return snap, false
		}
	}
	return snap, true
}

// resource serves a part, a segment or an initialization section. The part that the
// playlist hints at is held until it is complete.
func (h *Handler) resource(w http.ResponseWriter, r *http.Request, s *pack.Stream, t target) {
	rend, ok := s.Rendition(t.rendition)
	if !ok {
		h.problem(w, r, problemResource)
		return
	}
	snap := rend.Snapshot()
	blob, status := snap.Find(t.file)
	if status == pack.Coming {
		var err error
		if blob, err = h.awaitPart(r.Context(), s, rend, snap, t.file); err != nil {
			if r.Context().Err() == nil {
				h.problem(w, r, problemBusy)
			}
			return
		}
	}
	if blob == nil {
		h.problem(w, r, problemResource)
		return
	}
	head := w.Header()
	head["Content-Type"] = typeVideo
	if rend.Kind() == media.Audio {
		head["Content-Type"] = typeAudio
	}
	head["Cache-Control"] = cacheForever
	head["Accept-Ranges"] = acceptRanges
	if spec := r.Header.Get("Range"); spec != "" && r.Header.Get("If-Range") == "" {
		h.ranged(w, r, blob, spec)
		return
	}
	h.write(w, r, kindMedia, http.StatusOK, blob.Length, blob.Chunks...)
}

// errNotYet says that a part did not come in time, or that too many wait.
var errNotYet = errors.New("the part is not there yet")

// awaitPart waits for the part that a playlist hinted at. It returns nil when it became
// certain that there will be no such part.
func (h *Handler) awaitPart(ctx context.Context, s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, name string) (*pack.Blob, error) {
	release, ok := h.hold(s)
	if !ok {
		return nil, errNotYet
	}
	defer release()
	timer := time.NewTimer(3 * time.Duration(s.TargetDuration()) * time.Second)
	defer timer.Stop()
	for {
		blob, status := snap.Find(name)
		if status != pack.Coming {
			return blob, nil
		}
		select {
		case <-snap.Next():
			snap = r.Snapshot()
		case <-timer.C:
			h.m.expired.Inc()
			return nil, errNotYet
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
