package storetest

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"onair/internal/control/store"
	"onair/internal/fault"
)

func fingerprint(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }

func claim(t *testing.T, s *store.Store, key, request string) (*store.Answer, error) {
	t.Helper()
	a, _, err := s.ClaimKey(t.Context(), key, fingerprint(request))
	return a, err
}

func idempotency(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	if a, err := claim(t, s, "k", "one"); a != nil || err != nil {
		t.Fatalf("the first claim: %v, %v", a, err)
	}
	_, err := claim(t, s, "k", "one")
	wantKind(t, err, fault.Conflict)
	_, err = claim(t, s, "k", "two")
	wantKind(t, err, fault.Invalid)
	want := store.Answer{Status: 201, ContentType: "application/json", Body: []byte(`{"a":1}`)}
	if err := s.FinishKey(t.Context(), "k", want); err != nil {
		t.Fatal(err)
	}
	a, err := claim(t, s, "k", "one")
	if err != nil || !cmp.Equal(*a, want) {
		t.Errorf("the answer again: %+v, %v", a, err)
	}
	_, err = claim(t, s, "k", "two")
	wantKind(t, err, fault.Invalid)
	if err := s.ReleaseKey(t.Context(), "k"); err != nil { // finished ones are not released
		t.Fatal(err)
	}
	if a, err := claim(t, s, "k", "one"); a == nil || err != nil {
		t.Errorf("releasing took a finished answer: %v", err)
	}
	if _, err := claim(t, s, "r", "one"); err != nil {
		t.Fatal(err)
	}
	if err := s.ReleaseKey(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	if a, err := claim(t, s, "r", "two"); a != nil || err != nil {
		t.Errorf("a released key is still claimed: %v, %v", a, err)
	}
	if err := s.FinishKey(t.Context(), "r", store.Answer{Status: 204}); err != nil {
		t.Fatal(err)
	}
	a, err = claim(t, s, "r", "two")
	if err != nil || !cmp.Equal(*a, store.Answer{Status: 204}, cmpopts.EquateEmpty()) {
		t.Errorf("an empty answer: %+v, %v", a, err)
	}
}

func idempotencyExpires(t *testing.T, open Opener) {
	s, c := simple(t, open)
	for _, k := range []string{"done", "died"} {
		if _, err := claim(t, s, k, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.FinishKey(t.Context(), "done", store.Answer{Status: 200}); err != nil {
		t.Fatal(err)
	}
	c.Advance(3 * time.Minute)
	if a, err := claim(t, s, "died", "x"); a != nil || err != nil {
		t.Errorf("the claim of a dead request: %v, %v", a, err)
	}
	c.Advance(23*time.Hour + 56*time.Minute)
	if a, err := claim(t, s, "done", "x"); a == nil || err != nil {
		t.Errorf("before 24 h: %v, %v", a, err)
	}
	c.Advance(2 * time.Minute)
	if a, err := claim(t, s, "done", "other"); a != nil || err != nil {
		t.Errorf("after 24 h: %v, %v", a, err)
	}
}

func idempotencyBounded(t *testing.T, open Opener) {
	c := NewClock()
	s := open(t, c.Now, 3)
	evicted := 0
	for i := range 10 {
		c.Advance(time.Second)
		key := fmt.Sprint("k", i)
		a, gone, err := s.ClaimKey(t.Context(), key, fingerprint("x"))
		if a != nil || err != nil {
			t.Fatal(a, err)
		}
		evicted += gone
		if err := s.FinishKey(t.Context(), key, store.Answer{Status: 200}); err != nil {
			t.Fatal(err)
		}
	}
	if evicted != 7 {
		t.Errorf("%d of 10 were evicted, want 7", evicted)
	}
	for i, want := range map[int]bool{7: true, 8: true, 9: true} {
		if a, err := claim(t, s, fmt.Sprint("k", i), "x"); (a != nil) != want || err != nil {
			t.Errorf("k%d is kept: %v, want %v (%v)", i, a != nil, want, err)
		}
	}
}

func oneClaimWins(t *testing.T, open Opener) {
	s, _ := simple(t, open)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		wg.Go(func() {
			a, _, err := s.ClaimKey(t.Context(), "k", fingerprint("x"))
			if err == nil && a == nil {
				mu.Lock()
				won++
				mu.Unlock()
			} else if !fault.Is(err, fault.Conflict) {
				t.Errorf("a later claim: %v, %v", a, err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d claims won", won)
	}
}
