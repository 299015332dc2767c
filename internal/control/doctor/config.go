package doctor

import (
	"errors"
	"time"

	"onair/internal/fault"
)

// Config bounds the doctor. When something counts as wrong is not a setting: the
// thresholds are the table of findings.
type Config struct {
	MaxStreams     int           `name:"doctor-max-streams" yaml:"max_streams" env:"ONAIR_DOCTOR_MAX_STREAMS" help:"Most streams whose health is watched at once; others are carried unwatched." default:"4096"`
	Keep           time.Duration `name:"doctor-keep" yaml:"keep" env:"ONAIR_DOCTOR_KEEP" help:"How long the last readings of a stream are kept after its publisher left." default:"15m"`
	FFmpeg         string        `name:"doctor-ffmpeg" yaml:"ffmpeg" env:"ONAIR_DOCTOR_FFMPEG" help:"The ffmpeg that measures loudness and looks at pictures; without it they are unknown." default:"ffmpeg"`
	SampleInterval time.Duration `name:"doctor-sample-interval" yaml:"sample_interval" env:"ONAIR_DOCTOR_SAMPLE_INTERVAL" help:"How often loudness and picture of a stream are looked at; 0 for never." default:"15s"`
	SampleTimeout  time.Duration `name:"doctor-sample-timeout" yaml:"sample_timeout" env:"ONAIR_DOCTOR_SAMPLE_TIMEOUT" help:"How long one look may take." default:"5s"`
	Samplers       int           `name:"doctor-samplers" yaml:"samplers" env:"ONAIR_DOCTOR_SAMPLERS" help:"How many ffmpeg may look at streams at the same time." default:"1"`
}

// DefaultConfig returns the settings that need no thought.
func DefaultConfig() Config {
	return Config{
		MaxStreams: 4096, Keep: 15 * time.Minute,
		FFmpeg: "ffmpeg", SampleInterval: 15 * time.Second, SampleTimeout: 5 * time.Second, Samplers: 1,
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
		bad(c.MaxStreams >= 1, "doctor-max-streams", "is less than 1", "Set 1 or more; 4096 suits most"),
		bad(c.Keep >= time.Minute, "doctor-keep", "is less than 1m", "Set 1m or more; 15m suits most"),
		bad(c.SampleInterval == 0 || c.SampleInterval >= time.Second, "doctor-sample-interval", "is less than 1s", "Set 1s or more, or 0 to look never; 15s suits most"),
		bad(c.SampleTimeout >= 500*time.Millisecond, "doctor-sample-timeout", "is less than 500ms, in which ffmpeg hardly starts", "Set 500ms or more; 5s suits most"),
		bad(c.Samplers >= 1 && c.Samplers <= 16, "doctor-samplers", "is not from 1 to 16", "Set 1 or 2; each takes most of a core for a moment"),
	)
}
