package transcode

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"onair/internal/fault"
)

// The modes of a ladder.
const (
	// JustInTime encodes a rendition from the moment somebody asks for it until nobody has
	// for a while.
	JustInTime = "just-in-time"
	// Always encodes the ladder and the sound that it needs as long as the stream lives.
	Always = "always"
	// Off encodes nothing where it is the server's mode. Where it is a stream's, there is no
	// ladder, and what viewers could not play otherwise is still made when they ask: sound,
	// and a picture for WebRTC.
	Off = "off"
)

// defaultProfile is the name of the ladder of a stream that names none.
const defaultProfile = "default"

// Config says what is encoded and what that may cost.
type Config struct {
	Mode  string        `name:"transcode" default:"just-in-time" enum:"just-in-time,always,off" help:"When renditions are encoded: just-in-time (from the first viewer who asks until the last has gone), always, or off, which encodes nothing at all. A stream may say otherwise, unless it is off."`
	Cores float64       `name:"transcode-cores" default:"0" help:"Most processor cores that encoding may take; what would need more is refused. 0 is three quarters of the cores, or all but one if that is more."`
	Idle  time.Duration `name:"transcode-idle" default:"30s" help:"How long a rendition is encoded after the last viewer asked for it."`
	// Ladders name more ladders, or another default.
	Ladders []string      `name:"transcode-ladder" sep:";" default:"" help:"A ladder that streams can choose by its name, as NAME=RUNG,RUNG,…; repeat it for more. A rung is a height, with a frame rate, most bits a second and a codec where wanted: 720p, 1080p60, 480p@900k, 720p/hevc. The ladder called default (720p, 480p and 360p) is that of streams that choose none."`
	MaxLag  time.Duration `name:"transcode-max-lag" default:"2s" help:"How far an encoder may fall behind before the stream's top rendition is given up for a while."`
}

// DefaultConfig returns the settings that need no thought.
func DefaultConfig() Config {
	return Config{Mode: JustInTime, Idle: 30 * time.Second, MaxLag: 2 * time.Second}
}

// Validate reports every setting that cannot work, each as a fault.Invalid.
func (c Config) Validate() error {
	bad := func(ok bool, key, cause, hint string) error {
		if ok {
			return nil
		}
		return fault.New(fault.Invalid, "read setting", key, cause, hint)
	}
	_, err := c.profiles()
	return errors.Join(
		bad(isMode(c.Mode), "transcode", "is none of just-in-time, always and off", "Choose just-in-time"),
		bad(c.Cores >= 0 && c.Cores <= 4096, "transcode-cores", "is not from 0 to 4096", "Leave it at 0 to let the server choose"),
		bad(c.Idle >= time.Second && c.Idle <= time.Hour, "transcode-idle", "is not from 1s to 1h", "30s suits most"),
		bad(c.MaxLag >= 500*time.Millisecond && c.MaxLag <= 15*time.Second, "transcode-max-lag", "is not from 0.5s to 15s", "2s suits most"),
		err,
	)
}

func isMode(s string) bool { return s == JustInTime || s == Always || s == Off }

// budget is the number of cores that may be used.
func (c Config) budget() float64 {
	if c.Cores > 0 {
		return c.Cores
	}
	n := float64(runtime.GOMAXPROCS(0))
	return max(n-1, n*3/4)
}

// Profile is a ladder with a name.
type Profile struct {
	Name  string
	Rungs []string
}

// Profiles lists the ladders that a stream can choose from, the default first.
func (c Config) Profiles() []Profile {
	named, _ := c.profiles()
	out := []Profile{{defaultProfile, named[defaultProfile]}}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if name != defaultProfile {
			out = append(out, Profile{name, named[name]})
		}
	}
	return out
}

// profiles reads Ladders.
func (c Config) profiles() (map[string][]string, error) {
	out := map[string][]string{defaultProfile: {sourceRung, "720p", "480p", "360p", audioRung}}
	var errs []error
	for _, l := range c.Ladders {
		if strings.TrimSpace(l) == "" {
			continue
		}
		name, list, ok := strings.Cut(l, "=")
		name = strings.TrimSpace(name)
		if !ok || !plainName(name) {
			errs = append(errs, fault.New(fault.Invalid, "read setting", "transcode-ladder",
				fmt.Sprintf("%q is not of the form NAME=RUNG,RUNG", l), "Names are of letters, digits, - and _"))
			continue
		}
		var rungs []string
		for _, r := range strings.Split(list, ",") {
			if r = strings.TrimSpace(r); r != "" {
				rungs = append(rungs, r)
			}
		}
		if _, err := parseLadder(rungs); err != nil {
			errs = append(errs, fault.Wrap(fault.Invalid, "read setting", "transcode-ladder", err, ""))
		}
		out[name] = rungs
	}
	return out, errors.Join(errs...)
}

// plainName reports whether a profile may have that name.
func plainName(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// Choice is how one stream differs from the server's settings. Empty fields are as those.
type Choice struct {
	// Profile names a ladder of Config.Profiles.
	Profile string
	// Rungs are a ladder of the stream's own.
	Rungs []string
	// Mode is JustInTime, Always or Off.
	Mode string
}

// CheckChoice refuses what a stream cannot choose, as a fault.Invalid.
func (c Config) CheckChoice(o Choice) error {
	const op = "set ladder"
	named, _ := c.profiles()
	if _, ok := named[o.Profile]; o.Profile != "" && !ok {
		return fault.New(fault.Invalid, op, o.Profile, "the server has no ladder of that name",
			"Choose one of "+strings.Join(slices.Sorted(maps.Keys(named)), ", "))
	}
	if o.Mode != "" && !isMode(o.Mode) {
		return fault.New(fault.Invalid, op, o.Mode, "it is no mode", "Choose just-in-time, always or off")
	}
	_, err := parseLadder(o.Rungs)
	return err
}

// ladder is what a stream's choice and the server's settings come to.
type ladder struct {
	mode  string
	rungs []Rung
	// chosen is set if the stream asks for a ladder itself, nothing if the server encodes
	// nothing.
	chosen, nothing bool
}

// resolve returns the ladder of a stream.
func (c Config) resolve(o Choice) ladder {
	l := ladder{mode: c.Mode, nothing: c.Mode == Off}
	if o.Mode != "" && !l.nothing {
		l.mode = o.Mode
	}
	if l.mode == Off {
		return l
	}
	words := o.Rungs
	l.chosen = len(words) > 0 || o.Profile != ""
	if len(words) == 0 {
		named, _ := c.profiles()
		words = named[defaultProfile]
		if own, ok := named[o.Profile]; ok {
			words = own
		}
	}
	rungs, err := parseLadder(words)
	if err != nil { // it was possible once
		rungs, _ = parseLadder(DefaultConfig().Profiles()[0].Rungs)
	}
	l.rungs = rungs
	return l
}
