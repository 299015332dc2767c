package auth

import (
	"context"
	"errors"

	"onair/internal/fault"
)

// away returns the error of a lookup for whoever asks to be admitted. That the database is
// away, or did not answer in time, is no decision about them: it is a fault.Unavailable, which
// says that they may come again.
func away(ctx context.Context, op string, err error) error {
	if err == nil || errors.Is(ctx.Err(), context.Canceled) {
		return err // they are gone
	}
	if fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Unavailable, op, "", "the server cannot ask its database just now", "Try again in a moment; the server's log and /readyz tell more.")
	}
	return err
}
