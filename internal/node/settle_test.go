package node

import (
	"context"
	"database/sql"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"onair/internal/control/store"
	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/hub"
	"onair/internal/record"
)

func broadcastsOf(t *testing.T) (*broadcasts, string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cfg := store.DefaultConfig()
	cfg.Dir, cfg.BusyTimeout = t.TempDir(), 0
	db, err := store.Open(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	folder, err := record.NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	bus := event.NewBus()
	h := hub.New(hub.DefaultConfig(), bus, log, nil)
	return &broadcasts{
		store: db, bus: bus, library: record.New(record.DefaultConfig(), folder, folder, nil, log, nil), hub: h,
		pack: pack.New(pack.DefaultConfig(), h, log, nil), log: log, replays: &replays{store: db},
	}, filepath.Join(cfg.Dir, "onair.db")
}

// A start does not wait for a database that takes nothing, and what it should have been told
// it is told when it does again.
func TestSettleDoesNotWait(t *testing.T) {
	b, file := broadcastsOf(t)
	stream, err := b.store.CreateLiveStream(t.Context(), store.LiveStream{LatencyMode: "low"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	asset, err := b.store.CreateAsset(t.Context(), stream.ID)
	if err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // it is over by then
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b.settle(ctx)
	if ctx.Err() != nil {
		t.Fatal("the start waited for the database")
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := b.run(ended); err != nil {
		t.Fatal(err)
	}
	if a, err := b.store.Asset(t.Context(), asset.ID); err != nil || a.Status != store.AssetErrored {
		t.Errorf("%v %v", a.Status, err)
	}
}
