package store

import (
	"context"
	"errors"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"onair/internal/fault"
)

// fail turns an error of a database driver into a fault. It is the one place that
// knows the drivers' codes. A fault stays as it is, nil stays nil.
func (s *Store) fail(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Timeout, op, subject, err, "")
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return s.failSQLite(op, subject, lite)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return failPostgres(op, subject, pg)
	}
	var conn *pgconn.ConnectError
	var nerr net.Error
	if errors.As(err, &conn) || errors.As(err, &nerr) {
		return fault.New(fault.Unavailable, op, cmpOr(subject, s.where), "the PostgreSQL server cannot be reached",
			"Check that it runs and that the address in --database is right.")
	}
	return fault.Wrap(fault.Internal, op, subject, err, "")
}

func (s *Store) failSQLite(op, subject string, err *sqlite.Error) error {
	switch err.Code() & 0xff { // the low byte is the class, the rest details
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fault.Wrap(fault.Unavailable, op, cmpOr(subject, s.where), err,
			"Another program holds the database: stop the other onair or the tool that uses this data folder, then try again.")
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return damaged(op, s.where, err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return fault.Wrap(fault.Unavailable, op, s.where, err,
			"Make the data folder and the files in it writable for the user that runs onair.")
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR:
		return fault.Wrap(fault.Unavailable, op, s.where, err,
			"The disk is full or failing: free space, or move the data folder with --data.")
	default:
		return fault.Wrap(fault.Internal, op, subject, err, "")
	}
}

func failPostgres(op, subject string, err *pgconn.PgError) error {
	class := err.Code
	if len(class) > 2 {
		class = class[:2]
	}
	switch class {
	case "28": // invalid authorization
		return fault.Wrap(fault.Unavailable, op, subject, err, "Check user and password in --database.")
	case "3D": // no such database
		return fault.Wrap(fault.Unavailable, op, subject, err, "Make the database first: createdb onair.")
	case "08", "53", "57": // connection, resources, operator intervention
		return fault.Wrap(fault.Unavailable, op, subject, err, "The PostgreSQL server is overloaded or restarting; it is tried again with the next request.")
	case "42":
		if err.Code == "42501" {
			return fault.Wrap(fault.Unavailable, op, subject, err, "The user in --database must own the schema.")
		}
	}
	return fault.Wrap(fault.Internal, op, subject, err, "")
}

func damaged(op, where string, err error) error {
	return fault.Wrap(fault.Internal, op, where, err,
		"The database file is damaged: restore it from a backup, or move it away to begin with an empty one.")
}
