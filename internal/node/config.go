// Package node puts the program together: it builds every part from one
// configuration, joins them, runs them, and stops them in order. It is the only
// package that knows all the others.
package node

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"onair/internal/clip"
	"onair/internal/control/api"
	"onair/internal/control/chat"
	"onair/internal/control/doctor"
	"onair/internal/control/steer"
	"onair/internal/control/store"
	"onair/internal/deliver/dash"
	"onair/internal/deliver/hls"
	"onair/internal/deliver/images"
	"onair/internal/deliver/pack"
	"onair/internal/deliver/play"
	"onair/internal/deliver/replay"
	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/hub"
	"onair/internal/ingest"
	"onair/internal/ingest/pull"
	"onair/internal/record"
	"onair/internal/record/bucket"
	"onair/internal/record/spool"
	"onair/internal/slate"
	"onair/internal/transcode"
	"onair/internal/wire/rtc"
	"onair/internal/wire/rtmp"
	"onair/internal/wire/srt"
)

// Config is every setting of the server: those of the node itself, and those of the
// packages that own them.
type Config struct {
	Data       string `name:"data" default:"./onair-data" help:"Folder for the database and everything else that is kept."`
	HTTP       string `name:"http" default:":8080" help:"Address of the pages, the API and HLS."`
	PublicURL  string `name:"public-url" default:"" help:"How the world reaches the HTTP address, such as https://live.example.com; by default what the request says."`
	AdminToken string `name:"admin-token" default:"" help:"Token of the administrator; by default one is made on the first start and printed once."`
	LogFormat  string `name:"log-format" default:"auto" enum:"auto,text,json" help:"text, json, or auto: text on a terminal."`
	LogLevel   string `name:"log-level" default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error."`

	HTTPShortLoop      bool `name:"http-short-loop" default:"true" negatable:"" help:"Answer plain requests for HLS in a short loop of their own, for half the CPU time. Switch it off with --no-http-short-loop; net/http then answers them."`
	HTTPMaxConnections int  `name:"http-max-connections" default:"16384" help:"Open HTTP connections; further ones are closed at once."`

	AllowPrivate bool `name:"allow-private-addresses" default:"false" help:"Let sources that are fetched and targets that streams are sent to be in private networks or on this machine. Whoever may edit streams then reaches what the server reaches."`

	TLS       TLSConfig           `embed:""`
	Store     store.Config        `embed:""`
	RTMP      rtmp.Config         `embed:""`
	SRT       srt.Config          `embed:""`
	RTC       rtc.Config          `embed:""`
	Ingest    ingest.Config       `embed:""`
	Slate     slate.Config        `embed:""`
	Pull      pull.Config         `embed:""`
	API       api.Config          `embed:""`
	Doctor    doctor.Config       `embed:""`
	Hub       hub.Config          `embed:""`
	Pack      pack.Config         `embed:""`
	HLS       hls.Config          `embed:""`
	DASH      dash.Config         `embed:""`
	Images    images.Config       `embed:""`
	Play      play.Config         `embed:""`
	Realtime  play.RealtimeConfig `embed:""`
	Steer     steer.Config        `embed:""`
	Transcode transcode.Config    `embed:""`
	FFmpeg    ffmpeg.Config       `embed:""`
	Restream  play.RestreamConfig `embed:""`
	Record    record.Config       `embed:""`
	Bucket    bucket.Config       `embed:""`
	Spool     spool.Config        `embed:""`
	Replay    replay.Config       `embed:""`
	Clip      clip.Config         `embed:""`
	Chat      chat.Config         `embed:""`
}

// DefaultConfig returns the defaults of every part.
func DefaultConfig() Config {
	return Config{
		Data: "./onair-data", HTTP: ":8080", LogFormat: "auto", LogLevel: "info",
		HTTPShortLoop:      true,
		HTTPMaxConnections: 16384,
		Store:              store.DefaultConfig(),
		RTMP:               rtmp.DefaultConfig(),
		SRT:                srt.DefaultConfig(),
		RTC:                rtc.DefaultConfig(),
		Ingest:             ingest.DefaultConfig(),
		Slate:              slate.DefaultConfig(),
		Pull:               pull.DefaultConfig(),
		API:                api.DefaultConfig(),
		Doctor:             doctor.DefaultConfig(),
		Hub:                hub.DefaultConfig(),
		Pack:               pack.DefaultConfig(),
		HLS:                hls.DefaultConfig(),
		DASH:               dash.DefaultConfig(),
		Images:             images.DefaultConfig(),
		Play:               play.DefaultConfig(),
		Realtime:           play.DefaultRealtimeConfig(),
		Steer:              steer.DefaultConfig(),
		Transcode:          transcode.DefaultConfig(),
		FFmpeg:             ffmpeg.DefaultConfig(),
		Restream:           play.DefaultRestreamConfig(),
		Record:             record.DefaultConfig(),
		Bucket:             bucket.DefaultConfig(),
		Spool:              spool.DefaultConfig(),
		Replay:             replay.DefaultConfig(),
		Clip:               clip.DefaultConfig(),
		Chat:               chat.DefaultConfig(),
	}
}

// Validate reports every setting that cannot work, of all parts.
func (c Config) Validate() error {
	return errors.Join(c.validateOwn(), c.TLS.Validate(), c.storeConfig().Validate(), c.RTMP.Validate(), c.SRT.Validate(), c.RTC.Validate(),
		c.Ingest.Validate(), c.Pull.Validate(), c.API.Validate(), c.Doctor.Validate(), c.Hub.Validate(),
		c.Pack.Validate(), c.HLS.Validate(), c.DASH.Validate(), c.Images.Validate(), c.Play.Validate(), c.Realtime.Validate(), c.Steer.Validate(),
		c.Transcode.Validate(), c.FFmpeg.Validate(), c.Restream.Validate(), c.Record.Validate(),
		c.Bucket.Validate(), c.Spool.Validate(), c.Replay.Validate(), c.Clip.Validate(), c.Chat.Validate())
}

func (c Config) validateOwn() error {
	var problems []error
	add := func(key, cause, hint string) {
		problems = append(problems, fault.New(fault.Invalid, "set", key, cause, hint))
	}
	if c.Data == "" {
		add("data", "it is empty", "Name a folder, such as ./onair-data.")
	}
	if _, _, err := net.SplitHostPort(c.HTTP); err != nil {
		add("http", "\""+c.HTTP+"\" is not an address", "Give host:port or :port, such as :8080.")
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" {
			add("public-url", "\""+c.PublicURL+"\" is not an origin", "Give scheme and host, such as https://live.example.com.")
		}
	}
	const shortest = 16
	if c.AdminToken != "" && len(c.AdminToken) < shortest {
		add("admin-token", "it is shorter than 16 characters", "Make one with: openssl rand -hex 24.")
	}
	if c.HTTPMaxConnections < 1 {
		add("http-max-connections", "it is less than 1", "Choose 16384.")
	}
	return errors.Join(problems...)
}

// storeConfig is the store's configuration with the data folder filled in.
func (c Config) storeConfig() store.Config {
	c.Store.Dir = c.Data
	return c.Store
}

// packConfig is pack's configuration with the folder of the last windows filled in.
func (c Config) packConfig() pack.Config {
	c.Pack.Dir = filepath.Join(c.Data, "window")
	return c.Pack
}

// recordings is the folder of what is recorded.
func (c Config) recordings() string { return filepath.Join(c.Data, "recordings") }
