package replay

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/audience"
	"onair/internal/deliver/mpd"
	"onair/internal/fault"
	"onair/internal/media/fmp4"
	"onair/internal/record"
)

// manifests serves the playback ids of assets below /dash/, at the paths of live streams: who
// comes is sent on to a path of its own, and media is named by its initialization section and
// its number. There is no request that waits.
type manifests struct{ stock }

// NewDASH returns what serves the playback ids of assets below /dash/. Its metrics are
// registered with reg (nil for none).
func NewDASH(cfg Config, lib Library, dir Directory, log *slog.Logger, reg prometheus.Registerer) http.Handler {
	return &manifests{newStock("replay_dash", cfg, lib, dir, log, reg)}
}

// ServeHTTP implements http.Handler.
func (h *manifests) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.answer(w, r, h.serve) }

func (h *manifests) serve(a *answer) {
	t, ok := mpd.ParsePath(a.r.URL.Path)
	if !ok {
		a.problem(http.StatusNotFound, fault.NotFound, "There is nothing under this address. A recording's manifest is at /dash/{playback id}/manifest.mpd.")
		return
	}
	s, ok := h.find(a, t.ID)
	if !ok {
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

// enter sends a viewer who comes on to a path of its own: to the manifest of what goes on, or
// to that of what is over, whose time begins at 0.
func (h *manifests) enter(a *answer, s *record.Snapshot) {
	p, err := partOf(a.r.URL.Query(), s)
	if err != nil {
		a.refuse(err)
		return
	}
	name := mpd.ManifestName
	if ended(p.of(s)) {
		name = mpd.ReplayName
	}
	a.w.Header()["Location"] = []string{audience.NewSession() + "/" + name + p.query()}
	a.send(kindManifest, http.StatusTemporaryRedirect, typeManifest, cacheNever, 0)
}

func (h *manifests) manifest(a *answer, s *record.Snapshot, t mpd.Target) {
	p, ok := parsePart(a.r.URL.Query())
	if !ok {
		a.problem(http.StatusBadRequest, fault.Invalid, "from, to and until of a manifest are numbers that the way to it gives. Ask for manifest.mpd without them, with start and end.")
		return
	}
	form := p.form(s)
	s = p.of(s)
	if paceOf(s) == nil {
		empty(a, s)
		return
	}
	h.text(a, s, key{s.ID, "", t.File}, form, kindManifest, typeManifest, func() ([]byte, error) {
		now := present(s)
		now.Rebased = t.File == mpd.ReplayName
		return now.Render()
	})
}

// media serves an initialization section or a segment. Where the asset has no media there is
// a fragment without samples, which players take for loaded.
func (h *manifests) media(a *answer, s *record.Snapshot, t mpd.Target) {
	missing := func() {
		a.problem(http.StatusNotFound, fault.NotFound, "The recording has no such rendition or segment. Reload the manifest.")
	}
	stem, number, ok := mpd.ParseFile(t.File)
	r, found := s.Rendition(t.Rendition)
	if !ok || !found {
		missing()
		return
	}
	init, ok := r.Init(stem + mpd.InitExt)
	if !ok {
		missing()
		return
	}
	if number < 0 {
		h.memory(a, r, init.Data)
		return
	}
	switch seg := itemOf(r, number); {
	case seg.at < 0:
		missing()
	case seg.Gap:
		fragment := fmp4.Fragment{Sequence: uint32(number), Track: init.Track, BaseDTS: max(0, seg.BaseTime)}
		h.memory(a, r, fragment.AppendTo(nil))
	case r.Inits[seg.Init] != init:
		missing()
	default:
		full := r.Segments.At(seg.at)
		h.segment(a, s, r, &full)
	}
}
