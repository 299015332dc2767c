package replay

import (
	"time"

	"onair/internal/record"
)

// Moment is a point of a recording as people write it. Its zero value is the beginning.
type Moment struct {
	at     time.Time // on the wall clock; zero: offset counts
	offset time.Duration
	back   bool // offset counts from the end
}

// ParseMoment reads a moment: seconds from the beginning of the recording (90, 90.5, 1:30,
// 1:00:30), before its end (-30, -1:30), or a time of the wall clock, as RFC 3339 writes it
// (2026-03-01T12:00:00Z, which is also what EXT-X-PROGRAM-DATE-TIME says of a picture) or in
// seconds of Unix time (@1772366400). Its error is a fault.Invalid.
func ParseMoment(text string) (Moment, error) { return Moment{}, nil }

// In returns the wall clock of a moment of an asset. Seconds count what a player shows, which
// leaves out what is missing where the wall clock jumps. What lies outside the asset is not
// changed, but for seconds, which end at its beginning and end.
func (m Moment) In(s *record.Snapshot) time.Time { return m.at }
