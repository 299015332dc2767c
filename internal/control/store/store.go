// Package store keeps what must survive a restart: live streams, assets, playback
// ids, settings, and the answers given under an Idempotency-Key.
//
// One code path serves SQLite (a file in the data folder, the default) and
// PostgreSQL. Schema changes are forward only; a database that a newer version of
// the program has written to is refused. The suite in storetest says what both must do.
package store

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

// Store is an open database. Its methods may be called from several goroutines; their
// errors are *fault.Error.
type Store struct {
	db       *bun.DB
	where    string // the file or host, for errors; never a password
	now      func() time.Time
	keepKeys int
}

// Open opens or makes the database and brings its schema up to date. It fails with a
// fault that says what to do where the folder cannot be written, the file is locked
// or damaged, the server is away, or a newer version has been there.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	open := openSQLite
	if cfg.URL != "" {
		open = openPostgres
	}
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.now = cfg.Now
	if s.now == nil {
		s.now = time.Now
	}
	s.keepKeys = cfg.MaxIdempotencyKeys
	if err := s.migrate(ctx, log); err != nil {
		_ = s.db.Close() // the first error is the one to tell
		return nil, err
	}
	return s, nil
}

// Close waits for running statements and closes the database.
func (s *Store) Close() error { return s.fail("close the database", "", s.db.Close()) }

// Ping tells whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.fail("reach the database", s.where, s.db.PingContext(ctx))
}

// Kind returns "sqlite" or "postgresql".
func (s *Store) Kind() string {
	if s.db.Dialect().Name() == dialect.PG {
		return "postgresql"
	}
	return "sqlite"
}

// inTx runs fn in a transaction that may write.
func (s *Store) inTx(ctx context.Context, op, subject string, fn func(ctx context.Context, tx bun.Tx) error) error {
	return s.fail(op, subject, s.db.RunInTx(ctx, &sql.TxOptions{}, fn))
}

// forUpdate locks the selected rows until the transaction ends. SQLite needs no such
// clause: its writing transactions are exclusive from their beginning.
func (s *Store) forUpdate(q *bun.SelectQuery) *bun.SelectQuery {
	if s.db.Dialect().Name() == dialect.PG {
		return q.For("UPDATE")
	}
	return q
}
