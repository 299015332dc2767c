package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// maxKeyLen bounds an Idempotency-Key.
const maxKeyLen = 255

// idempotent makes a repeated POST with the same Idempotency-Key answer what the first
// one was answered, for 24 hours. Only successes are kept: what was refused changed
// nothing and may simply be tried again.
func (a *API) idempotent(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	key := r.Header.Get("Idempotency-Key")
	if r.Method != http.MethodPost || key == "" {
		next(ctx)
		return
	}
	if !validKey(key) {
		a.refuse(ctx, fault.New(fault.Invalid, "use the idempotency key", "",
			"it must be 1 to 255 printable ASCII characters", "A random UUID is a good one."))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		a.refuse(ctx, err)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	kept, evicted, err := a.deps.Store.ClaimKey(ctx.Context(), key, fingerprint(r, body))
	a.rejected.WithLabelValues("idempotency_evicted").Add(float64(evicted))
	if err != nil {
		a.refuse(ctx, err)
		return
	}
	if kept != nil {
		w.Header().Set("Idempotency-Replayed", "true")
		answer(w, *kept)
		return
	}
	// The claim is settled even if the client goes away in the meantime.
	settle := context.WithoutCancel(ctx.Context())
	finished := false
	defer func() {
		if finished {
			return
		}
		if err := a.deps.Store.ReleaseKey(settle, key); err != nil {
			a.deps.Log.Warn("an idempotency key stays claimed for two minutes", "request_id", infoOf(ctx.Context()).id, "error", err)
		}
	}()
	rec := newRecorder()
	next(humago.NewContext(ctx.Operation(), r, rec))
	if rec.status < 300 {
		got := store.Answer{Status: rec.status, ContentType: rec.header.Get("Content-Type"), Body: rec.body.Bytes()}
		if err := a.deps.Store.FinishKey(settle, key, got); err != nil {
			a.deps.Log.Warn("an answer could not be kept for repetition", "request_id", infoOf(ctx.Context()).id, "error", err)
		} else {
			finished = true
		}
	}
	for k, v := range rec.header {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.status)
	_, _ = w.Write(rec.body.Bytes()) // the client may be gone
}

func answer(w http.ResponseWriter, a store.Answer) {
	if a.ContentType != "" {
		w.Header().Set("Content-Type", a.ContentType)
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // the client may be gone
}

func validKey(key string) bool {
	if len(key) > maxKeyLen {
		return false
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return false
		}
	}
	return true
}

// fingerprint tells requests apart: a key belongs to one address and one body.
func fingerprint(r *http.Request, body []byte) []byte {
	h := sha256.New()
	_, _ = io.WriteString(h, r.Method+"\n"+r.URL.RequestURI()+"\n") // a hash does not fail
	_, _ = h.Write(body)
	return h.Sum(nil)
}

// recorder holds a response back.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, status: http.StatusOK} }

// Header returns the header to be sent.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader keeps the status.
func (r *recorder) WriteHeader(code int) { r.status = code }

// Write keeps a part of the body.
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
