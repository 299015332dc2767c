package clip

import (
	"errors"
	"time"

	"onair/internal/fault"
)

// Config bounds what clips may cost.
type Config struct {
	MaxDuration time.Duration `name:"clip-max-duration" yaml:"max_duration" env:"ONAIR_CLIP_MAX_DURATION" help:"The longest clip." default:"12h"`
	Jobs        int           `name:"clip-jobs" yaml:"jobs" env:"ONAIR_CLIP_JOBS" help:"Clips that are made at the same time." default:"1"`
	Waiting     int           `name:"clip-max-waiting" yaml:"max_waiting" env:"ONAIR_CLIP_MAX_WAITING" help:"Clips that may wait to be made." default:"64"`
}

// The bounds that nobody needs to set.
const (
	// jobTime is how long one clip may take.
	jobTime = 5 * time.Minute
	// maxSegment is how much is read of a segment into memory: pack's are 64 MiB at most, and
	// a little more with their headers.
	maxSegment = 80 << 20
	// grain is how exact times are; slack is how far those of a clip may be out of the
	// recording before it is refused.
	grain, slack = time.Millisecond, time.Second
	// maxFrame is longer than frames of sound are: sound that begins or ends so much too late
	// is left as it is.
	maxFrame = 65 * time.Millisecond
	// ahead is how far the end of a clip of what is being recorded may be in the future, and
	// patience how many target durations later it must have been recorded.
	ahead, patience = 15 * time.Second, 4
)

// DefaultConfig returns the settings that are used where none are given.
func DefaultConfig() Config { return Config{MaxDuration: 12 * time.Hour, Jobs: 1, Waiting: 64} }

// Validate returns a fault for settings that cannot work.
func (c Config) Validate() error {
	var errs []error
	bad := func(wrong bool, name, cause, hint string) {
		if wrong {
			errs = append(errs, fault.New(fault.Invalid, "configure clips", name, cause, hint))
		}
	}
	bad(c.MaxDuration < time.Second, "clip-max-duration", "it is shorter than 1s", "Set 12h")
	bad(c.Jobs < 1 || c.Jobs > 64, "clip-jobs", "it is not from 1 to 64", "Set 1")
	bad(c.Waiting < 1 || c.Waiting > 10_000, "clip-max-waiting", "it is not from 1 to 10000", "Set 64")
	return errors.Join(errs...)
}
