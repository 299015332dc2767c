package srt

import (
	"errors"
	"fmt"
	"net"
	"time"

	"onair/internal/fault"
)

// Off is the value of Config.Listen that switches the server off.
const Off = "off"

// maxLatency is the longest latency that the protocol can say (16 bits of milliseconds).
const maxLatency = 65535 * time.Millisecond

// Config has the settings of the Server.
type Config struct {
	Listen         string        `name:"srt" yaml:"srt" env:"ONAIR_SRT" help:"UDP address to listen on for SRT; off disables." default:":8890"`
	Latency        time.Duration `name:"srt-latency" yaml:"srt-latency" env:"ONAIR_SRT_LATENCY" help:"How long a lost SRT packet may be waited for; the peer may ask for more. Choose four times the round-trip time." default:"200ms"`
	PeerTimeout    time.Duration `name:"srt-peer-timeout" yaml:"srt-peer-timeout" env:"ONAIR_SRT_PEER_TIMEOUT" help:"How long an SRT peer may be silent before its connection is taken for lost." default:"5s"`
	IdleTimeout    time.Duration `name:"srt-idle-timeout" yaml:"srt-idle-timeout" env:"ONAIR_SRT_IDLE_TIMEOUT" help:"How long an SRT encoder may send no media before its connection is closed." default:"10s"`
	MaxConnections int           `name:"srt-max-connections" yaml:"srt-max-connections" env:"ONAIR_SRT_MAX_CONNECTIONS" help:"Most SRT connections at a time." default:"4096"`
	MaxPerAddress  int           `name:"srt-max-per-address" yaml:"srt-max-per-address" env:"ONAIR_SRT_MAX_PER_ADDRESS" help:"Most SRT connections of one IP address (of one /64 network for IPv6) at a time." default:"64"`
	MaxPending     int           `name:"srt-max-pending" yaml:"srt-max-pending" env:"ONAIR_SRT_MAX_PENDING" help:"Most SRT connections at a time that wait for the decision whether they may publish or play." default:"256"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Listen:         ":8890",
		Latency:        200 * time.Millisecond,
		PeerTimeout:    5 * time.Second,
		IdleTimeout:    10 * time.Second,
		MaxConnections: 4096,
		MaxPerAddress:  64,
		MaxPending:     256,
	}
}

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var problems []error
	bad := func(key, cause, hint string) {
		problems = append(problems, fault.New(fault.Invalid, "set", key, cause, hint))
	}
	if c.Listen != Off {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			bad("srt", fmt.Sprintf("%q is not an address to listen on", c.Listen), "Write :8890, 127.0.0.1:8890 or off")
		}
	}
	if c.Latency < minLatency || c.Latency > maxLatency {
		bad("srt-latency", fmt.Sprintf("%v is not between %v and %v", c.Latency, minLatency, maxLatency), "Choose 200ms")
	}
	for _, d := range []struct {
		key      string
		value    time.Duration
		standard string
	}{
		{"srt-peer-timeout", c.PeerTimeout, "5s"},
		{"srt-idle-timeout", c.IdleTimeout, "10s"},
	} {
		if d.value < time.Second {
			bad(d.key, fmt.Sprintf("%v is less than a second, which good networks can take", d.value), "Choose "+d.standard)
		}
	}
	for _, n := range []struct {
		key      string
		value    int
		standard string
	}{
		{"srt-max-connections", c.MaxConnections, "4096, or --srt off to accept none"},
		{"srt-max-per-address", c.MaxPerAddress, "64"},
		{"srt-max-pending", c.MaxPending, "256"},
	} {
		if n.value < 1 {
			bad(n.key, fmt.Sprintf("%d is less than 1", n.value), "Choose "+n.standard)
		}
	}
	return errors.Join(problems...)
}
