package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"onair/internal/control/auth"
	"onair/internal/fault"
)

const (
	problemType = "application/problem+json"
	// maxProblemErrors and maxProblemText bound what of a hostile request is repeated.
	maxProblemErrors = 20
	maxProblemText   = 300
)

// statuses maps every kind of fault to a status, once.
var statuses = map[fault.Kind]int{
	fault.Invalid:      http.StatusUnprocessableEntity,
	fault.Unauthorized: http.StatusUnauthorized,
	fault.Forbidden:    http.StatusForbidden,
	fault.NotFound:     http.StatusNotFound,
	fault.Conflict:     http.StatusConflict,
	fault.Disabled:     http.StatusConflict,
	fault.Unsupported:  http.StatusUnprocessableEntity,
	fault.TooLarge:     http.StatusRequestEntityTooLarge,
	fault.TooMany:      http.StatusTooManyRequests,
	fault.Timeout:      http.StatusGatewayTimeout,
	fault.Unavailable:  http.StatusServiceUnavailable,
	fault.Internal:     http.StatusInternalServerError,
}

// kinds maps the statuses that come from HTTP itself, and not from a fault, back.
var kinds = map[int]fault.Kind{
	http.StatusBadRequest:            fault.Invalid,
	http.StatusNotFound:              fault.NotFound,
	http.StatusMethodNotAllowed:      fault.Unsupported,
	http.StatusNotAcceptable:         fault.Unsupported,
	http.StatusRequestTimeout:        fault.Timeout,
	http.StatusRequestEntityTooLarge: fault.TooLarge,
	http.StatusUnsupportedMediaType:  fault.Unsupported,
	http.StatusUnprocessableEntity:   fault.Invalid,
}

// titles name the kinds for people.
var titles = map[fault.Kind]string{
	fault.Invalid:      "The request is not valid",
	fault.Unauthorized: "Credentials are missing or wrong",
	fault.Forbidden:    "This is not allowed",
	fault.NotFound:     "There is no such thing",
	fault.Conflict:     "This is not possible in the present state",
	fault.Disabled:     "The operator switched this off",
	fault.Unsupported:  "The server cannot do this",
	fault.TooLarge:     "The request is too large",
	fault.TooMany:      "Too many requests",
	fault.Timeout:      "It took too long",
	fault.Unavailable:  "The server cannot answer at the moment",
	fault.Internal:     "The server failed",
}

// problem is an error as RFC 9457 has it.
type problem struct {
	Type      string          `json:"type" doc:"Names the kind of problem; the same for every problem of one code." example:"urn:onair:problem:not_found"`
	Title     string          `json:"title" doc:"The kind of problem in words."`
	Status    int             `json:"status" doc:"The HTTP status code."`
	Detail    string          `json:"detail" doc:"What went wrong this time and what to do about it."`
	Code      string          `json:"code" enum:"invalid,unauthorized,forbidden,not_found,conflict,disabled,unsupported,too_large,too_many,timeout,unavailable,internal" doc:"Stable name of the kind of problem, for programs."`
	Errors    []problemDetail `json:"errors,omitempty" nullable:"false" doc:"Which parts of the request are wrong."`
	RequestID string          `json:"request_id" doc:"Finds the request in the server's log; also in the header X-Request-Id."`

	cause error // for the log
}

// problemDetail is one wrong part of a request.
type problemDetail struct {
	Detail    string `json:"detail" doc:"What is wrong."`
	Pointer   string `json:"pointer,omitempty" doc:"JSON pointer (RFC 6901) into the body." example:"/title"`
	Parameter string `json:"parameter,omitempty" doc:"Name of the path, query or header parameter."`
}

// Error returns the detail.
func (p *problem) Error() string { return p.Detail }

// GetStatus tells huma the status.
func (p *problem) GetStatus() int { return p.Status }

// ContentType tells huma the media type.
func (p *problem) ContentType(string) string { return problemType }

// GetHeaders tells huma the headers that go with the problem.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="onair"`)
	case http.StatusTooManyRequests:
		h.Set("Retry-After", strconv.Itoa(int(auth.RetryAfter().Seconds())))
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	return h
}

// problemOf turns an error into a problem. Failures of the server are told in full to
// the administrator only: they may name files and hosts.
func problemOf(ctx context.Context, err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	kind := fault.KindOf(err)
	status, ok := statuses[kind]
	if !ok {
		kind, status = fault.Internal, http.StatusInternalServerError
	}
	p = &problem{Status: status, Code: string(kind), Detail: err.Error(), cause: err}
	var f *fault.Error
	if status >= 500 && (!infoOf(ctx).admin || !errors.As(err, &f)) {
		p.Detail = "The server's log tells why; look for the request id."
	}
	return p
}

// statusProblem makes a problem of a status that HTTP itself gives.
func statusProblem(status int, detail string) *problem {
	kind, ok := kinds[status]
	if !ok {
		kind = fault.Internal
	}
	return &problem{Status: status, Code: string(kind), Detail: detail}
}

// finish fills in what every problem has, and logs failures of the server.
func (a *API) finish(ctx context.Context, p *problem) *problem {
	out := *p
	out.Type = "urn:onair:problem:" + out.Code
	out.Title = titles[fault.Kind(out.Code)]
	out.RequestID = infoOf(ctx).id
	// A client that went away is no failure of the server.
	if out.Status >= 500 && ctx.Err() == nil {
		a.deps.Log.Error("request failed", "request_id", out.RequestID, "status", out.Status, "code", out.Code, "error", out.cause)
	}
	return &out
}

// transform is huma's hook on every body: its own errors become problems here.
func (a *API) transform(ctx huma.Context, _ string, v any) (any, error) {
	switch e := v.(type) {
	case *problem:
		return a.finish(ctx.Context(), e), nil
	case *huma.ErrorModel:
		return a.finish(ctx.Context(), fromHuma(e)), nil
	}
	return v, nil
}

// fromHuma rewrites an error of huma's validation. The values that it quotes are left
// out: one may be a secret in the wrong place.
func fromHuma(e *huma.ErrorModel) *problem {
	p := statusProblem(e.Status, e.Detail)
	if e.Status == http.StatusInternalServerError {
		p.cause = errors.New(e.Detail)
		p.Detail = "The server's log tells why; look for the request id."
		return p
	}
	var told []string
	for i, d := range e.Errors {
		if i == maxProblemErrors {
			p.Errors = append(p.Errors, problemDetail{Detail: "There are " + strconv.Itoa(len(e.Errors)-i) + " more."})
			break
		}
		out := problemDetail{Detail: clip(d.Message)}
		in, rest, _ := strings.Cut(d.Location, ".")
		where := rest
		if in == "body" {
			if rest != "" {
				out.Pointer = clip("/" + strings.NewReplacer(".", "/", "[", "/", "]", "").Replace(rest))
			} else {
				where = "body"
			}
		} else {
			out.Parameter = clip(rest)
		}
		p.Errors = append(p.Errors, out)
		if i < 3 {
			told = append(told, clip(where)+": "+out.Detail)
		}
	}
	if len(told) > 0 {
		p.Detail = strings.Join(told, "; ") + "."
	}
	if e.Status == http.StatusUnsupportedMediaType {
		p.Detail += " Send the header Content-Type: application/json."
	}
	return p
}

func clip(s string) string {
	if len(s) <= maxProblemText {
		return s
	}
	return strings.ToValidUTF8(s[:maxProblemText], "") + "…"
}

// writeProblem answers with a problem outside of huma.
func (a *API) writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(a.finish(r.Context(), p)) // the client may be gone
	}
}
