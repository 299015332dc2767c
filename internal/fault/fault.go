// Package fault is the one way the program says what went wrong.
//
// An error that reaches a person (an encoder's log, an API client, a terminal) is a
// *fault.Error: it names the operation, what it was about, the cause, and what to do.
// Its Kind is one of a small set that each protocol maps once: to RTMP onStatus codes,
// SRT reject reasons, and RFC 9457 problem details.
package fault

import (
	"errors"
	"strings"
)

// Kind classifies a fault. The set is small and stable; its names are part of the API
// (the "code" of a problem).
type Kind string

// The kinds of fault.
const (
	Invalid      Kind = "invalid"      // the request or the bytes are malformed
	Unauthorized Kind = "unauthorized" // no or wrong credentials
	Forbidden    Kind = "forbidden"    // known, and not allowed
	NotFound     Kind = "not_found"
	Conflict     Kind = "conflict"    // not possible in the present state
	Disabled     Kind = "disabled"    // switched off by the operator
	Unsupported  Kind = "unsupported" // understood, and not something the server can do
	TooLarge     Kind = "too_large"   // over a bound
	TooMany      Kind = "too_many"    // over a rate or a count
	Timeout      Kind = "timeout"
	Unavailable  Kind = "unavailable" // shutting down, or something it needs is away
	Internal     Kind = "internal"
)

// Error is a fault. Op and Cause are always set by those who make one; Hint tells the
// reader what to do and is a sentence of its own.
type Error struct {
	Kind Kind
	// Op is what was tried, such as "publish" or "listen for RTMP".
	Op string
	// Subject is what it was tried on: an id, an address, a file. Never a secret.
	Subject string
	// Cause is why it failed.
	Cause error
	// Hint is what to do about it; empty if there is nothing to do.
	Hint string
}

// New makes a fault from texts.
func New(kind Kind, op, subject, cause, hint string) *Error {
	return &Error{Kind: kind, Op: op, Subject: subject, Cause: errors.New(cause), Hint: hint}
}

// Wrap makes a fault around a cause.
func Wrap(kind Kind, op, subject string, cause error, hint string) *Error {
	return &Error{Kind: kind, Op: op, Subject: subject, Cause: cause, Hint: hint}
}

// Error returns "op subject: cause. hint".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Subject != "" {
		b.WriteByte(' ')
		b.WriteString(e.Subject)
	}
	if e.Cause != nil {
		b.WriteString(": ")
		b.WriteString(e.Cause.Error())
	}
	if e.Hint != "" {
		b.WriteString(". ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// KindOf returns the kind of the first fault in err's chain, and Internal if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is a fault of that kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}
