package rtc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"onair/internal/fault"
)

const (
	typeSDP      = "application/sdp"
	typeFragment = "application/trickle-ice-sdpfrag"
	sessionPath  = "/whip/session/"
	// decisionTime is how long a POST waits for the handler's decision.
	decisionTime = 15 * time.Second
	// maxKey bounds a stream key, in bytes.
	maxKey = 512
)

// WHIP returns the handler of RFC 9725, to be mounted at /whip and /whip/: POST /whip with
// the key as bearer token, POST /whip/{key}, the same below /whip/backup for the stream's
// backup encoder, and the sessions below /whip/session/.
func (s *Server) WHIP() http.Handler { return http.HandlerFunc(s.serveHTTP) }

// target is what a path asks for.
type target struct {
	session string
	key     string
	backup  bool
}

// targetOf reads a path; ok is false if it is none of ours.
func targetOf(path string) (t target, ok bool) {
	rest, ok := strings.CutPrefix(path, "/whip")
	if !ok || rest != "" && rest[0] != '/' {
		return t, false
	}
	parts := strings.FieldsFunc(rest, func(r rune) bool { return r == '/' })
	switch {
	case len(parts) == 0:
		return t, true
	case len(parts) == 2 && parts[0] == "session":
		return target{session: parts[1]}, true
	case parts[0] == "backup":
		t.backup = true
		parts = parts[1:]
	}
	if len(parts) > 1 {
		return t, false
	}
	if len(parts) == 1 {
		key, err := url.PathUnescape(parts[0])
		if err != nil || len(key) > maxKey {
			return t, false
		}
		t.key = key
	}
	return t, true
}

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Retry-After")
	h.Set("Cache-Control", "no-store")
	t, ok := targetOf(r.URL.EscapedPath())
	if !ok {
		problem(w, fault.New(fault.NotFound, "use WHIP", "", "there is nothing at this address", "POST an offer to /whip with the stream key as bearer token"))
		return
	}
	allow := "OPTIONS, GET, HEAD, POST"
	if t.session != "" {
		allow = "OPTIONS, GET, HEAD, PATCH, DELETE"
	}
	switch {
	case r.Method == http.MethodOptions:
		h.Set("Allow", allow)
		h.Set("Access-Control-Allow-Methods", "POST, PATCH, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
		h.Set("Access-Control-Max-Age", "86400")
		if t.session == "" {
			h.Set("Accept-Post", typeSDP)
		} else {
			h.Set("Accept-Patch", typeFragment)
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		if t.session != "" && s.session(t.session) == nil {
			problem(w, noSession())
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost && t.session == "":
		s.post(w, r, t)
	case r.Method == http.MethodPatch && t.session != "":
		s.patch(w, r, t.session)
	case r.Method == http.MethodDelete && t.session != "":
		s.delete(w, r, t.session)
	default:
		h.Set("Allow", allow)
		problemStatus(w, http.StatusMethodNotAllowed, fault.New(fault.Unsupported, "use WHIP", "", "the method is not taken here", "Use one of "+allow))
	}
}

// bearer is the token of a request; empty if it has none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// read reads a body of a type.
func read(w http.ResponseWriter, r *http.Request, contentType string, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, fault.New(fault.TooLarge, "read a WebRTC request", "", fmt.Sprintf("its body has more than %d bytes", limit), "Offer one video and one audio track")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "read a WebRTC request", "", err, "Send it again")
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != contentType {
		return nil, errContentType(contentType)
	}
	return body, nil
}

// errContentType is a wrong type of body.
type errContentType string

func (e errContentType) Error() string {
	return "read a WebRTC request: its Content-Type is another one. Send " + string(e)
}

func (s *Server) post(w http.ResponseWriter, hr *http.Request, t target) {
	key, viaBearer := bearer(hr), true
	if key == "" {
		key, viaBearer = t.key, false
	}
	if key == "" || len(key) > maxKey {
		s.metrics.rejected.WithLabelValues(reasonDenied).Inc()
		problem(w, fault.New(fault.Unauthorized, "publish over WebRTC", "", "the stream key is missing",
			"Send it as bearer token, or at the end of the address: /whip/{stream key}"))
		return
	}
	from := prefixOf(hr.RemoteAddr)
	if err := s.enter(s.publishers, from); err != nil {
		problem(w, err)
		return
	}
	body, err := read(w, hr, typeSDP, maxOffer)
	var o *offer
	if err == nil {
		o, err = parseOffer(body, s.cfg.Codecs)
	}
	if err != nil {
		s.leave(s.publishers, from)
		s.metrics.rejected.WithLabelValues(reasonOffer).Inc()
		problem(w, err)
		return
	}
	r := s.newRequest(key, viaBearer, t.backup, peerAddr(hr), printable(hr.UserAgent(), maxEncoder), o)
	if err := s.serve(s.publishers, from, func(ctx context.Context, h Handler) {
		h.ServePublish(ctx, r)
		r.finish()
	}); err != nil {
		problem(w, err)
		return
	}
	timer := time.NewTimer(decisionTime)
	defer timer.Stop()
	select {
	case <-r.decided:
	case <-hr.Context().Done():
		r.abort()
		return
	case <-timer.C:
		r.abort()
		problem(w, fault.New(fault.Unavailable, "publish over WebRTC", "", "the server took no decision", "Try again in a moment"))
		return
	}
	if r.refusal != nil {
		problem(w, r.refusal)
		return
	}
	h := w.Header()
	h.Set("Content-Type", typeSDP)
	h.Set("Location", sessionPath+r.id)
	h.Set("ETag", r.tag())
	h.Set("Accept-Patch", typeFragment)
	for _, link := range s.links {
		h.Add("Link", link)
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, r.answer) // a client that is gone makes no connection
}

func peerAddr(r *http.Request) net.Addr {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
	}
	return &net.TCPAddr{}
}

func noSession() error {
	return fault.New(fault.NotFound, "use a WHIP session", "", "it has ended, or never was", "POST a new offer")
}

// authorised finds a session for whoever may change it.
func (s *Server) authorised(r *http.Request, id string) (*PublishRequest, error) {
	q := s.session(id)
	if q == nil {
		return nil, noSession()
	}
	if err := mayChange(r, "change a WHIP session", q.key, q.bearer); err != nil {
		return nil, err
	}
	return q, nil
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request, id string) {
	q, err := s.authorised(r, id)
	if err != nil {
		problem(w, err)
		return
	}
	s.unregister(q)
	q.abort()
	w.WriteHeader(http.StatusOK)
}

func (s *Server) patch(w http.ResponseWriter, r *http.Request, id string) {
	q, err := s.authorised(r, id)
	if err != nil {
		problem(w, err)
		return
	}
	body, err := read(w, r, typeFragment, maxFragment)
	if err != nil {
		problem(w, err)
		return
	}
	f, err := parseFragment(body)
	if err != nil {
		problem(w, err)
		return
	}
	q.iceMu.Lock()
	defer q.iceMu.Unlock()
	if !matches(w, r, q.etag) {
		return
	}
	if f.ufrag == "" || f.ufrag == q.ufrag {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	answer, err := q.restart(ctx, f)
	if err != nil {
		problem(w, fault.Wrap(fault.Unsupported, "restart ICE of a WHIP session", "", err, "POST a new offer"))
		return
	}
	w.Header().Set("Content-Type", typeFragment)
	w.Header().Set("ETag", q.etag)
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, answer) // a client that is gone keeps what it had
}

// matches reports whether a PATCH is for the session as it is, and answers it otherwise.
func matches(w http.ResponseWriter, r *http.Request, etag string) bool {
	match := r.Header.Get("If-Match")
	if match == "" {
		problemStatus(w, http.StatusPreconditionRequired, fault.New(fault.Conflict, "change a WebRTC session", "", "If-Match is missing", "Send the ETag of the session"))
		return false
	}
	if match != "*" && match != etag {
		problemStatus(w, http.StatusPreconditionFailed, fault.New(fault.Conflict, "change a WebRTC session", "", "the session has another ETag", "Send that of the last answer"))
		return false
	}
	return true
}

func (r *PublishRequest) tag() string {
	r.iceMu.Lock()
	defer r.iceMu.Unlock()
	return r.etag
}

// restart gives the session new credentials of ICE. The caller holds iceMu.
func (r *PublishRequest) restart(ctx context.Context, f fragment) (string, error) {
	o := *r.offer
	o.ufrag, o.pwd = f.ufrag, f.pwd
	answer, err := r.peer.answer(ctx, o.text(r.server.cfg.StartBitrate))
	if err != nil {
		return "", err
	}
	r.ufrag, r.etag = f.ufrag, newTag()
	var mids []string
	for _, s := range o.sections {
		mids = append(mids, s.mid)
	}
	return fragment{ufrag: lineOf(answer, "a=ice-ufrag:"), pwd: lineOf(answer, "a=ice-pwd:")}.
		text(o.sections[0].kind.String(), mids, r.server.hosts.candidates(ctx)), nil
}

func lineOf(text, prefix string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimRight(v, "\r\n")
		}
	}
	return ""
}

// statuses maps the kinds of fault to HTTP.
var statuses = map[fault.Kind]int{
	fault.Invalid: http.StatusBadRequest, fault.Unauthorized: http.StatusUnauthorized, fault.Forbidden: http.StatusForbidden,
	fault.NotFound: http.StatusNotFound, fault.Conflict: http.StatusConflict, fault.Disabled: http.StatusForbidden,
	fault.Unsupported: http.StatusUnprocessableEntity, fault.TooLarge: http.StatusRequestEntityTooLarge,
	fault.TooMany: http.StatusTooManyRequests, fault.Timeout: http.StatusGatewayTimeout, fault.Unavailable: http.StatusServiceUnavailable,
}

// problem answers with an error (RFC 9457).
func problem(w http.ResponseWriter, err error) {
	var wrong errContentType
	if errors.As(err, &wrong) {
		w.Header().Set("Accept", string(wrong))
		problemStatus(w, http.StatusUnsupportedMediaType, fault.New(fault.Unsupported, "read a WebRTC request", "", "its Content-Type is another one", "Send "+string(wrong)))
		return
	}
	status, ok := statuses[fault.KindOf(err)]
	if !ok {
		status = http.StatusInternalServerError
	}
	problemStatus(w, status, err)
}

func problemStatus(w http.ResponseWriter, status int, err error) {
	h := w.Header()
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="onair"`)
	case http.StatusTooManyRequests, http.StatusConflict:
		h.Set("Retry-After", "5")
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		h.Set("Retry-After", "2")
	}
	kind := fault.KindOf(err)
	detail := err.Error()
	if kind == fault.Internal {
		detail = "The server has a defect; its log says more." // not for strangers
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // a client that is gone is told nothing
		"type": "urn:onair:problem:" + string(kind), "title": http.StatusText(status), "status": status, "detail": detail, "code": string(kind),
	})
}
