package rtc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"onair/internal/fault"
)

const (
	playSessionPath = "/whep/session/"
	layerRel        = "urn:ietf:params:whep:ext:core:layer"
	typeJSON        = "application/json"
	// maxWish bounds the name of a layer, maxWishBody what a wish is written in, in bytes.
	maxWish     = 32
	maxWishBody = 1 << 10
)

// WHEP returns the handler of WHEP (draft-ietf-wish-whep), to be mounted at /whep/: POST
// /whep/{playback id}, and the sessions below /whep/session/. A viewer may wish for a
// layer by POST {session}/layer {"layer": "720p"}; an empty one leaves the choice to the
// server.
func (s *Server) WHEP() http.Handler { return http.HandlerFunc(s.serveWHEP) }

// playTarget is what a path asks for.
type playTarget struct {
	playback string
	session  string
	layer    bool
}

func playTargetOf(path string) (t playTarget, ok bool) {
	rest, ok := strings.CutPrefix(path, "/whep/")
	if !ok {
		return t, false
	}
	parts := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	switch {
	case len(parts) == 1 && parts[0] != "":
		id, err := url.PathUnescape(parts[0])
		t.playback = id
		return t, err == nil && len(id) <= maxKey
	case len(parts) == 2 && parts[0] == "session":
		t.session = parts[1]
	case len(parts) == 3 && parts[0] == "session" && parts[2] == "layer":
		t.session, t.layer = parts[1], true
	}
	return t, t.session != ""
}

func (s *Server) serveWHEP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Retry-After, Accept-Post")
	h.Set("Cache-Control", "no-store")
	t, ok := playTargetOf(r.URL.EscapedPath())
	if !ok {
		problem(w, fault.New(fault.NotFound, "use WHEP", "", "there is nothing at this address", "POST an offer to /whep/{playback id}"))
		return
	}
	allow := "OPTIONS, GET, HEAD, POST"
	switch {
	case t.layer:
		allow = "OPTIONS, POST"
	case t.session != "":
		allow = "OPTIONS, GET, HEAD, PATCH, DELETE"
	}
	switch {
	case r.Method == http.MethodOptions:
		h.Set("Allow", allow)
		h.Set("Access-Control-Allow-Methods", "POST, PATCH, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
		h.Set("Access-Control-Max-Age", "86400")
		switch {
		case t.session == "":
			h.Set("Accept-Post", typeSDP)
		case !t.layer:
			h.Set("Accept-Patch", typeFragment)
		}
		w.WriteHeader(http.StatusNoContent)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && !t.layer:
		if t.session != "" && s.play(t.session) == nil {
			problem(w, noPlay())
			return
		}
		if t.session == "" {
			h.Set("Content-Type", typeSDP)
			h.Set("Accept-Post", typeSDP)
			w.WriteHeader(http.StatusOK)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost && t.session == "":
		s.postPlay(w, r, t.playback)
	case r.Method == http.MethodPost && t.layer:
		s.postLayer(w, r, t.session)
	case r.Method == http.MethodPatch && t.session != "" && !t.layer:
		s.patchPlay(w, r, t.session)
	case r.Method == http.MethodDelete && t.session != "" && !t.layer:
		q, err := s.authorisedPlay(r, t.session)
		if err != nil {
			problem(w, err)
			return
		}
		s.unregisterPlay(q)
		q.leave()
		w.WriteHeader(http.StatusOK)
	default:
		h.Set("Allow", allow)
		problemStatus(w, http.StatusMethodNotAllowed, fault.New(fault.Unsupported, "use WHEP", "", "the method is not taken here", "Use one of "+allow))
	}
}

func (s *Server) postPlay(w http.ResponseWriter, hr *http.Request, playback string) {
	token, viaBearer := bearer(hr), true
	if token == "" {
		token, viaBearer = hr.URL.Query().Get("token"), false
	}
	from := prefixOf(hr.RemoteAddr)
	if err := s.enter(s.viewers, from); err != nil {
		problem(w, err)
		return
	}
	body, err := read(w, hr, typeSDP, maxOffer)
	var o *playOffer
	if err == nil {
		o, err = parsePlayOffer(body)
	}
	if err != nil {
		s.leave(s.viewers, from)
		s.metrics.rejected.WithLabelValues(reasonOffer).Inc()
		problem(w, err)
		return
	}
	r := s.newPlay(playback, token, viaBearer, peerAddr(hr), printable(hr.UserAgent(), maxEncoder), o)
	r.interactive = hr.URL.Query().Get("interactive") == "true"
	if err := s.serve(s.viewers, from, func(ctx context.Context, h Handler) {
		h.ServePlay(ctx, r)
		r.Close(nil)
		<-r.done
	}); err != nil {
		problem(w, err)
		return
	}
	timer := time.NewTimer(decisionTime)
	defer timer.Stop()
	select {
	case <-r.decided:
	case <-hr.Context().Done():
		r.leave()
		return
	case <-timer.C:
		r.leave()
		problem(w, fault.New(fault.Unavailable, "watch over WebRTC", "", "the server took no decision", "Try again in a moment"))
		return
	}
	if r.refusal != nil {
		problem(w, r.refusal)
		return
	}
	h := w.Header()
	h.Set("Content-Type", typeSDP)
	h.Set("Location", playSessionPath+r.id)
	h.Set("ETag", r.etag)
	h.Set("Accept-Patch", typeFragment)
	for _, link := range s.links {
		h.Add("Link", link)
	}
	h.Add("Link", "<"+playSessionPath+r.id+`/layer>; rel="`+layerRel+`"`)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, r.answer) // a client that is gone makes no connection
}

func noPlay() error {
	return fault.New(fault.NotFound, "use a WHEP session", "", "it has ended, or never was", "POST a new offer")
}

// authorisedPlay finds a session for whoever may change it, as authorised does.
func (s *Server) authorisedPlay(r *http.Request, id string) (*PlayRequest, error) {
	q := s.play(id)
	if q == nil {
		return nil, noPlay()
	}
	if err := mayChange(r, "change a WHEP session", q.token, q.bearer); err != nil {
		return nil, err
	}
	return q, nil
}

// postLayer hears what layer a viewer wishes for. The form of older drafts is understood.
func (s *Server) postLayer(w http.ResponseWriter, r *http.Request, id string) {
	q, err := s.authorisedPlay(r, id)
	if err != nil {
		problem(w, err)
		return
	}
	body, err := read(w, r, typeJSON, maxWishBody)
	if err != nil {
		problem(w, err)
		return
	}
	var wish struct {
		Layer    string `json:"layer"`
		Encoding string `json:"encodingId"`
	}
	err = json.Unmarshal(body, &wish)
	if wish.Layer == "" {
		wish.Layer = wish.Encoding
	}
	if err != nil || len(wish.Layer) > maxWish || strings.ContainsFunc(wish.Layer, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_')
	}) {
		problem(w, fault.New(fault.Invalid, "wish for a layer", "", "the wish is not well formed", `Send {"layer": "720p"}, or "" for automatic`))
		return
	}
	q.mu.Lock()
	q.wish = wish.Layer
	q.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) patchPlay(w http.ResponseWriter, r *http.Request, id string) {
	q, err := s.authorisedPlay(r, id)
	if err != nil {
		problem(w, err)
		return
	}
	body, err := read(w, r, typeFragment, maxFragment)
	var f fragment
	if err == nil {
		f, err = parseFragment(body)
	}
	if err != nil {
		problem(w, err)
		return
	}
	q.iceMu.Lock()
	defer q.iceMu.Unlock()
	if !matches(w, r, q.etag) {
		return
	}
	session := q.current()
	if f.ufrag == "" || f.ufrag == q.ufrag || session == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	ufrag, pwd := strings.ToLower(rand.Text()), rand.Text()
	session.Restart(ufrag, pwd)
	q.ufrag, q.etag = f.ufrag, newTag()
	var kind string
	var mids []string
	for i := range q.offer.sections {
		if p := &q.offer.sections[i]; p.usable {
			if kind == "" {
				kind = p.kind.String()
			}
			mids = append(mids, p.mid)
		}
	}
	w.Header().Set("Content-Type", typeFragment)
	w.Header().Set("ETag", q.etag)
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, fragment{ufrag: ufrag, pwd: pwd}.text(kind, mids, s.hosts.candidates(r.Context()))) // a client that is gone keeps what it had
}
