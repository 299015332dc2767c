package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"onair/internal/fault"
)

//go:embed migrations
var migrations embed.FS

// fileName is the database within the data folder.
const fileName = "onair.db"

func openSQLite(ctx context.Context, cfg Config) (*Store, error) {
	path, err := filepath.Abs(filepath.Join(cfg.Dir, fileName))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "open the database", cfg.Dir, err, "Name another data folder with --data.")
	}
	if err := prepareFile(path); err != nil {
		return nil, err
	}
	want := []struct{ pragma, set, get string }{
		// The time-out comes first: switching to WAL may have to wait already.
		{"busy_timeout", strconv.FormatInt(cfg.BusyTimeout.Milliseconds(), 10), ""},
		{"journal_mode", "WAL", "wal"},
		{"synchronous", "NORMAL", "1"},
		{"foreign_keys", "1", "1"},
	}
	q := url.Values{"_txlock": {"immediate"}}
	for _, p := range want {
		q.Add("_pragma", p.pragma+"("+p.set+")")
	}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "open the database", path, err, "")
	}
	db.SetMaxOpenConns(cfg.MaxConnections)
	db.SetMaxIdleConns(cfg.MaxConnections)
	s := &Store{db: bun.NewDB(db, sqlitedialect.New()), where: path}
	check := func() error {
		// The driver ignores keys it does not know, so what was asked for is read back.
		for _, p := range want {
			var got string
			if err := db.QueryRowContext(ctx, "PRAGMA "+p.pragma).Scan(&got); err != nil {
				return s.fail("open the database", path, err)
			}
			if expect := cmpOr(p.get, p.set); got != expect {
				return fault.New(fault.Internal, "open the database", path,
					fmt.Sprintf("%s is %q and not %q", p.pragma, got, expect),
					"Keep the data folder on a local disk; network file systems cannot hold the database.")
			}
		}
		var found string
		if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
			return s.fail("open the database", path, err)
		}
		if found != "ok" {
			return damaged("open the database", path, errors.New(found))
		}
		return nil
	}
	if err := check(); err != nil {
		_ = db.Close() // the first error is the one to tell
		return nil, err
	}
	return s, nil
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// prepareFile makes the folder and the file readable for their owner only (the
// database holds stream keys), and finds out early whether they can be written.
func prepareFile(path string) error {
	dir := filepath.Dir(path)
	unwritable := func(subject string, err error) error {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err // the path stands in the subject already
		}
		return fault.Wrap(fault.Unavailable, "open the database", subject, err,
			"Make the data folder writable for the user that runs onair, or name another with --data.")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return unwritable(dir, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return unwritable(path, err)
	}
	if err := f.Close(); err != nil {
		return unwritable(path, err)
	}
	return nil
}

func openPostgres(ctx context.Context, cfg Config) (*Store, error) {
	pc, err := pgx.ParseConfig(cfg.URL)
	if err != nil {
		// The cause may quote the address and with it the password.
		return nil, fault.New(fault.Invalid, "open the database", "", "the PostgreSQL address cannot be read",
			"Write postgres://user:password@host:5432/name, with special characters of the password as %XX.")
	}
	db := stdlib.OpenDB(*pc)
	db.SetMaxOpenConns(cfg.MaxConnections)
	db.SetMaxIdleConns(cfg.MaxConnections)
	where := pc.Host
	if !strings.HasPrefix(where, "/") {
		where += ":" + strconv.Itoa(int(pc.Port))
	}
	s := &Store{db: bun.NewDB(db, pgdialect.New()), where: where + "/" + pc.Database}
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close() // the first error is the one to tell
		return nil, s.fail("open the database", s.where, err)
	}
	return s, nil
}

// migrate brings the schema up to date. Several processes may start on one PostgreSQL
// at once: one of them migrates, the others wait for it.
func (s *Store) migrate(ctx context.Context, log *slog.Logger) error {
	const op = "update the database's schema"
	kind, folder := goose.DialectSQLite3, "migrations/sqlite"
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
	if s.Kind() == "postgresql" {
		kind, folder = goose.DialectPostgres, "migrations/postgres"
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
		if err != nil {
			return fault.Wrap(fault.Internal, op, s.where, err, "")
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	dir, err := fs.Sub(migrations, folder)
	if err != nil {
		return fault.Wrap(fault.Internal, op, s.where, err, "")
	}
	p, err := goose.NewProvider(kind, s.db.DB, dir, opts...)
	if err != nil {
		return fault.Wrap(fault.Internal, op, s.where, err, "")
	}
	has, wants, err := p.GetVersions(ctx)
	if err != nil {
		return s.fail(op, s.where, err)
	}
	if has > wants {
		return fault.New(fault.Conflict, op, s.where,
			fmt.Sprintf("the database has schema %d, this version of onair knows schemas up to %d", has, wants),
			"Run the newer onair that used it last, or restore the backup from before the upgrade.")
	}
	if has == wants {
		return nil
	}
	done, err := p.Up(ctx)
	if err != nil {
		return s.fail(op, s.where, err)
	}
	log.Info("database schema updated", "database", s.Kind(), "from", has, "to", wants, "steps", len(done))
	return nil
}
