package ffmpeg

import (
	"errors"
	"time"

	"onair/internal/fault"
)

// Config says which ffmpeg is run, and what one child may take.
type Config struct {
	Path         string        `name:"transcode-ffmpeg" default:"ffmpeg" help:"The ffmpeg that makes renditions and pictures: a name in the search path, or a path."`
	Nice         int           `name:"transcode-nice" default:"5" help:"How far ffmpeg stands back behind the server for processor time, from 0 to 19."`
	User         string        `name:"transcode-user" default:"nobody" help:"The user that ffmpeg runs as when the server is root; empty for the server's own."`
	Hardware     bool          `name:"transcode-hardware" default:"true" negatable:"" help:"Try hardware encoders, and prefer those that work."`
	MaxMemory    int64         `name:"transcode-max-memory" default:"4294967296" help:"Most address space of one ffmpeg in bytes; hardware encoders are not held to it."`
	StartTimeout time.Duration `name:"transcode-start-timeout" default:"15s" help:"How long ffmpeg may take to its first frame."`
	StallTimeout time.Duration `name:"transcode-stall-timeout" default:"8s" help:"How long ffmpeg may take no input, or give no output for it, before it is ended."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Path: "ffmpeg", Nice: 5, User: "nobody", Hardware: true, MaxMemory: 4 << 30,
		StartTimeout: 15 * time.Second, StallTimeout: 8 * time.Second,
	}
}

// minMemory is the least address space that an ffmpeg starts in.
const minMemory = 1 << 30

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	bad := func(ok bool, key, cause, hint string) error {
		if ok {
			return nil
		}
		return fault.New(fault.Invalid, "set", key, cause, hint)
	}
	return errors.Join(
		bad(c.Path != "", "transcode-ffmpeg", "it is empty", "Name the program; ffmpeg suits most."),
		bad(c.Nice >= 0 && c.Nice <= 19, "transcode-nice", "it is not from 0 to 19", "Choose 5, or 0 to let ffmpeg compete with the server."),
		bad(c.MaxMemory >= minMemory, "transcode-max-memory", "it is less than 1 GiB, which ffmpeg does not start in", "Choose 4294967296."),
		bad(c.StartTimeout >= time.Second, "transcode-start-timeout", "it is shorter than 1s", "Choose 15s."),
		bad(c.StallTimeout >= time.Second, "transcode-stall-timeout", "it is shorter than 1s", "Choose 8s."),
	)
}
