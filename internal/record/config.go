package record

import (
	"onair/internal/fault"
)

// Config says how assets are kept.
type Config struct {
	MaxIndexBytes int64 `name:"record-max-index-bytes" yaml:"max_index_bytes" env:"ONAIR_RECORD_MAX_INDEX_BYTES" help:"About how much memory the indexes of assets take that are not being recorded, in bytes. Those read least recently go first, and are read again when somebody asks." default:"67108864"`

	// Scan makes the sample table of a segment, from which files are computed; mp4file.Scan
	// if it is nil. An error leaves the table empty.
	Scan func(chunks [][]byte) ([]byte, error) `kong:"-" yaml:"-"`

	// ReadyUntold leaves event.AssetReady to the caller, who publishes it when everybody who
	// hears of it finds the asset ready.
	ReadyUntold bool `kong:"-" yaml:"-"`
}

// DefaultConfig returns the settings that are used where none are given.
func DefaultConfig() Config { return Config{MaxIndexBytes: 64 << 20} }

// Validate returns a fault for settings that cannot work.
func (c Config) Validate() error {
	if c.MaxIndexBytes < 1<<20 {
		return fault.New(fault.Invalid, "configure recording", "record-max-index-bytes", "is less than 1 MiB, which is one asset of a few hours", "Set 67108864")
	}
	return nil
}
