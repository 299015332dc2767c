package auth

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"onair/internal/control/store"
	"onair/internal/fault"
)

func TestPassphrase(t *testing.T) {
	a, st, _ := newAuth(t)
	l, err := st.CreateLiveStream(t.Context(), store.LiveStream{SRTPassphrase: "correct-horse"}, []store.Policy{store.Public, store.Signed})
	if err != nil {
		t.Fatal(err)
	}
	plain := newStream(t, st, store.Public)
	for _, tt := range []struct {
		publish bool
		name    string
		want    string
		kind    fault.Kind
	}{
		{true, l.StreamKey, "correct-horse", ""},
		{true, plain.StreamKey, "", ""},
		{false, l.PlaybackIDs[0].ID, "correct-horse", ""},
		{false, plain.PlaybackIDs[0].ID, "", ""},
		{false, l.PlaybackIDs[1].ID, "", fault.Forbidden},
		{true, l.PlaybackIDs[0].ID, "", fault.Unauthorized},
		{false, l.StreamKey, "", fault.NotFound},
		{true, "", "", fault.Unauthorized},
		{true, strings.Repeat("a", 4096), "", fault.Unauthorized},
		{false, "\x00\xff", "", fault.NotFound},
	} {
		got, err := a.Passphrase(t.Context(), tt.publish, tt.name)
		if got != tt.want || (err == nil) != (tt.kind == "") {
			t.Errorf("publish %v, %.10q: %q, %v", tt.publish, tt.name, got, err)
		}
		if tt.kind != "" {
			wantKind(t, err, tt.kind)
		}
		if err != nil && strings.Contains(err.Error(), l.StreamKey) {
			t.Errorf("the error tells the key: %v", err)
		}
	}
}

// TestKeysAreRememberedAndForgotten sees a change at once where it is told of, and in
// time where another process made it.
func TestKeysAreRememberedAndForgotten(t *testing.T) {
	a, st, _ := newAuth(t)
	l := newStream(t, st)
	set := func(p string) {
		t.Helper()
		if _, err := st.UpdateLiveStream(t.Context(), l.ID, func(l *store.LiveStream) error { l.SRTPassphrase = p; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	get := func() string {
		t.Helper()
		p, err := a.Passphrase(t.Context(), true, l.StreamKey)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	set("first-one-set")
	if p := get(); p != "first-one-set" {
		t.Errorf("got %q", p)
	}
	set("second-one-set")
	if p := get(); p != "first-one-set" {
		t.Errorf("looked up again at once: %q", p)
	}
	a.ForgetKey(l.StreamKey)
	if p := get(); p != "second-one-set" {
		t.Errorf("after ForgetKey: %q", p)
	}
	old := l.StreamKey
	fresh, err := st.ResetStreamKey(t.Context(), l.ID)
	if err != nil {
		t.Fatal(err)
	}
	a.ForgetKey(old, fresh.StreamKey)
	_, err = a.StreamByKey(t.Context(), old)
	wantKind(t, err, fault.Unauthorized)
	if got, err := a.StreamByKey(t.Context(), fresh.StreamKey); err != nil || got.ID != l.ID {
		t.Errorf("the new key: %v, %v", got.ID, err)
	}
	if _, err := st.UpdateLiveStream(t.Context(), l.ID, func(l *store.LiveStream) error { l.Disabled = true; return nil }); err != nil {
		t.Fatal(err)
	}
	a.ForgetKey(fresh.StreamKey)
	_, err = a.StreamByKey(t.Context(), fresh.StreamKey)
	wantKind(t, err, fault.Disabled)
	a.keys.Set(sha256.Sum256([]byte("sk_old")), cachedKey{stream: l, until: time.Now().Add(-time.Second)})
	_, err = a.StreamByKey(t.Context(), "sk_old") // what was remembered is too old to be believed
	wantKind(t, err, fault.Unauthorized)
	_, err = a.AdmitPull(t.Context(), l.ID)
	wantKind(t, err, fault.Disabled)
	_, err = a.AdmitPull(t.Context(), "ls_none")
	wantKind(t, err, fault.NotFound)
}

func TestKeyCacheIsBounded(t *testing.T) {
	a, st, _ := newAuth(t)
	l := newStream(t, st)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 100 {
				if _, err := a.StreamByKey(t.Context(), fmt.Sprintf("sk_%d_%d", g, i)); !fault.Is(err, fault.Unauthorized) {
					t.Errorf("a guess: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	for i := range 2 * keyCacheSize { // without the database
		var h keyHash
		copy(h[:], fmt.Sprint("guess", i))
		a.keys.Set(h, cachedKey{})
	}
	a.keys.CleanUp()
	if n := a.keys.EstimatedSize(); n > keyCacheSize {
		t.Errorf("%d keys are remembered, at most %d should be", n, keyCacheSize)
	}
	if _, err := a.StreamByKey(t.Context(), l.StreamKey); err != nil {
		t.Error(err)
	}
}
