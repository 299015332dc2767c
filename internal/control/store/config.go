package store

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"onair/internal/fault"
)

// Config says where the database is.
type Config struct {
	// URL names a PostgreSQL database; empty means SQLite in Dir.
	URL string `name:"database" yaml:"database" env:"ONAIR_DATABASE" help:"PostgreSQL to use in place of the built-in database, as postgres://user:password@host/name." default:""`
	// Dir is the data folder, which holds onair.db. It is made if it is missing.
	Dir string `kong:"-" yaml:"-"`
	// BusyTimeout is how long a statement waits for a lock that another process holds
	// on the SQLite file.
	BusyTimeout time.Duration `kong:"-" yaml:"-"`
	// MaxConnections bounds the open connections to the database.
	MaxConnections int `name:"database-connections" yaml:"database_connections" env:"ONAIR_DATABASE_CONNECTIONS" help:"Most connections to hold open to the database." default:"8"`
	// MaxIdempotencyKeys bounds the answers kept for Idempotency-Key; the oldest go first.
	MaxIdempotencyKeys int `kong:"-" yaml:"-"`
	// Now is the clock; nil means time.Now.
	Now func() time.Time `kong:"-" yaml:"-"`
}

// DefaultConfig returns the built-in database in ./onair-data.
func DefaultConfig() Config {
	return Config{
		Dir:                "./onair-data",
		BusyTimeout:        5 * time.Second,
		MaxConnections:     8,
		MaxIdempotencyKeys: 10_000,
	}
}

// Validate reports every value that cannot be used, each as a fault.Invalid.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, cause, hint string) {
		errs = append(errs, fault.New(fault.Invalid, "read the configuration", key, cause, hint))
	}
	if c.URL != "" && !isPostgres(c.URL) {
		bad("database", "it is not a PostgreSQL address",
			"Write postgres://user:password@host:5432/name, or leave it out to use the built-in database.")
	} else if c.URL != "" {
		if _, err := url.Parse(c.URL); err != nil {
			bad("database", "the address cannot be read", "Write special characters of the password as %XX.")
		}
	}
	if c.URL == "" && c.Dir == "" {
		bad("data", "no data folder is named", "Name one with --data.")
	}
	if c.MaxConnections < 1 || c.MaxConnections > 1000 {
		bad("database-connections", "it must be from 1 to 1000", "8 is enough for most.")
	}
	if c.MaxIdempotencyKeys < 1 {
		bad("max_idempotency_keys", "it must be at least 1", "The default is 10000.")
	}
	if c.BusyTimeout < 0 {
		bad("busy_timeout", "it must not be negative", "The default is 5s.")
	}
	return errors.Join(errs...)
}

func isPostgres(u string) bool {
	return strings.HasPrefix(u, "postgres://") || strings.HasPrefix(u, "postgresql://")
}
