package spool

import (
	"onair/internal/fault"
)

// Config says how much may wait to be sent.
type Config struct {
	MaxBytes int64 `name:"record-spool-bytes" yaml:"spool_bytes" env:"ONAIR_RECORD_SPOOL_BYTES" help:"Most bytes of recordings that may wait in the data folder to be sent to the bucket. Over that recordings stop." default:"10737418240"`
	Uploads  int   `name:"record-spool-uploads" yaml:"spool_uploads" env:"ONAIR_RECORD_SPOOL_UPLOADS" help:"Most objects that are sent to the bucket at the same time, those of an asset one after the other." default:"8"`
	// Adopt takes over what another server was recording when it died.
	Adopt bool `name:"record-s3-adopt" yaml:"s3_adopt" env:"ONAIR_RECORD_S3_ADOPT" help:"Take over recordings from the bucket that another server did not end. Only when that server is gone for good." default:"false"`
}

// DefaultConfig returns the settings that are used where none are given.
func DefaultConfig() Config { return Config{MaxBytes: 10 << 30, Uploads: 8} }

// Validate returns a fault for settings that cannot work.
func (c Config) Validate() error {
	if c.MaxBytes < 16<<20 {
		return fault.New(fault.Invalid, "configure the spool of recordings", "record-spool-bytes", "it is less than 16 MiB, which is a few segments", "Set 10737418240")
	}
	if c.Uploads < 1 || c.Uploads > 64 {
		return fault.New(fault.Invalid, "configure the spool of recordings", "record-spool-uploads", "it must be from 1 to 64", "Set 8")
	}
	return nil
}
