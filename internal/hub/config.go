package hub

import (
	"errors"
	"time"

	"onair/internal/fault"
)

// Config bounds what the hub keeps.
type Config struct {
	MaxFeedBytes    int           `name:"hub-max-feed-bytes" yaml:"max_feed_bytes" env:"ONAIR_HUB_MAX_FEED_BYTES" help:"Most media one stream keeps in memory, in bytes. The oldest group of pictures goes first." default:"67108864"`
	MaxFeedDuration time.Duration `name:"hub-max-feed-duration" yaml:"max_feed_duration" env:"ONAIR_HUB_MAX_FEED_DURATION" help:"Most media one stream keeps in memory, in time. The newest complete group of pictures stays whatever its length." default:"15s"`
	MaxTotalBytes   int           `name:"hub-max-total-bytes" yaml:"max_total_bytes" env:"ONAIR_HUB_MAX_TOTAL_BYTES" help:"Most media all streams keep in memory together, in bytes. Beyond it each stream is held to an equal share." default:"1073741824"`
	MaxStreams      int           `name:"hub-max-streams" yaml:"max_streams" env:"ONAIR_HUB_MAX_STREAMS" help:"Most streams at a time; one more is refused." default:"4096"`
}

// minFeedBytes is the least that a feed can work with: one large key frame.
const minFeedBytes = 1 << 20

// DefaultConfig returns the settings that need no thought.
func DefaultConfig() Config {
	return Config{
		MaxFeedBytes:    64 << 20,
		MaxFeedDuration: 15 * time.Second,
		MaxTotalBytes:   1 << 30,
		MaxStreams:      4096,
	}
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
		bad(c.MaxFeedBytes >= minFeedBytes, "hub-max-feed-bytes", "is less than 1 MiB, which one key frame can fill", "Set 1048576 or more"),
		bad(c.MaxFeedDuration >= time.Second, "hub-max-feed-duration", "is less than 1s", "Set 1s or more; 15s suits most"),
		bad(c.MaxTotalBytes >= c.MaxFeedBytes, "hub-max-total-bytes", "is less than hub-max-feed-bytes", "Set it to at least as much as one stream may keep"),
		bad(c.MaxStreams >= 1, "hub-max-streams", "is less than 1", "Set 1 or more"),
	)
}
