package dash

import (
	"errors"
	"time"

	"onair/internal/fault"
)

// Config bounds how long requests are held. How many viewers are counted and how many
// requests may wait is set for all of HTTP delivery together, in package audience.
type Config struct {
	HoldManifest time.Duration `name:"dash-hold-manifest" yaml:"hold_manifest" env:"ONAIR_DASH_HOLD_MANIFEST" help:"How long the first DASH manifest is held for a stream that is just beginning. Players give up after 10 seconds." default:"6s"`
	HoldSegment  time.Duration `name:"dash-hold-segment" yaml:"hold_segment" env:"ONAIR_DASH_HOLD_SEGMENT" help:"How long a DASH segment is held until its next part is there, as when an encoder starts for it. Players give up after 20 seconds." default:"12s"`
	WriteTimeout time.Duration `name:"dash-write-timeout" yaml:"write_timeout" env:"ONAIR_DASH_WRITE_TIMEOUT" help:"How long a DASH viewer may take to receive what is sent at once, plus one second for each 32 KiB of it." default:"10s"`
}

// slowestRate is what a viewer must receive at least, in bytes a second, after
// Config.WriteTimeout.
const slowestRate = 32 << 10

// DefaultConfig returns the settings that need no thought.
func DefaultConfig() Config {
	return Config{HoldManifest: 6 * time.Second, HoldSegment: 12 * time.Second, WriteTimeout: 10 * time.Second}
}

// Validate reports every setting that cannot work, each as a fault.Invalid.
func (c Config) Validate() error {
	bad := func(ok bool, key, cause, hint string) error {
		if ok {
			return nil
		}
		return fault.New(fault.Invalid, "read setting", key, cause, hint)
	}
	return errors.Join(
		bad(c.HoldManifest >= 0 && c.HoldManifest <= time.Minute, "dash-hold-manifest", "is negative or more than 1m", "Set 6s"),
		bad(c.HoldSegment >= time.Second && c.HoldSegment <= time.Minute, "dash-hold-segment", "is not between 1s and 1m", "Set 12s"),
		bad(c.WriteTimeout >= time.Second, "dash-write-timeout", "is less than 1s, so that viewers far away would be cut off", "Set 10s"),
	)
}
