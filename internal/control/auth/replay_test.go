package auth

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// TestReplayIsRememberedForAMoment asks the database once for all who ask at the end of a
// broadcast.
func TestReplayIsRememberedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, st, _ := newAuth(t)
		l := newStream(t, st, store.Public, store.Signed)
		ctx := context.WithoutCancel(t.Context())
		none := func() {
			t.Helper()
			_, err := a.Replay(ctx, l.ID, store.Public)
			wantKind(t, err, fault.NotFound)
		}
		none()
		asset, err := st.CreateAsset(ctx, l.ID)
		if err != nil {
			t.Fatal(err)
		}
		none()
		time.Sleep(replayTTL)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if r, err := a.Replay(ctx, l.ID, store.Public); err != nil || r.AssetID != asset.ID || r.PlaybackID != asset.PlaybackIDs[0].ID {
					t.Errorf("got %+v, %v", r, err)
				}
			})
		}
		wg.Wait()
		if r, err := a.Replay(ctx, l.ID, store.Signed); err != nil || r.PlaybackID != asset.PlaybackIDs[1].ID {
			t.Errorf("of the other policy: %+v, %v", r, err)
		}
		// What it was is told for two seconds more, also if the database is gone by then.
		st.Close()
		if _, err := a.Replay(ctx, l.ID, store.Public); err != nil {
			t.Error(err)
		}
		time.Sleep(replayTTL)
		if _, err := a.Replay(ctx, l.ID, store.Public); err == nil || fault.Is(err, fault.NotFound) {
			t.Errorf("without a database: %v", err)
		}
	})
}
