package rtc

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"onair/internal/fault"
)

// Off is the value of Config.Listen that switches WebRTC off.
const Off = "off"

// codecNames are the values that Config.Codecs may have.
var codecNames = []string{"h264", "h265", "av1", "vp9", "vp8"}

// Config has the settings of the Server.
type Config struct {
	Listen               string        `name:"webrtc" yaml:"webrtc" env:"ONAIR_WEBRTC" help:"Address for WebRTC media, UDP and TCP on the same port; off disables." default:":8189"`
	Hosts                []string      `name:"webrtc-hosts" yaml:"webrtc-hosts" env:"ONAIR_WEBRTC_HOSTS" help:"Public addresses or names of this server, told to WebRTC clients; empty tells those of its interfaces." default:""`
	ICEServers           []string      `name:"webrtc-ice-servers" yaml:"webrtc-ice-servers" env:"ONAIR_WEBRTC_ICE_SERVERS" help:"STUN and TURN servers told to WHIP clients, such as stun:stun.example.org:3478 or turn:user:password@turn.example.org:3478?transport=udp." default:""`
	Codecs               []string      `name:"webrtc-codecs" yaml:"webrtc-codecs" env:"ONAIR_WEBRTC_CODECS" help:"Video codecs taken over WebRTC, the preferred one first: h264, h265, av1, vp9, vp8." default:"h264,h265,av1,vp9,vp8"`
	KeyInterval          time.Duration `name:"webrtc-key-interval" yaml:"webrtc-key-interval" env:"ONAIR_WEBRTC_KEY_INTERVAL" help:"Longest time between key frames before a WebRTC encoder is asked for one." default:"2s"`
	StartBitrate         int           `name:"webrtc-start-bitrate" yaml:"webrtc-start-bitrate" env:"ONAIR_WEBRTC_START_BITRATE" help:"Bitrate that browsers are told to start their video with, in kbit/s; 0 leaves it to them." default:"2500"`
	RepairTime           time.Duration `name:"webrtc-repair-time" yaml:"webrtc-repair-time" env:"ONAIR_WEBRTC_REPAIR_TIME" help:"How long a lost WebRTC packet is waited for before its picture is given up." default:"400ms"`
	AlignTime            time.Duration `name:"webrtc-align-time" yaml:"webrtc-align-time" env:"ONAIR_WEBRTC_ALIGN_TIME" help:"How long the beginning of a WebRTC stream is held back for the reports that align sound and picture." default:"1s"`
	ConnectTimeout       time.Duration `name:"webrtc-connect-timeout" yaml:"webrtc-connect-timeout" env:"ONAIR_WEBRTC_CONNECT_TIMEOUT" help:"How long a WebRTC client may take from the answer to its connection." default:"10s"`
	IdleTimeout          time.Duration `name:"webrtc-idle-timeout" yaml:"webrtc-idle-timeout" env:"ONAIR_WEBRTC_IDLE_TIMEOUT" help:"How long a WebRTC encoder may send no media before its session is closed." default:"20s"`
	LossTimeout          time.Duration `name:"webrtc-loss-timeout" yaml:"webrtc-loss-timeout" env:"ONAIR_WEBRTC_LOSS_TIMEOUT" help:"How long nothing at all may arrive from a WebRTC client before it counts as lost." default:"8s"`
	MaxSessions          int           `name:"webrtc-max-sessions" yaml:"webrtc-max-sessions" env:"ONAIR_WEBRTC_MAX_SESSIONS" help:"Most WebRTC publishers at a time." default:"1024"`
	MaxPerAddress        int           `name:"webrtc-max-per-address" yaml:"webrtc-max-per-address" env:"ONAIR_WEBRTC_MAX_PER_ADDRESS" help:"Most WebRTC publishers of one IP address (of one /64 network for IPv6) at a time." default:"32"`
	MaxViewers           int           `name:"webrtc-max-viewers" yaml:"webrtc-max-viewers" env:"ONAIR_WEBRTC_MAX_VIEWERS" help:"Most WebRTC viewers at a time." default:"5000"`
	MaxViewersPerAddress int           `name:"webrtc-max-viewers-per-address" yaml:"webrtc-max-viewers-per-address" env:"ONAIR_WEBRTC_MAX_VIEWERS_PER_ADDRESS" help:"Most WebRTC viewers of one IP address (of one /64 network for IPv6) at a time." default:"250"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Listen:               ":8189",
		Codecs:               slices.Clone(codecNames),
		KeyInterval:          2 * time.Second,
		StartBitrate:         2500,
		RepairTime:           400 * time.Millisecond,
		AlignTime:            time.Second,
		ConnectTimeout:       10 * time.Second,
		IdleTimeout:          20 * time.Second,
		LossTimeout:          8 * time.Second,
		MaxSessions:          1024,
		MaxPerAddress:        32,
		MaxViewers:           5000,
		MaxViewersPerAddress: 250,
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
			bad("webrtc", fmt.Sprintf("%q is not an address to listen on", c.Listen), "Write :8189, 127.0.0.1:8189 or off")
		}
	}
	for _, h := range c.Hosts {
		if !plausibleHost(h) {
			bad("webrtc-hosts", fmt.Sprintf("%q is neither an address nor a name", h), "Write it without port and scheme, such as 203.0.113.7 or live.example.org")
		}
	}
	for _, s := range c.ICEServers {
		if _, err := iceLink(s); err != nil {
			bad("webrtc-ice-servers", err.Error(), "Write stun:host:port or turn:user:password@host:port?transport=udp")
		}
	}
	if len(c.Codecs) == 0 {
		bad("webrtc-codecs", "no codec is left", "Write "+strings.Join(codecNames, ","))
	}
	for _, n := range c.Codecs {
		if !slices.Contains(codecNames, n) {
			bad("webrtc-codecs", fmt.Sprintf("%q is not a codec that can be taken", n), "Choose from "+strings.Join(codecNames, ", "))
		}
	}
	for _, d := range []struct {
		key         string
		value, low  time.Duration
		high        time.Duration
		instructive string
	}{
		{"webrtc-key-interval", c.KeyInterval, minKeyRequest, time.Minute, "2s"},
		{"webrtc-repair-time", c.RepairTime, 20 * time.Millisecond, 5 * time.Second, "400ms"},
		{"webrtc-align-time", c.AlignTime, 0, 5 * time.Second, "1s"},
		{"webrtc-connect-timeout", c.ConnectTimeout, time.Second, time.Minute, "10s"},
		{"webrtc-idle-timeout", c.IdleTimeout, time.Second, time.Hour, "20s"},
		{"webrtc-loss-timeout", c.LossTimeout, 2 * time.Second, time.Minute, "8s"},
	} {
		if d.value < d.low || d.value > d.high {
			bad(d.key, fmt.Sprintf("%v is not between %v and %v", d.value, d.low, d.high), "Choose "+d.instructive)
		}
	}
	if c.StartBitrate < 0 || c.StartBitrate > 100_000 {
		bad("webrtc-start-bitrate", fmt.Sprintf("%d is not between 0 and 100000", c.StartBitrate), "Choose 2500, or 0 to leave it to the browser")
	}
	if c.MaxSessions < 1 {
		bad("webrtc-max-sessions", fmt.Sprintf("%d is less than 1", c.MaxSessions), "Choose 1024, or --webrtc off to accept none")
	}
	if c.MaxPerAddress < 1 {
		bad("webrtc-max-per-address", fmt.Sprintf("%d is less than 1", c.MaxPerAddress), "Choose 32")
	}
	if c.MaxViewers < 1 {
		bad("webrtc-max-viewers", fmt.Sprintf("%d is less than 1", c.MaxViewers), "Choose 5000")
	}
	if c.MaxViewersPerAddress < 1 {
		bad("webrtc-max-viewers-per-address", fmt.Sprintf("%d is less than 1", c.MaxViewersPerAddress), "Choose 250")
	}
	return errors.Join(problems...)
}

func plausibleHost(h string) bool {
	return h != "" && len(h) <= 253 && (net.ParseIP(h) != nil || !strings.ContainsAny(h, ":/ \t\r\n@?#\"<>"))
}

// iceLink writes a server of Config.ICEServers as the value of a Link header (RFC 9725,
// section 4.6).
func iceLink(server string) (string, error) {
	scheme, rest, ok := strings.Cut(server, ":")
	if !ok || !slices.Contains([]string{"stun", "stuns", "turn", "turns"}, scheme) || strings.ContainsAny(server, " \"<>\r\n") {
		return "", errors.New("an ICE server is not written as stun:host or turn:user:password@host")
	}
	at := strings.LastIndexByte(rest, '@')
	host := rest[at+1:]
	if host == "" {
		return "", errors.New("an ICE server has no host")
	}
	link := fmt.Sprintf("<%s:%s>; rel=\"ice-server\"", scheme, host)
	if at < 0 {
		return link, nil
	}
	user, password, _ := strings.Cut(rest[:at], ":")
	u, errUser := url.PathUnescape(user)
	p, errPassword := url.PathUnescape(password)
	if errUser != nil || errPassword != nil || strings.ContainsAny(u+p, "\"\\\r\n") {
		return "", errors.New("the user or password of an ICE server is not well formed")
	}
	return link + fmt.Sprintf("; username=\"%s\"; credential=\"%s\"; credential-type=\"password\"", u, p), nil
}
