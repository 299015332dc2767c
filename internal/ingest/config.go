package ingest

import (
	"errors"
	"time"

	"onair/internal/fault"
)

// Config says how long ingest waits for what, and what it takes for a broken clock.
type Config struct {
	MediaTimeout   time.Duration `name:"ingest-media-timeout" yaml:"media_timeout" env:"ONAIR_INGEST_MEDIA_TIMEOUT" help:"How long an encoder may be connected without sending media that can be decoded." default:"10s"`
	LearnSettle    time.Duration `name:"ingest-learn-settle" yaml:"learn_settle" env:"ONAIR_INGEST_LEARN_SETTLE" help:"How long to look for a second track, when the encoder announced only one, before the stream begins." default:"1.5s"`
	LearnMissing   time.Duration `name:"ingest-learn-missing" yaml:"learn_missing" env:"ONAIR_INGEST_LEARN_MISSING" help:"How long to wait for a track that the encoder announced and does not send." default:"5s"`
	LearnMaxBytes  int           `name:"ingest-learn-max-bytes" yaml:"learn_max_bytes" env:"ONAIR_INGEST_LEARN_MAX_BYTES" help:"Most media held back while the tracks of a publisher are being learned, in bytes." default:"16777216"`
	MaxForwardJump time.Duration `name:"ingest-max-forward-jump" yaml:"max_forward_jump" env:"ONAIR_INGEST_MAX_FORWARD_JUMP" help:"Timestamps that leap ahead by more than this are a broken clock and not a pause; the stream's own time goes on." default:"10s"`
}

// DefaultConfig returns the settings that need no thought.
func DefaultConfig() Config {
	return Config{
		MediaTimeout:   10 * time.Second,
		LearnSettle:    1500 * time.Millisecond,
		LearnMissing:   5 * time.Second,
		LearnMaxBytes:  16 << 20,
		MaxForwardJump: 10 * time.Second,
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
		bad(c.MediaTimeout >= time.Second, "ingest-media-timeout", "is less than 1s", "Set 1s or more; 10s suits most"),
		bad(c.LearnSettle >= 0, "ingest-learn-settle", "is negative", "Set 0s or more; 1.5s suits most"),
		bad(c.LearnMissing >= c.LearnSettle, "ingest-learn-missing", "is less than ingest-learn-settle", "Set it to at least as much; 5s suits most"),
		bad(c.LearnMaxBytes >= 1<<20, "ingest-learn-max-bytes", "is less than 1 MiB, which one key frame can fill", "Set 1048576 or more"),
		bad(c.MaxForwardJump >= 2*time.Second, "ingest-max-forward-jump", "is less than 2s", "Set 2s or more; 10s suits most"),
	)
}
