package api

import (
	"bytes"
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIdempotencyKey(t *testing.T) {
	h := newHarness(t)
	const path = "/v1/live-streams"
	first := h.do("POST", path, `{"title":"a"}`, "Idempotency-Key", "k1")
	want := decode(t, 201, first)
	for range 3 {
		w := h.do("POST", path, `{"title":"a"}`, "Idempotency-Key", "k1")
		if d := cmp.Diff(want, decode(t, 201, w)); d != "" {
			t.Errorf("another answer (-want +got):\n%s", d)
		}
		if w.Header().Get("Idempotency-Replayed") != "true" || first.Header().Get("Idempotency-Replayed") != "" {
			t.Error("a repeated answer does not say that it is one")
		}
		if w.Header().Get("X-Request-Id") == first.Header().Get("X-Request-Id") {
			t.Error("a repeated answer has the first one's request id")
		}
	}
	if p := h.want(422, "POST", path, `{"title":"b"}`, "Idempotency-Key", "k1"); !strings.Contains(str(t, p, "detail"), "another request") {
		t.Errorf("another body: %v", p)
	}
	h.want(422, "POST", path+"/"+str(t, want, "id")+"/disable", `{"title":"a"}`, "Idempotency-Key", "k1")
	if n := len(h.want(200, "GET", path, "")["data"].([]any)); n != 1 {
		t.Errorf("%d streams were made", n)
	}
	// A refusal is not kept: the same key may carry the corrected request.
	h.want(422, "POST", path, `{"titel":"a"}`, "Idempotency-Key", "k2")
	h.want(201, "POST", path, `{"title":"a"}`, "Idempotency-Key", "k2")
	for _, bad := range []string{strings.Repeat("k", 256), "a\tb", "ключ"} {
		h.want(422, "POST", path, "", "Idempotency-Key", bad)
	}
	h.want(401, "POST", path, `{"title":"a"}`, "Idempotency-Key", "k1", "Authorization", "")
	if strings.Contains(h.log.String(), "k1") {
		t.Error("keys are logged")
	}
}

func TestIdempotencyRace(t *testing.T) {
	h := newHarness(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes, ids := map[int]int{}, map[string]bool{}
	for range 16 {
		r := h.request("POST", "/v1/live-streams", `{"title":"race"}`, "Idempotency-Key", "same")
		wg.Go(func() {
			w := httptest.NewRecorder()
			h.api.ServeHTTP(w, r)
			mu.Lock()
			defer mu.Unlock()
			codes[w.Code]++
			if w.Code == 201 {
				ids[w.Body.String()] = true
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 || codes[201]+codes[409] != 16 {
		t.Errorf("answers %v, %d different bodies", codes, len(ids))
	}
	if n := len(h.want(200, "GET", "/v1/live-streams", "")["data"].([]any)); n != 1 {
		t.Errorf("%d streams were made", n)
	}
}

func TestIdempotencyClaimIsReleased(t *testing.T) {
	h := newHarness(t)
	// The client goes before the answer: the work is cancelled, the claim is not left.
	ctx, cancel := context.WithCancel(t.Context())
	r := h.request("POST", "/v1/live-streams", `{}`, "Idempotency-Key", "gone").WithContext(ctx)
	r.Body = cancelOnEOF{bytes.NewReader([]byte("{}")), cancel}
	h.serve(r)
	h.want(201, "POST", "/v1/live-streams", `{}`, "Idempotency-Key", "gone")
}

type cancelOnEOF struct {
	*bytes.Reader
	cancel context.CancelFunc
}

func (c cancelOnEOF) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil {
		c.cancel()
	}
	return n, err
}

func (c cancelOnEOF) Close() error { return nil }

func TestConcurrentWrites(t *testing.T) {
	h := newHarness(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				r := h.request("POST", "/v1/live-streams", `{"title":"x"}`)
				if w := h.serve(r); w.Code != 201 {
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
			}
		})
	}
	wg.Wait()
	if n := len(h.want(200, "GET", "/v1/live-streams?limit=100", "")["data"].([]any)); n != 80 {
		t.Errorf("%d of 80 streams are there", n)
	}
}
