package auth

import (
	"context"
	"strings"
	"testing"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// Nobody is told that a key or an id is wrong, or that the server has a defect, because the
// database does not answer: they are to come again.
func TestDatabaseIsAway(t *testing.T) {
	a, st, _ := newAuth(t)
	l := newStream(t, st, store.Public)
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	<-ctx.Done()
	id := l.PlaybackIDs[0].ID
	for name, ask := range map[string]func() error{
		"publish":    func() error { _, err := a.AdmitPublish(ctx, l.StreamKey); return err },
		"pull":       func() error { _, err := a.AdmitPull(ctx, l.ID); return err },
		"key":        func() error { _, err := a.StreamByKey(ctx, l.StreamKey); return err },
		"passphrase": func() error { _, err := a.Passphrase(ctx, true, l.StreamKey); return err },
		"play":       func() error { _, err := a.StreamOf(ctx, id); return err },
		"watch":      func() error { _, err := a.Watch(ctx, id); return err },
		"replay":     func() error { _, err := a.Replay(ctx, l.ID, store.Public); return err },
	} {
		if err := ask(); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "Try again") {
			t.Errorf("%s: %s: %v", name, fault.KindOf(err), err)
		}
	}
}
