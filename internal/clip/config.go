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

// DefaultConfig returns the settings that are used where none are given.
func DefaultConfig() Config { return Config{MaxDuration: 12 * time.Hour, Jobs: 1, Waiting: 64} }

// Validate returns a fault for settings that cannot work.
func (c Config) Validate() error {
	var errs []error
	bad := func(wrong bool, name, cause string) {
		if wrong {
			errs = append(errs, fault.New(fault.Invalid, "read the setting", name, cause, ""))
		}
	}
	bad(c.MaxDuration < time.Second, "clip-max-duration", "it is shorter than 1s")
	bad(c.Jobs < 1 || c.Jobs > 64, "clip-jobs", "it is not from 1 to 64")
	bad(c.Waiting < 1 || c.Waiting > 10_000, "clip-max-waiting", "it is not from 1 to 10000")
	return errors.Join(errs...)
}
