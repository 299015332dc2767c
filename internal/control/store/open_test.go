package store_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/control/store"
	"onair/internal/fault"
)

func wantFault(t *testing.T, err error, kind fault.Kind, hint string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != kind || !strings.Contains(f.Hint, hint) || f.Op == "" || f.Cause == nil {
		t.Errorf("got %v, want a fault of kind %s that says %q", err, kind, hint)
	}
}

func sqliteConfig(dir string) store.Config {
	cfg := store.DefaultConfig()
	cfg.Dir, cfg.BusyTimeout = dir, 20*time.Millisecond
	return cfg
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b c?d#e%20f")
	var logged bytes.Buffer
	s, err := store.Open(t.Context(), sqliteConfig(dir), slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Kind() != "sqlite" || !strings.Contains(logged.String(), "to=6") {
		t.Errorf("opened %s, logged %q", s.Kind(), &logged)
	}
	if _, err := s.CreateLiveStream(t.Context(), store.LiveStream{}, nil); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*", "onair.db*"))
	if err != nil || len(files) != 3 { // the file, its -wal and its -shm
		t.Fatalf("made %v, %v", files, err)
	}
	for _, f := range files {
		if fi, err := os.Stat(f); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v; it holds stream keys", f, fi.Mode(), err)
		}
	}
}

func TestOpenAgainKeepsWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	var id string
	for i := range 3 {
		s, err := store.Open(t.Context(), sqliteConfig(dir), quiet())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			l, err := s.CreateLiveStream(t.Context(), store.LiveStream{Title: "kept"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			id = l.ID
		}
		if l, err := s.LiveStream(t.Context(), id); err != nil || l.Title != "kept" {
			t.Errorf("start %d: %+v, %v", i, l, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenOlderSchema(t *testing.T) {
	dir := t.TempDir()
	upgrade(t, "sqlite", filepath.Join(dir, "onair.db"), sqliteConfig(dir))
}

// upgrade opens a database that was last used before streams had ladders,
// assets and chat.
func upgrade(t *testing.T, driver, dsn string, cfg store.Config) {
	t.Helper()
	s, err := store.Open(t.Context(), cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.CreateLiveStream(t.Context(), store.LiveStream{Title: "older"}, []store.Policy{store.Public})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, column := range []string{"ladder_profile", "ladder_rungs", "ladder_mode", "realtime_viewers", "dvr", "dvr_window", "retention_days", "retention_bytes"} {
		exec(t, driver, dsn, "ALTER TABLE live_streams DROP COLUMN "+column)
	}
	for _, statement := range []string{
		"CREATE TABLE older (id TEXT NOT NULL PRIMARY KEY, live_stream_id TEXT NOT NULL REFERENCES live_streams (id) ON DELETE CASCADE, " +
			"policy TEXT NOT NULL, created_at BIGINT NOT NULL)",
		"INSERT INTO older SELECT id, live_stream_id, policy, created_at FROM playback_ids",
		"DROP TABLE chat_events", "DROP TABLE chat_bans", "DROP TABLE chat_rooms", "DROP TABLE playback_ids", "ALTER TABLE older RENAME TO playback_ids", "DROP TABLE assets",
		"CREATE INDEX playback_ids_of_stream ON playback_ids (live_stream_id, created_at, id)",
		"DELETE FROM goose_db_version WHERE version_id >= 3",
	} {
		exec(t, driver, dsn, statement)
	}
	s = openStore(t, cfg)
	got, err := s.LiveStream(t.Context(), l.ID)
	if d := cmp.Diff(l, got); err != nil || d != "" {
		t.Errorf("%v, read back (-want +got):\n%s", err, d)
	}
	many := 7
	got, err = s.UpdateLiveStream(t.Context(), l.ID, func(l *store.LiveStream) error {
		l.Ladder.Rungs, l.RealtimeViewers = []string{"480p"}, &many
		return nil
	})
	if err != nil || got.Ladder.Rungs[0] != "480p" {
		t.Errorf("updated %+v, %v", got, err)
	}
	if p, err := s.Playback(t.Context(), l.PlaybackIDs[0].ID); err != nil || p.RealtimeViewers == nil || *p.RealtimeViewers != many {
		t.Errorf("playback %+v, %v", p, err)
	}
	a, err := s.CreateAsset(t.Context(), l.ID)
	if err != nil || len(a.PlaybackIDs) != 1 {
		t.Errorf("an asset of a stream of then: %+v, %v", a, err)
	}
	if _, err := s.DeleteLiveStream(t.Context(), l.ID); err != nil {
		t.Error(err)
	}
	if _, err := s.Playback(t.Context(), l.PlaybackIDs[0].ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("the playback id of a deleted stream stays: %v", err)
	}
	if p, err := s.Playback(t.Context(), a.PlaybackIDs[0].ID); err != nil || p.AssetID != a.ID {
		t.Errorf("the asset's playback id: %+v, %v", p, err)
	}
}

func TestOpenUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "onair.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	// The tests may run as root, whom no mode stops: hence a file where the folder
	// should be, a folder where the file should be, and a file system that takes none.
	for _, dir := range []string{file, filepath.Join(file, "below"), folder, "/proc", "/proc/none"} {
		_, err := store.Open(t.Context(), sqliteConfig(dir), quiet())
		wantFault(t, err, fault.Unavailable, "--data")
		if err != nil && !strings.Contains(err.Error(), dir) {
			t.Errorf("%v does not name %s", err, dir)
		}
	}
}

func TestOpenDamaged(t *testing.T) {
	noise := bytes.Repeat([]byte("this is not a database "), 1000)
	whole := damagedCopy(t)
	for name, content := range map[string][]byte{"noise": noise, "torn": whole} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "onair.db"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := store.Open(t.Context(), sqliteConfig(dir), quiet())
		if err == nil {
			t.Errorf("%s: opened", name)
			continue
		}
		wantFault(t, err, fault.Internal, "restore it from a backup")
		if got, _ := os.ReadFile(filepath.Join(dir, "onair.db")); !bytes.Equal(got, content) {
			t.Errorf("%s: the file was written to", name)
		}
	}
}

// damagedCopy returns a database whose pages after the first were overwritten.
func damagedCopy(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(t.Context(), sqliteConfig(dir), quiet())
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := s.CreateLiveStream(t.Context(), store.LiveStream{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "onair.db"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(b); i++ {
		b[i] = 0xa5
	}
	return b
}

func TestWriteWhileLocked(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(t.Context(), sqliteConfig(dir), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	release := lockFile(t, filepath.Join(dir, "onair.db"))
	_, err = s.CreateLiveStream(t.Context(), store.LiveStream{}, nil)
	wantFault(t, err, fault.Unavailable, "Another program holds the database")
	release()
	if _, err := s.CreateLiveStream(t.Context(), store.LiveStream{}, nil); err != nil {
		t.Errorf("after the lock was released: %v", err)
	}
}

func TestOpenWhileLocked(t *testing.T) {
	dir := t.TempDir()
	release := lockFile(t, filepath.Join(dir, "onair.db"))
	_, err := store.Open(t.Context(), sqliteConfig(dir), quiet())
	wantFault(t, err, fault.Unavailable, "Another program holds the database")
	release()
	s, err := store.Open(t.Context(), sqliteConfig(dir), quiet())
	if err != nil {
		t.Fatalf("after the lock was released: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenNewerSchema(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(t.Context(), sqliteConfig(dir), quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, "sqlite", filepath.Join(dir, "onair.db"), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
	_, err = store.Open(t.Context(), sqliteConfig(dir), quiet())
	wantFault(t, err, fault.Conflict, "Run the newer onair")
}

func TestOpenPostgreSQLAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cfg := store.DefaultConfig()
	cfg.URL = "postgres://user:geheim@" + addr + "/onair?sslmode=disable"
	_, err = store.Open(t.Context(), cfg, quiet())
	wantFault(t, err, fault.Unavailable, "--database")
	if err == nil || strings.Contains(err.Error(), "geheim") || !strings.Contains(err.Error(), addr) {
		t.Errorf("%v must name the server and not the password", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	if err := store.DefaultConfig().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	bad := store.Config{URL: "mysql://root:geheim@x", BusyTimeout: -1}
	err := bad.Validate()
	for _, key := range []string{"database", "database-connections", "max_idempotency_keys", "busy_timeout"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
	if strings.Contains(err.Error(), "geheim") {
		t.Errorf("%v tells the password", err)
	}
	_, err = store.Open(t.Context(), bad, quiet())
	wantFault(t, err, fault.Invalid, "")
	bad = store.DefaultConfig()
	bad.URL = "postgres://u:p%zz@h/x"
	wantFault(t, bad.Validate(), fault.Invalid, "%XX")
	bad = store.DefaultConfig()
	bad.Dir = ""
	wantFault(t, bad.Validate(), fault.Invalid, "--data")
}

func TestCancelledRequestIsNoInternalError(t *testing.T) {
	s, err := store.Open(t.Context(), sqliteConfig(t.TempDir()), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.LiveStream(ctx, "ls_a")
	wantFault(t, err, fault.Timeout, "")
	_, err = s.CreateLiveStream(ctx, store.LiveStream{}, nil)
	wantFault(t, err, fault.Timeout, "")
}
