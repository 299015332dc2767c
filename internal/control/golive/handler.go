package golive

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
)

type handler struct {
	deps    Deps
	answers *prometheus.CounterVec
}

// New makes the handler: POST on any path is the question of OBS; GET gives the JSON to
// paste, with the stream key as bearer token and gpu, cores, width, height and fps in
// the query (by default none, unknown, 1920, 1080 and 60).
//
// OBS shows an error only if it comes with status 200, in the answer's own status.
func New(d Deps) (http.Handler, error) {
	h := &handler{deps: d, answers: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "onair_golive_answers_total", Help: "Answers to OBS about multitrack video."}, []string{"result"})}
	if err := d.Reg.Register(h.answers); err != nil {
		return nil, err
	}
	for _, r := range []string{Success, Warning, Failure} {
		h.answers.WithLabelValues(r)
	}
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch r.Method {
	case http.MethodPost:
		h.configure(w, r)
	case http.MethodGet:
		h.override(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		h.problem(w, http.StatusMethodNotAllowed, "only GET and POST are known here")
	}
}

func (h *handler) configure(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	if err != nil && !errors.As(err, &large) {
		return // the client is gone
	}
	if err != nil {
		h.answers.WithLabelValues(Failure).Inc()
		h.problem(w, http.StatusRequestEntityTooLarge, "the request has more than 64 KiB")
		return
	}
	req, err := Parse(body)
	var out Response
	if err == nil {
		out, err = h.decide(r, req)
	}
	if err != nil {
		out = failed(req, err)
	}
	h.answers.WithLabelValues(out.Status.Result).Inc()
	log := h.deps.Log.With("peer", r.RemoteAddr, "client", printable(req.Client.Name+" "+req.Client.Version))
	if err != nil {
		level := slog.LevelInfo
		if fault.KindOf(err) == fault.Internal {
			level = slog.LevelError
		}
		log.Log(r.Context(), level, "refused multitrack video", "reason", err.Error())
	} else {
		log.Info("configured multitrack video", "config", out.Meta.ConfigID, "encoder", out.Encoders[0].Type, "tracks", len(out.Encoders))
	}
	h.write(w, out)
}

func (h *handler) decide(r *http.Request, req Request) (Response, error) {
	s, err := h.deps.Stream(r.Context(), r, req.Authentication)
	if err != nil {
		return Response{}, err
	}
	out, err := Configure(req, s.Limits)
	if err != nil {
		return out, err
	}
	out.IngestEndpoints = s.Endpoints
	return out, nil
}

func (h *handler) override(w http.ResponseWriter, r *http.Request) {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		h.problem(w, http.StatusUnauthorized, "the stream key is missing: send it as bearer token")
		return
	}
	m := Machine{GPU: r.URL.Query().Get("gpu"), Width: 1920, Height: 1080, FPS: 60}
	for name, into := range map[string]*int{"cores": &m.Cores, "width": &m.Width, "height": &m.Height, "fps": &m.FPS} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			h.problem(w, http.StatusBadRequest, name+" is no whole number")
			return
		}
		*into = n
	}
	s, err := h.deps.Stream(r.Context(), r, key)
	if err == nil {
		var out Response
		if out, err = Override(m, s.Limits, s.Endpoints); err == nil {
			h.write(w, out)
			return
		}
	}
	status, text := http.StatusInternalServerError, "the server failed; its log says why"
	switch fault.KindOf(err) {
	case fault.Internal:
		h.deps.Log.Error("cannot configure multitrack video", "error", err)
	case fault.Unauthorized, fault.NotFound:
		status, text = http.StatusUnauthorized, err.Error()
	case fault.Disabled, fault.Forbidden:
		status, text = http.StatusForbidden, err.Error()
	case fault.Unavailable:
		status, text = http.StatusServiceUnavailable, err.Error()
	default:
		status, text = http.StatusBadRequest, err.Error()
	}
	h.problem(w, status, text)
}

func (h *handler) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // a client that is gone cannot be told
}

// problem answers with RFC 9457 problem details.
func (h *handler) problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "title": http.StatusText(status), "detail": detail})
}

// printable makes a text from outside fit for logs.
func printable(s string) string {
	const longest = 64
	s = strings.ToValidUTF8(s, "")
	return strings.TrimSpace(strconv.QuoteToASCII(s[:min(len(s), longest)]))
}
