package steer

import (
	"errors"

	"onair/internal/fault"
)

// Config says how many play over WebRTC.
type Config struct {
	Viewers     int     `name:"realtime-viewers" yaml:"realtime-viewers" default:"100" help:"How many may watch a stream over WebRTC that does not say otherwise itself; the others get LL-HLS. 0: nobody."`
	Interactive int     `name:"realtime-interactive" yaml:"realtime-interactive" default:"100" help:"How many of a stream's viewers may watch over WebRTC beside those because they take part."`
	MaxLoad     float64 `name:"realtime-max-load" yaml:"realtime-max-load" default:"0.85" help:"Share of its cores that the server itself may keep busy before WebRTC viewers are moved to LL-HLS, a few at a time. 0: never."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{Viewers: 100, Interactive: 100, MaxLoad: 0.85} }

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var problems []error
	bad := func(key, cause, hint string) {
		problems = append(problems, fault.New(fault.Invalid, "set", key, cause, hint))
	}
	if c.Viewers < 0 {
		bad("realtime-viewers", "it is less than 0", "Choose 100, or 0 for nobody.")
	}
	if c.Interactive < 0 {
		bad("realtime-interactive", "it is less than 0", "Choose 100, or 0 for nobody.")
	}
	if c.MaxLoad < 0 || c.MaxLoad > 1 || c.MaxLoad > 0 && c.MaxLoad <= relief {
		bad("realtime-max-load", "it is not a share of the cores", "Choose 0.85, or 0 to move nobody.")
	}
	return errors.Join(problems...)
}
