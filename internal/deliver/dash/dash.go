// Package dash serves MPEG-DASH (ISO/IEC 23009-1) of what pack makes, with low latency
// where there are parts.
//
// A viewer asks for /dash/{playback id}/manifest.mpd, and is sent on to a path that has a
// segment made for this viewer, /dash/{id}/{session}/manifest.mpd, by which viewers are
// counted. What is there is the same bytes for everybody and names everything relative to
// itself. (A Location element instead of the redirect does not do: Shaka resolves BaseURL
// against the one, dash.js against where it has the manifest from.)
//
// The manifest lists segments by their media sequence numbers in a SegmentTimeline, whose
// time is that of the media and whose zero is a constant of the broadcast. The segment in
// progress and the one after it are listed before they are complete, with the duration that
// they are expected to have; a request for one is held until its first part is there, and
// its parts are sent as they come to be. Where the parameters of a rendition change, a new
// Period begins.
//
// Renditions that can be made of the source are listed like it, whether they are being made
// or not: a request for one has it made. Segments it does not have, as those from before,
// are answered with a fragment without samples. Players take it for loaded, find nothing in
// their buffer there, and go on behind it; a status of 404 ends playback in dash.js.
//
// The server in front must have no write timeout: responses set their own deadlines.
package dash

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/audience"
	"onair/internal/deliver/mpd"
	"onair/internal/deliver/pack"
	"onair/internal/deliver/reply"
	"onair/internal/fault"
	"onair/internal/media"
)

// Directory knows which live stream a playback id plays.
type Directory interface {
	// StreamOf returns the live stream's id. It is called for each request and must be
	// quick. Its error says whether there is no such id or whether it may not be played;
	// reply.ErrElsewhere is its error for the id of something that is no live stream.
	StreamOf(ctx context.Context, playbackID string) (streamID string, err error)
}

// Ladder knows what can be made of a live stream besides what its publisher sends.
type Ladder interface {
	// Offers lists it, best picture first. It is called for each manifest.
	Offers(streamID string) []media.Offer
	// Want says that somebody asks for a rendition now, and never waits. It is called with
	// each request of its media. Its error is a fault: NotFound if there is no such offer,
	// TooMany if there is no room, Unavailable if it cannot be made.
	Want(streamID, rendition string) error
}

// noLadder makes nothing.
type noLadder struct{}

func (noLadder) Offers(string) []media.Offer { return nil }

func (noLadder) Want(_, rendition string) error {
	return fault.New(fault.NotFound, "make rendition", rendition, "nothing is made of streams here", "")
}

// Handler serves everything below /dash/.
type Handler struct {
	cfg      Config
	packer   *pack.Packer
	dir      Directory
	ladder   Ladder
	pictures Pictures // nil: none
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

// SetOthers sets what serves the ids of which the directory says reply.ErrElsewhere. Call it
// before requests come.
func (h *Handler) SetOthers(others http.Handler) { h.others = others }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{h: h, w: w, r: r}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.find(a)
	case http.MethodOptions:
		a.preflight()
	default:
		a.problem(problemMethod)
	}
}

// find answers by what the path names.
func (h *Handler) find(a *answer) {
	if a.r.URL.Path == mpd.Prefix+mpd.TimeName {
		a.clock()
		return
	}
	t, ok := mpd.ParsePath(a.r.URL.Path)
	if !ok {
		a.problem(problemPath)
		return
	}
	if h.picture(a, t) {
		return
	}
	id, err := h.dir.StreamOf(a.r.Context(), t.ID)
	if err != nil {
		if a.r.Context().Err() != nil {
			return
		}
		if errors.Is(err, reply.ErrElsewhere) {
			h.others.ServeHTTP(a.w, a.r)
			return
		}
		if fault.KindOf(err) == fault.Internal {
			h.log.Error("playback id not looked up", "error", err)
		}
		a.problem(problemOf(err))
		return
	}
	s, ok := h.packer.Stream(id)
	if !ok {
		a.problem(problemIdle)
		return
	}
	switch {
	case t.Rendition == "" && t.Session == "":
		h.enter(a, s)
	case t.Rendition == "":
		h.manifest(a, s, t)
	default:
		h.media(a, s, t)
	}
}

// enter sends a viewer who comes on to a path of its own.
func (h *Handler) enter(a *answer, s *pack.Stream) {
	a.kind = kindManifest
	to := audience.NewSession() + "/" + mpd.ManifestName
	if s.Ended() {
		to = audience.NewSession() + "/" + mpd.ReplayName
	}
	if query := a.r.URL.RawQuery; query != "" {
		to += "?" + query
	}
	a.w.Header()["Location"] = []string{to}
	a.whole(http.StatusTemporaryRedirect, typeText, cacheNever, noLength)
}

// manifest serves the manifest. While the stream is just beginning it is held, so that the
// first one already lists all renditions.
func (h *Handler) manifest(a *answer, s *pack.Stream, t mpd.Target) {
	a.kind = kindManifest
	if !h.ready(a, s) {
		a.problem(problemBeginning)
		return
	}
	now, err := h.view(s).current(s, h.ladder.Offers(s.Name()))
	if err != nil {
		h.log.Error("manifest not written", "stream", s.Name(), "error", err)
		a.problem(problemOf(err))
		return
	}
	if now == nil {
		a.problem(problemIdle) // it ended before there was anything to see
		return
	}
	text := now.plain
	if t.File == mpd.ReplayName && now.replay != nil {
		text = now.replay
	}
	if reply.AcceptsGzip(a.r.Header.Get("Accept-Encoding")) {
		a.manifest(text.compressed(), true)
	} else {
		a.manifest(&text.body, false)
	}
}

// ready waits until a stream has something to show.
func (h *Handler) ready(a *answer, s *pack.Stream) bool {
	select {
	case <-s.Ready():
		return true
	default:
	}
	wait, ok := h.hold(s, h.cfg.HoldManifest)
	if !ok {
		return false
	}
	defer wait.release()
	select {
	case <-s.Ready():
		return true
	case <-wait.expired():
	case <-a.r.Context().Done():
	}
	return false
}

// Viewers returns how many viewers of a live stream have asked for something lately, of
// those that the audience counts: over HLS and over DASH.
func (h *Handler) Viewers(streamID string) int {
	s, ok := h.packer.Stream(streamID)
	if !ok {
		return 0
	}
	return h.viewers.Of(s).Viewers(time.Now())
}

// hold is a request that waits.
type hold struct {
	h     *Handler
	crowd *audience.Crowd
	timer *time.Timer
}

// hold takes a place for a request that waits, for a time. It reports false if there is no
// place; else it must be released.
func (h *Handler) hold(s *pack.Stream, d time.Duration) (hold, bool) {
	crowd := h.viewers.Of(s)
	if !crowd.Hold() {
		h.m.rejected.Inc()
		return hold{}, false
	}
	h.m.waiting.Inc()
	return hold{h, crowd, time.NewTimer(d)}, true
}

func (w hold) expired() <-chan time.Time { return w.timer.C }

func (w hold) release() {
	w.timer.Stop()
	w.crowd.Release()
	w.h.m.waiting.Dec()
}
