package rtmp

import (
	"errors"
	"fmt"
	"net"
	"time"

	"onair/internal/fault"
)

// Off is the value of Config.Listen and Config.ListenTLS that switches the listener off.
const Off = "off"

// Config has the settings of the Server.
type Config struct {
	Listen           string        `name:"rtmp" yaml:"rtmp" env:"ONAIR_RTMP" help:"Address to listen on for RTMP; off disables." default:":1935"`
	ListenTLS        string        `name:"rtmps" yaml:"rtmps" env:"ONAIR_RTMPS" help:"Address to listen on for RTMPS, such as :1936; needs a certificate." default:"off"`
	HandshakeTimeout time.Duration `name:"rtmp-handshake-timeout" yaml:"rtmp-handshake-timeout" env:"ONAIR_RTMP_HANDSHAKE_TIMEOUT" help:"How long an RTMP client may take for its handshake, that of TLS included." default:"5s"`
	PublishTimeout   time.Duration `name:"rtmp-publish-timeout" yaml:"rtmp-publish-timeout" env:"ONAIR_RTMP_PUBLISH_TIMEOUT" help:"How long an RTMP client may take from the handshake to its publish or play command." default:"10s"`
	IdleTimeout      time.Duration `name:"rtmp-idle-timeout" yaml:"rtmp-idle-timeout" env:"ONAIR_RTMP_IDLE_TIMEOUT" help:"How long an RTMP encoder may send no media before its connection is closed." default:"20s"`
	WriteTimeout     time.Duration `name:"rtmp-write-timeout" yaml:"rtmp-write-timeout" env:"ONAIR_RTMP_WRITE_TIMEOUT" help:"How long an RTMP client may take nothing that is sent to it before its connection is closed." default:"10s"`
	MaxConnections   int           `name:"rtmp-max-connections" yaml:"rtmp-max-connections" env:"ONAIR_RTMP_MAX_CONNECTIONS" help:"Most RTMP connections at a time." default:"4096"`
	MaxPerAddress    int           `name:"rtmp-max-per-address" yaml:"rtmp-max-per-address" env:"ONAIR_RTMP_MAX_PER_ADDRESS" help:"Most RTMP connections of one IP address (of one /64 network for IPv6) at a time." default:"64"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Listen:           ":1935",
		ListenTLS:        Off,
		HandshakeTimeout: 5 * time.Second,
		PublishTimeout:   10 * time.Second,
		IdleTimeout:      20 * time.Second,
		WriteTimeout:     10 * time.Second,
		MaxConnections:   4096,
		MaxPerAddress:    64,
	}
}

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var problems []error
	bad := func(key, cause, hint string) {
		problems = append(problems, fault.New(fault.Invalid, "set", key, cause, hint))
	}
	for _, l := range []struct{ key, value, hint string }{
		{"rtmp", c.Listen, "Write :1935, 127.0.0.1:1935 or off"},
		{"rtmps", c.ListenTLS, "Write :1936, 127.0.0.1:1936 or off"},
	} {
		if l.value == Off {
			continue
		}
		if _, _, err := net.SplitHostPort(l.value); err != nil {
			bad(l.key, fmt.Sprintf("%q is not an address to listen on", l.value), l.hint)
		}
	}
	for _, d := range []struct {
		key      string
		value    time.Duration
		standard string
	}{
		{"rtmp-handshake-timeout", c.HandshakeTimeout, "5s"},
		{"rtmp-publish-timeout", c.PublishTimeout, "10s"},
		{"rtmp-idle-timeout", c.IdleTimeout, "20s"},
		{"rtmp-write-timeout", c.WriteTimeout, "10s"},
	} {
		if d.value <= 0 {
			bad(d.key, fmt.Sprintf("%v is not a time to wait", d.value), "Choose "+d.standard)
		}
	}
	if c.MaxConnections < 1 {
		bad("rtmp-max-connections", fmt.Sprintf("%d is less than 1", c.MaxConnections), "Choose 4096, or --rtmp off to accept none")
	}
	if c.MaxPerAddress < 1 {
		bad("rtmp-max-per-address", fmt.Sprintf("%d is less than 1", c.MaxPerAddress), "Choose 64")
	}
	return errors.Join(problems...)
}
