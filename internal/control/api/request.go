package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"onair/internal/fault"
)

// info is what handlers know of their request besides its input.
type info struct {
	id    string     // the request id
	base  string     // scheme and host as the client sees them, without a slash
	host  string     // the host alone
	from  netip.Addr // the client
	admin bool       // authorized as the administrator
}

type infoKey struct{}

func infoOf(ctx context.Context) *info {
	if i, ok := ctx.Value(infoKey{}).(*info); ok {
		return i
	}
	return new(info)
}

// describe reads what the request says about itself, and believes a proxy only if it
// is trusted.
func (a *API) describe(r *http.Request) *info {
	i := &info{id: requestID(r.Header.Get("X-Request-Id"))}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		i.from = ap.Addr().Unmap()
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if a.trusted(i.from) {
		if p := lastValue(r.Header, "X-Forwarded-Proto"); p == "http" || p == "https" {
			scheme = p
		}
		if h := lastValue(r.Header, "X-Forwarded-Host"); h != "" {
			host = h
		}
		i.from = a.client(r.Header, i.from)
	}
	if !validHost(host) {
		host = "localhost"
	}
	i.base = scheme + "://" + host
	if a.deps.PublicURL != "" {
		i.base = trimSlash(a.deps.PublicURL)
	}
	i.host = host
	if u, err := url.Parse(i.base); err == nil && u.Hostname() != "" {
		i.host = u.Hostname()
	}
	return i
}

func (a *API) trusted(addr netip.Addr) bool {
	for _, p := range a.deps.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// client returns the last address in X-Forwarded-For that is no trusted proxy: what
// stands before it was written by the client itself.
func (a *API) client(h http.Header, peer netip.Addr) netip.Addr {
	hops := strings.Split(strings.Join(h.Values("X-Forwarded-For"), ","), ",")
	for n := len(hops) - 1; n >= 0; n-- {
		addr, err := netip.ParseAddr(strings.TrimSpace(hops[n]))
		if err != nil {
			return peer
		}
		if peer = addr.Unmap(); !a.trusted(peer) {
			return peer
		}
	}
	return peer
}

func lastValue(h http.Header, name string) string {
	all := strings.Split(strings.Join(h.Values(name), ","), ",")
	return strings.TrimSpace(all[len(all)-1])
}

// validHost tells whether host[:port] can stand in a URL as it is.
func validHost(host string) bool {
	if host == "" || len(host) > 260 {
		return false
	}
	for i := range len(host) {
		c := host[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".-_:[]", rune(c)) {
			return false
		}
	}
	u, err := url.Parse("http://" + host)
	return err == nil && u.Host == host && u.Hostname() != ""
}

// requestID takes the client's id if it is harmless in a log, or makes one.
func requestID(given string) string {
	const most = 64
	ok := given != "" && len(given) <= most
	for i := 0; ok && i < len(given); i++ {
		c := given[i]
		ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'
	}
	if ok {
		return given
	}
	return "rq_" + strings.ToLower(rand.Text())
}

func trimSlash(s string) string { return strings.TrimRight(s, "/") }

// public marks an operation that needs no token. An operation that says nothing needs one.
const public = "public"

// authorize is the gate in front of every operation.
func (a *API) authorize(ctx huma.Context, next func(huma.Context)) {
	if ctx.Operation().Metadata[public] == true {
		next(ctx)
		return
	}
	i := infoOf(ctx.Context())
	if err := a.deps.Auth.AdmitAdmin(i.from, bearer(ctx.Header("Authorization"))); err != nil {
		a.refuse(ctx, err)
		return
	}
	i.admin = true
	next(ctx)
}

// AdmitAdmin refuses a request to what is served beside the API if it may not administer, as
// the API refuses its own.
func (a *API) AdmitAdmin(r *http.Request) error {
	return a.deps.Auth.AdmitAdmin(a.describe(r).from, bearer(r.Header.Get("Authorization")))
}

// bearer reads the admin token from an Authorization header: as Bearer, or as Basic in
// place of the id or the secret with the other one empty.
func bearer(header string) string {
	scheme, value, _ := strings.Cut(header, " ")
	value = strings.TrimSpace(value)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return value
	case strings.EqualFold(scheme, "Basic"):
		b, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return ""
		}
		id, secret, _ := strings.Cut(string(b), ":")
		switch {
		case id == "":
			return secret
		case secret == "":
			return id
		}
		return string(b) // both: no token has a colon in it, so this one is wrong
	}
	return ""
}

// refuse answers an operation with an error before its handler.
func (a *API) refuse(ctx huma.Context, err error) {
	r, w := humago.Unwrap(ctx)
	a.writeProblem(w, r, problemOf(ctx.Context(), err))
}

// limitBody gives the body its time to arrive. The deadline is lifted by readBody and
// by the end of the request, not by an error: then it also ends the server's own wait
// for the rest of the body.
func (a *API) limitBody(w http.ResponseWriter) {
	// Not every ResponseWriter has deadlines; those of net/http's server have.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.bodyTime))
}

// readBody reads the body, whole and bounded in size and time, before anything looks
// at it.
func (a *API) readBody(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	if r.Body == nil || r.ContentLength == 0 {
		next(ctx)
		return
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		a.rejected.WithLabelValues("body").Inc()
		a.refuse(ctx, fault.New(fault.TooLarge, "read the request", "", "the body is longer than 64 KiB",
			"Send less; metadata is meant for a few short values."))
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		a.rejected.WithLabelValues("body").Inc()
		w.Header().Set("Connection", "close")
		a.refuse(ctx, statusProblem(http.StatusRequestTimeout, "The body took longer than "+bodyTime.String()+" to arrive."))
		return
	case err != nil:
		a.refuse(ctx, statusProblem(http.StatusBadRequest, "The body broke off."))
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // as in limitBody
	r.Body = io.NopCloser(bytes.NewReader(b))
	next(ctx)
}
