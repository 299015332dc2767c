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
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/audience"
	"onair/internal/deliver/pack"
	"onair/internal/deliver/reply"
	"onair/internal/fault"
	"onair/internal/media"
)

// Directory knows which live stream a playback id plays.
type Directory interface {
	// StreamOf returns the live stream's id. It is called for each request and must be
	// quick. Its error says whether there is no such id or whether it may not be played.
	// ErrElsewhere is its error for the id of something that is no live stream.
	StreamOf(ctx context.Context, playbackID string) (streamID string, err error)
}

// ErrElsewhere says that what a playback id plays is served by another handler.
var ErrElsewhere = reply.ErrElsewhere

// Handler serves everything below /hls/.
type Handler struct {
	cfg      Config
	packer   *pack.Packer
	dir      Directory
	ladder   Ladder
	pictures Pictures                                        // nil: none
	past     Past                                            // nil: none
	recorded func(ctx context.Context, streamID string) bool // nil: none is
	others   http.Handler
	viewers  *audience.Audience
	log      *slog.Logger
	m        *metrics
}

// NewHandler returns a Handler. ladder is nil if nothing is made of streams; viewers counts
// who watches. Its metrics are registered with reg (nil for none).
func NewHandler(cfg Config, p *pack.Packer, dir Directory, ladder Ladder, viewers *audience.Audience, log *slog.Logger, reg prometheus.Registerer) *Handler {
	if ladder == nil {
		ladder = noLadder{}
	}
	return &Handler{cfg: cfg, packer: p, dir: dir, ladder: ladder, others: http.NotFoundHandler(), viewers: viewers, log: log, m: newMetrics(reg)}
}

// SetOthers sets what serves the ids of which the directory says ErrElsewhere. Call it before
// requests come.
func (h *Handler) SetOthers(others http.Handler) { h.others = others }

// Viewers returns how many viewers of a live stream have asked for a playlist or manifest
// lately (Config.SessionTimeout).
func (h *Handler) Viewers(streamID string) int {
	s, ok := h.packer.Stream(streamID)
	if !ok {
		return 0
	}
	return h.viewers.Of(s).Viewers(time.Now())
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := new(Answer)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		req := Request{Path: r.URL.Path, Query: r.URL.RawQuery, AcceptEncoding: r.Header.Get("Accept-Encoding")}
		if r.Header.Get("If-Range") == "" {
			req.Range = r.Header.Get("Range")
		}
		if !h.Answer(r.Context(), req, a) {
			return
		}
		if a.Elsewhere {
			h.others.ServeHTTP(w, r)
			return
		}
	case http.MethodOptions:
		h.preflight(w)
		return
	default:
		a.problem(problemMethod)
		h.finish(a)
	}
	a.write(w, r.Method == http.MethodHead)
}

// Answer finds the answer to a GET request, and waits for it where it is ahead of the
// media. It reports false if ctx ended meanwhile, so that there is nobody to answer.
// It keeps nothing of req, whose strings may be of a buffer that is used again.
func (h *Handler) Answer(ctx context.Context, req Request, a *Answer) bool {
	a.Reset()
	if !h.find(ctx, req, a) {
		return false
	}
	if !a.Elsewhere {
		h.finish(a)
	}
	return true
}

// find fills in what depends on the request.
func (h *Handler) find(ctx context.Context, req Request, a *Answer) bool {
	t, ok := parsePath(req.Path)
	if !ok {
		return a.problem(problemPath)
	}
	if clipped(t, req.Query) {
		a.Elsewhere = true
		return true
	}
	if a.id != t.id {
		a.id = strings.Clone(t.id) // the directory may keep it
	}
	id, err := h.dir.StreamOf(ctx, a.id)
	if err != nil {
		return h.refuse(ctx, a, err)
	}
	s, ok := h.packer.Stream(id)
	if !ok {
		return h.gone(ctx, a, id, t)
	}
	switch {
	case t.session == "":
		return h.multivariant(ctx, req, a, s)
	case t.file == playlistName:
		return h.media(ctx, req, a, s, t)
	case t.file == framesName:
		return h.frames(ctx, req, a, s, t)
	default:
		return h.resource(ctx, req, a, s, t)
	}
}

// refuse answers with what the directory said.
func (h *Handler) refuse(ctx context.Context, a *Answer, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if errors.Is(err, ErrElsewhere) {
		a.Elsewhere = true
		return true
	}
	if fault.KindOf(err) == fault.Internal {
		h.log.Error("playback id not looked up", "error", err)
	}
	return a.problem(problemOf(err))
}

// multivariant serves the playlist of playlists. While the stream is just beginning it
// is held, so that the first request of a player already gets all renditions.
func (h *Handler) multivariant(ctx context.Context, req Request, a *Answer, s *pack.Stream) bool {
	if !h.ready(ctx, a, s, h.cfg.HoldManifest) {
		return a.problem(problemBeginning)
	}
	if len(s.Renditions()) == 0 {
		return a.problem(problemIdle) // it ended before there was anything to see
	}
	text := appendMultivariant(make([]byte, 0, 2048), s, h.offers(s), audience.NewSession())
	text = h.appendPictures(text, s, a.id)
	zip := reply.AcceptsGzip(req.AcceptEncoding)
	if zip {
		text = compress(text)
	}
	return a.playlist(kindMultivariant, newBody(text), zip, cacheNever) // it names one viewer's session
}

// ready waits until a stream has something to show.
func (h *Handler) ready(ctx context.Context, a *Answer, s *pack.Stream, hold time.Duration) bool {
	select {
	case <-s.Ready():
		return true
	default:
	}
	crowd := h.viewers.Of(s)
	if !h.hold(crowd) {
		return false
	}
	defer h.release(crowd)
	expired := a.startTimer(hold)
	defer a.timer.Stop()
	select {
	case <-s.Ready():
		return true
	case <-expired:
	case <-ctx.Done():
	}
	return false
}

// hold counts a request that waits. It reports false if there are too many; else the
// request must be released.
func (h *Handler) hold(crowd *audience.Crowd) bool {
	if !crowd.Hold() {
		h.m.rejected.Inc()
		return false
	}
	h.m.waiting.Inc()
	return true
}

func (h *Handler) release(crowd *audience.Crowd) {
	crowd.Release()
	h.m.waiting.Dec()
}

// media serves a rendition's playlist.
func (h *Handler) media(ctx context.Context, req Request, a *Answer, s *pack.Stream, t target) bool {
	d, ok := parseDirectives(req.Query)
	if !ok {
		return a.problem(problemDirective)
	}
	if !h.ready(ctx, a, s, h.cfg.HoldPlaylist) {
		return a.problem(problemBeginning)
	}
	crowd := h.viewers.Of(s)
	if !crowd.See(t.session, time.Now()) {
		h.m.uncounted.Inc()
	}
	rend, ok := s.Rendition(t.rendition)
	if !ok || rend.Derived() {
		var refused *problem
		if rend, refused = h.wanted(ctx, a, s, rend, t.rendition, d.sequence >= 0); refused != nil {
			return ctx.Err() == nil && a.problem(refused)
		}
	}
	snap, cache := rend.Snapshot(), cacheRevalidate
	if d.sequence >= 0 && !snap.Ended {
		if rend.PartTarget() == 0 {
			d.part = -1
		}
		if tooFar(rend, snap, d) {
			return a.problem(problemAhead)
		}
		var reached bool
		if snap, reached = h.await(ctx, a, s, rend, snap, d); reached {
			cache = cacheState(s)
		} else {
			cache = cacheNever // the URL names a state that this is not
		}
		if ctx.Err() != nil {
			return false
		}
		crowd.See(t.session, time.Now())
	}
	zip := reply.AcceptsGzip(req.AcceptEncoding)
	form := 0
	if d.skip {
		form = formDelta
	}
	return a.playlist(kindPlaylist, h.playlist(s, rend, snap, form, zip), zip, cache)
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
func (h *Handler) await(ctx context.Context, a *Answer, s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, d directives) (now *pack.Snapshot, reached bool) {
	if snap.Has(d.sequence, d.part) {
		return snap, true
	}
	crowd := h.viewers.Of(s)
	if !h.hold(crowd) {
		return snap, false
	}
	defer h.release(crowd)
	expired := a.startTimer(3 * time.Duration(s.TargetDuration()) * time.Second)
	defer a.timer.Stop()
	for !snap.Has(d.sequence, d.part) {
		select {
		case <-snap.Next():
			snap = r.Snapshot()
		case <-expired:
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
func (h *Handler) resource(ctx context.Context, req Request, a *Answer, s *pack.Stream, t target) bool {
	rend, ok := s.Rendition(t.rendition)
	if !ok {
		return h.missing(ctx, a, s)
	}
	if rend.Derived() {
		_ = h.ladder.Want(s.Name(), rend.Name()) // what is there is served, whoever refuses more
	}
	snap := rend.Snapshot()
	blob, status := snap.Find(t.file)
	if status == pack.Coming {
		var err error
		if blob, err = h.awaitPart(ctx, a, s, rend, snap, t.file); err != nil {
			return ctx.Err() == nil && a.problem(problemBusy)
		}
	}
	if blob == nil {
		return h.missing(ctx, a, s)
	}
	mime := typeVideo
	if rend.Kind() == media.Audio {
		mime = typeAudio
	}
	return a.media(blob, mime, req.Range)
}

// errNotYet says that a part did not come in time, or that too many wait.
var errNotYet = errors.New("the part is not there yet")

// awaitPart waits for the part that a playlist hinted at. It returns nil when it became
// certain that there will be no such part.
func (h *Handler) awaitPart(ctx context.Context, a *Answer, s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, name string) (*pack.Blob, error) {
	crowd := h.viewers.Of(s)
	if !h.hold(crowd) {
		return nil, errNotYet
	}
	defer h.release(crowd)
	expired := a.startTimer(3 * time.Duration(s.TargetDuration()) * time.Second)
	defer a.timer.Stop()
	for {
		blob, status := snap.Find(name)
		if status != pack.Coming {
			return blob, nil
		}
		select {
		case <-snap.Next():
			snap = r.Snapshot()
		case <-expired:
			h.m.expired.Inc()
			return nil, errNotYet
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
