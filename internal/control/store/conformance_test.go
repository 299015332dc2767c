package store_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onair/internal/control/store"
	"onair/internal/control/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openStore(t *testing.T, cfg store.Config) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLite(t *testing.T) {
	storetest.Test(t, func(t *testing.T, now func() time.Time, keys int) *store.Store {
		cfg := store.DefaultConfig()
		cfg.Dir, cfg.Now, cfg.MaxIdempotencyKeys = t.TempDir(), now, keys
		return openStore(t, cfg)
	})
}

// TestPostgreSQL runs the same suite where ONAIR_TEST_POSTGRES names a server, as
// postgres://user:password@host/name of a role that may create schemas.
func TestPostgreSQL(t *testing.T) {
	server := os.Getenv("ONAIR_TEST_POSTGRES")
	if server == "" {
		t.Skip("ONAIR_TEST_POSTGRES is not set")
	}
	storetest.Test(t, func(t *testing.T, now func() time.Time, keys int) *store.Store {
		cfg := postgresConfig(t, server)
		cfg.Now, cfg.MaxIdempotencyKeys = now, keys
		return openStore(t, cfg)
	})
	t.Run("several start at once", func(t *testing.T) {
		cfg := postgresConfig(t, server)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s, err := store.Open(t.Context(), cfg, quiet())
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("no such database", func(t *testing.T) {
		cfg := postgresConfig(t, server)
		u, err := url.Parse(cfg.URL)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/there_is_no_such_database"
		cfg.URL = u.String()
		_, err = store.Open(t.Context(), cfg, quiet())
		wantFault(t, err, "unavailable", "Make the database first")
	})
	t.Run("older schema", func(t *testing.T) {
		cfg := postgresConfig(t, server)
		upgrade(t, "pgx", cfg.URL, cfg)
	})
	t.Run("newer schema", func(t *testing.T) {
		cfg := postgresConfig(t, server)
		openStore(t, cfg)
		exec(t, "pgx", cfg.URL, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)")
		_, err := store.Open(t.Context(), cfg, quiet())
		wantFault(t, err, "conflict", "Run the newer onair")
	})
}

// postgresConfig makes an empty schema and returns the configuration to use it.
func postgresConfig(t *testing.T, server string) store.Config {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	schema := "t_" + strings.ToLower(rand.Text())
	exec(t, "pgx", server, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { exec(t, "pgx", server, "DROP SCHEMA "+schema+" CASCADE") })
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	cfg := store.DefaultConfig()
	cfg.URL = u.String()
	return cfg
}

func exec(t *testing.T, driver, dsn, statement string) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
		t.Fatal(err)
	}
}
