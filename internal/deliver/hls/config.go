package hls

import (
	"errors"
	"time"

	"onair/internal/deliver/audience"
	"onair/internal/fault"
)

// Config bounds what viewers may cost.
type Config struct {
	HoldManifest   time.Duration `name:"hls-hold-manifest" yaml:"hold_manifest" env:"ONAIR_HLS_HOLD_MANIFEST" help:"How long the first playlist is held for a stream that is just beginning. Players give up after 8 to 10 seconds." default:"6s"`
	HoldPlaylist   time.Duration `name:"hls-hold-playlist" yaml:"hold_playlist" env:"ONAIR_HLS_HOLD_PLAYLIST" help:"How long a rendition's playlist is held until its first segment is complete. Players give up after 20 seconds." default:"15s"`
	HoldRendition  time.Duration `name:"hls-hold-rendition" yaml:"hold_rendition" env:"ONAIR_HLS_HOLD_RENDITION" help:"How long the playlist of a rendition that nobody watched is held until its encoder has made the first part." default:"8s"`
	MaxWaiters     int           `name:"hls-max-waiters" yaml:"max_waiters" env:"ONAIR_HLS_MAX_WAITERS" help:"Most requests that wait for the next part of one stream. Further ones are answered at once." default:"50000"`
	MaxSessions    int           `name:"hls-max-sessions" yaml:"max_sessions" env:"ONAIR_HLS_MAX_SESSIONS" help:"Most viewers of one stream that are counted. Further ones can watch." default:"200000"`
	SessionTimeout time.Duration `name:"hls-session-timeout" yaml:"session_timeout" env:"ONAIR_HLS_SESSION_TIMEOUT" help:"How long after its last playlist request a viewer still counts." default:"15s"`
	WriteTimeout   time.Duration `name:"hls-write-timeout" yaml:"write_timeout" env:"ONAIR_HLS_WRITE_TIMEOUT" help:"How long a viewer may take to receive a response, plus one second for each 32 KiB of it." default:"10s"`
}

// slowestRate is what a viewer must receive at least, in bytes a second, after
// Config.WriteTimeout.
const slowestRate = 32 << 10

// DefaultConfig returns the settings that need no thought.
func DefaultConfig() Config {
	return Config{
		HoldManifest:   6 * time.Second,
		HoldPlaylist:   15 * time.Second,
		HoldRendition:  8 * time.Second,
		MaxWaiters:     50_000,
		MaxSessions:    200_000,
		SessionTimeout: 15 * time.Second,
		WriteTimeout:   10 * time.Second,
	}
}

// Audience is what of the settings is about counting viewers.
func (c Config) Audience() audience.Config {
	return audience.Config{MaxSessions: c.MaxSessions, MaxWaiters: c.MaxWaiters, SessionTimeout: c.SessionTimeout}
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
		bad(c.HoldManifest >= 0 && c.HoldManifest <= time.Minute, "hls-hold-manifest", "is negative or more than 1m", "Set 6s"),
		bad(c.HoldPlaylist >= 0 && c.HoldPlaylist <= time.Minute, "hls-hold-playlist", "is negative or more than 1m", "Set 15s"),
		bad(c.HoldRendition >= 0 && c.HoldRendition <= time.Minute, "hls-hold-rendition", "is negative or more than 1m", "Set 8s"),
		bad(c.MaxWaiters >= 1, "hls-max-waiters", "is less than 1", "Set at least three times the viewers you expect on one stream"),
		bad(c.MaxSessions >= audience.Shards, "hls-max-sessions", "is less than 16", "Set at least the viewers you expect on one stream"),
		bad(c.SessionTimeout >= time.Second, "hls-session-timeout", "is less than 1s, so that viewers would not count between two requests", "Set 15s"),
		bad(c.WriteTimeout >= time.Second, "hls-write-timeout", "is less than 1s, so that viewers far away would be cut off", "Set 10s"),
	)
}
