package replay

import (
	"errors"
	"time"

	"onair/internal/fault"
)

// Config bounds what those who watch recordings may cost.
type Config struct {
	CacheBytes   int64         `name:"replay-cache-bytes" yaml:"cache_bytes" env:"ONAIR_REPLAY_CACHE_BYTES" help:"Memory for the playlists of recordings, and for the beginnings of the files that are downloaded, in bytes each." default:"67108864"`
	WriteTimeout time.Duration `name:"replay-write-timeout" yaml:"write_timeout" env:"ONAIR_REPLAY_WRITE_TIMEOUT" help:"How long a viewer of a recording may take to receive a response, plus one second for each 32 KiB of it." default:"10s"`
}

// slowestRate is what a viewer must receive at least, in bytes a second, after
// Config.WriteTimeout.
const slowestRate = 32 << 10

// DefaultConfig returns the settings that need no thought.
func DefaultConfig() Config {
	return Config{CacheBytes: 64 << 20, WriteTimeout: 10 * time.Second}
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
		bad(c.CacheBytes >= 1<<20, "replay-cache-bytes", "is less than 1 MiB, the playlist of one long recording", "Set 67108864"),
		bad(c.WriteTimeout >= time.Second, "replay-write-timeout", "is less than 1s, so that viewers far away would be cut off", "Set 10s"),
	)
}
