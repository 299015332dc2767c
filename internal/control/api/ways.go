package api

import (
	"context"
	"net/url"
	"strings"
	"time"

	"onair/internal/control/store"
	"onair/internal/fault"
	"onair/internal/media"
)

const (
	minPassphrase = 10 // characters; the SRT protocol's own bounds
	maxPassphrase = 79
	// maxVideoTracks and maxBitrate bound what a stream may ask of OBS.
	maxVideoTracks = 6
	maxBitrate     = 200_000_000 // bits a second
)

// sourceSchemes are what a stream can be fetched over.
var sourceSchemes = []string{"rtmp", "rtmps", "srt", "http", "https", "rtsp"}

// PullStatus is how the fetching of a stream's source goes.
type PullStatus struct {
	// State is idle (nobody watches, or switched off), connecting, receiving or failing.
	State string
	// Since is when the state began.
	Since time.Time
	// LastError is why it last failed; Attempts counts since it last worked.
	LastError string
	Attempts  int
}

// Pulls is what the API sees of the sources that are fetched.
type Pulls interface {
	// Status tells how a stream's source is; false if nothing is known of it.
	Status(streamID string) (PullStatus, bool)
	// Changed says that a stream's source may be another one now, or gone.
	Changed(streamID string)
}

// IngestStatus is what the API sees of a stream's publishers beside what the hub knows.
type IngestStatus struct {
	// Backup is the protocol of the backup publisher, on air or not; empty if there is
	// none. Ready says that it could take over at its next key frame.
	Backup string
	Ready  bool
	// Link is the way to the publisher that is on air; nil if its transport tells nothing.
	Link *media.Link
}

// Ingests is what the API sees of the publishers.
type Ingests interface {
	// Ingest tells of a stream's publishers; false if it has none.
	Ingest(streamID string) (IngestStatus, bool)
}

type (
	source struct {
		URL       string            `json:"url" doc:"Passwords and the values of parameters are hidden as ****. An update that sends the address as it is shown keeps the one there is." example:"rtsp://camera.example.com/stream1"`
		OnDemand  bool              `json:"on_demand" doc:"Fetch only while somebody watches."`
		Enabled   bool              `json:"enabled"`
		Status    string            `json:"status" enum:"off,idle,connecting,receiving,failing,unknown" doc:"off: not enabled. idle: nobody watches. unknown: the server has no reading."`
		Since     orNull[time.Time] `json:"since" doc:"When the status began."`
		LastError string            `json:"last_error" doc:"Why it last failed; empty if it did not."`
		Attempts  orNull[int]       `json:"attempts" doc:"Tries since it last worked."`
	}
	sourceBody struct {
		URL      string `json:"url" maxLength:"2048" doc:"rtmp, rtmps, srt, http, https (HLS) or rtsp. Credentials in it are kept, and hidden in answers." example:"rtsp://camera.example.com/stream1"`
		OnDemand bool   `json:"on_demand,omitempty" doc:"Fetch only while somebody watches."`
		Enabled  *bool  `json:"enabled,omitempty" default:"true"`
	}
	sourcePatch struct {
		URL      optional[string] `json:"url" required:"false" maxLength:"2048"`
		OnDemand optional[bool]   `json:"on_demand" required:"false" doc:"Null: false."`
		Enabled  optional[bool]   `json:"enabled" required:"false" doc:"Null: true."`
	}
	multitrack struct {
		Enabled        bool          `json:"enabled" doc:"Whether OBS gets settings for several video tracks when it asks for them."`
		MaxVideoTracks orNull[int]   `json:"max_video_tracks" doc:"Null: as many as the server takes."`
		MaxBitrate     orNull[int64] `json:"max_bitrate" doc:"Bits a second of all video tracks together; null: the server's limit."`
	}
	multitrackBody struct {
		Enabled        *bool `json:"enabled,omitempty" default:"true"`
		MaxVideoTracks int   `json:"max_video_tracks,omitempty" minimum:"1" maximum:"6"`
		MaxBitrate     int64 `json:"max_bitrate,omitempty" minimum:"100000" maximum:"200000000" doc:"Bits a second of all video tracks together."`
	}
	multitrackPatch struct {
		Enabled        optional[bool]  `json:"enabled" required:"false" doc:"Null: true."`
		MaxVideoTracks optional[int]   `json:"max_video_tracks" required:"false" minimum:"1" maximum:"6" doc:"Null: as many as the server takes."`
		MaxBitrate     optional[int64] `json:"max_bitrate" required:"false" minimum:"100000" maximum:"200000000" doc:"Bits a second; null: the server's limit."`
	}
	ingestURLs struct {
		RTMPURL   orNull[string]     `json:"rtmp_url" doc:"The server to name in an encoder; the stream key comes in a field of its own. Null when RTMP is off, as the others are."`
		RTMPSURL  orNull[string]     `json:"rtmps_url" doc:"As rtmp_url, encrypted."`
		SRTURL    orNull[string]     `json:"srt_url" doc:"The whole address with the stream key and the passphrase. A secret."`
		WHIPURL   orNull[string]     `json:"whip_url" doc:"For WHIP; the stream key is its bearer token."`
		GoLiveURL orNull[string]     `json:"golive_url" doc:"Where OBS asks for its settings when it sends several video tracks."`
		Backup    orNull[backupURLs] `json:"backup" doc:"For a second encoder that stands by and takes over when the first one fails."`
	}
	backupURLs struct {
		RTMPURL   orNull[string] `json:"rtmp_url"`
		RTMPSURL  orNull[string] `json:"rtmps_url"`
		StreamKey orNull[string] `json:"stream_key" doc:"The stream key for rtmp_url and rtmps_url. A secret."`
		SRTURL    orNull[string] `json:"srt_url" doc:"The whole address. A secret."`
		WHIPURL   orNull[string] `json:"whip_url" doc:"With the stream key as the bearer token."`
	}
	backupState struct {
		Connected bool           `json:"connected"`
		Ready     bool           `json:"ready" doc:"It can take over at its next key frame."`
		Protocol  orNull[string] `json:"protocol" doc:"How it comes; null if there is none."`
	}
	link struct {
		RTT           orNull[float64] `json:"rtt" doc:"Round trip in milliseconds. Null is unknown, here and below."`
		Jitter        orNull[float64] `json:"jitter" doc:"Milliseconds."`
		Packets       orNull[uint64]  `json:"packets"`
		Lost          orNull[uint64]  `json:"lost"`
		Retransmitted orNull[uint64]  `json:"retransmitted"`
		Dropped       orNull[uint64]  `json:"dropped" doc:"Packets that came too late or never."`
		Bitrate       orNull[int64]   `json:"bitrate" doc:"Bits a second."`
		Available     orNull[int64]   `json:"available" doc:"Bits a second that the way could carry, as the transport estimates."`
	}
)

func some[T any](v T) orNull[T] { return orNull[T]{&v} }

// unlessZero is null for the value that stands for nothing.
func unlessZero[T comparable](v T) orNull[T] {
	var zero T
	if v == zero {
		return orNull[T]{}
	}
	return some(v)
}

func linkOf(l media.Link) link {
	millis := func(d *time.Duration) (out orNull[float64]) {
		if d != nil {
			out = some(finite(float64(*d) / float64(time.Millisecond)))
		}
		return out
	}
	rate := func(f *float64) (out orNull[int64]) {
		if f != nil {
			out = some(int64(finite(*f)))
		}
		return out
	}
	return link{
		RTT: millis(l.RTT), Jitter: millis(l.Jitter), Packets: orNull[uint64]{l.Packets}, Lost: orNull[uint64]{l.Lost},
		Retransmitted: orNull[uint64]{l.Retransmitted}, Dropped: orNull[uint64]{l.Dropped},
		Bitrate: rate(l.Bitrate), Available: rate(l.Available),
	}
}

// ingestOf lists the ways in that are on.
func (a *API) ingestOf(ctx context.Context, l store.LiveStream) ingestURLs {
	var out ingestURLs
	var b backupURLs
	i := infoOf(ctx)
	if p := a.deps.RTMPPort; p != 0 {
		out.RTMPURL = some("rtmp://" + hostPort(i, p) + "/live")
		b.RTMPURL, b.StreamKey = out.RTMPURL, some(l.StreamKey+"?backup=1")
	}
	if p := a.deps.RTMPSPort; p != 0 {
		out.RTMPSURL = some("rtmps://" + hostPort(i, p) + "/live")
		b.RTMPSURL, b.StreamKey = out.RTMPSURL, some(l.StreamKey+"?backup=1")
	}
	if p := a.deps.SRTPort; p != 0 {
		out.SRTURL = some(srtURL(i, p, "publish:"+l.StreamKey, l.SRTPassphrase))
		b.SRTURL = some(srtURL(i, p, "backup:"+l.StreamKey, l.SRTPassphrase))
	}
	if a.deps.WHIP {
		out.WHIPURL, b.WHIPURL = some(i.base+"/whip"), some(i.base+"/whip/backup")
	}
	if a.deps.GoLive && !l.Multitrack.Disabled {
		out.GoLiveURL = some(i.base + "/golive")
	}
	if b != (backupURLs{}) {
		out.Backup = some(b)
	}
	return out
}

// srtURL needs no escaping: keys, ids and passphrases have no character that an
// address gives a meaning to, because encoders disagree on how to escape them.
func srtURL(i *info, port int, streamID, passphrase string) string {
	u := "srt://" + hostPort(i, port) + "?streamid=" + streamID
	if passphrase != "" {
		u += "&passphrase=" + passphrase
	}
	return u
}

func (a *API) playbackOf(ctx context.Context, l store.LiveStream, id string) playbackURLs {
	i := infoOf(ctx)
	at := a.pathsOf(id)
	whole := func(path string) orNull[string] {
		if path == "" {
			return orNull[string]{}
		}
		return some(i.base + path)
	}
	out := playbackURLs{
		HLSURL: i.base + at.hls, WatchURL: i.base + "/watch/" + id, DASHURL: whole(at.dash), WHEPURL: whole(at.whep),
		ThumbnailURL: whole(at.thumbnail), StoryboardURL: whole(at.storyboard),
	}
	if p := a.deps.RTMPPort; p != 0 {
		out.RTMPURL = some("rtmp://" + hostPort(i, p) + "/play/" + id)
	}
	if p := a.deps.SRTPort; p != 0 {
		out.SRTURL = some(srtURL(i, p, "play:"+id, l.SRTPassphrase))
	}
	return out
}

func (a *API) sourceOf(l store.LiveStream) orNull[source] {
	if l.Source.URL == "" {
		return orNull[source]{}
	}
	out := source{URL: maskAddress(l.Source.URL), OnDemand: l.Source.OnDemand, Enabled: l.Source.Enabled, Status: "unknown"}
	if a.deps.Pulls != nil {
		if s, ok := a.deps.Pulls.Status(l.ID); ok {
			out.Status, out.LastError, out.Attempts = s.State, s.LastError, some(s.Attempts)
			if !s.Since.IsZero() {
				out.Since = some(s.Since.UTC())
			}
		}
	}
	if !l.Source.Enabled || l.Disabled {
		out.Status = "off"
	}
	return some(out)
}

func multitrackOf(m store.Multitrack) multitrack {
	return multitrack{!m.Disabled, unlessZero(m.MaxVideoTracks), unlessZero(m.MaxBitrate)}
}

// apply sets a source from the body of a new stream.
func (b *sourceBody) apply(l *store.LiveStream) {
	if b != nil {
		l.Source = store.Source{URL: b.URL, OnDemand: b.OnDemand, Enabled: b.Enabled == nil || *b.Enabled}
	}
}

func (b *multitrackBody) apply(l *store.LiveStream) {
	if b != nil {
		l.Multitrack = store.Multitrack{Disabled: b.Enabled != nil && !*b.Enabled, MaxVideoTracks: b.MaxVideoTracks, MaxBitrate: b.MaxBitrate}
	}
}

// apply merges a patch. A page sends the address back as it was shown: then the
// secrets behind the mask stay.
func (p *sourcePatch) apply(s *store.Source) {
	if s.URL == "" {
		s.Enabled = true
	}
	if !p.URL.set || p.URL.null || s.URL == "" || p.URL.v != maskAddress(s.URL) {
		p.URL.to(&s.URL, "")
	}
	p.OnDemand.to(&s.OnDemand, false)
	p.Enabled.to(&s.Enabled, true)
}

func (p *multitrackPatch) apply(m *store.Multitrack) {
	on := !m.Disabled
	p.Enabled.to(&on, true)
	m.Disabled = !on
	p.MaxVideoTracks.to(&m.MaxVideoTracks, 0)
	p.MaxBitrate.to(&m.MaxBitrate, 0)
}

// checkWays bounds the settings of the ways in.
func checkWays(op string, l store.LiveStream) error {
	if err := checkPassphrase(op, l.SRTPassphrase); err != nil {
		return err
	}
	if l.Source != (store.Source{}) {
		if err := checkAddress(op, "source.url", l.Source.URL, sourceSchemes); err != nil {
			return err
		}
	}
	if m := l.Multitrack; m.MaxVideoTracks < 0 || m.MaxVideoTracks > maxVideoTracks || m.MaxBitrate < 0 || m.MaxBitrate > maxBitrate {
		return fault.New(fault.Invalid, op, "multitrack", "max_video_tracks or max_bitrate is out of range",
			"Use 1 to 6 tracks and up to 200000000 bits a second, or null for the server's limits.")
	}
	return nil
}

func checkPassphrase(op, p string) error {
	const field = "srt_passphrase"
	harmless := func(r rune) bool {
		return (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') || strings.ContainsRune("-._~", r)
	}
	switch {
	case p == "":
		return nil
	case len(p) < minPassphrase || len(p) > maxPassphrase:
		return fault.New(fault.Invalid, op, field, "the passphrase must have 10 to 79 characters",
			"Make one with: openssl rand -hex 16.")
	case strings.ContainsFunc(p, func(r rune) bool { return !harmless(r) }) || url.QueryEscape(p) != p:
		return fault.New(fault.Invalid, op, field, "the passphrase has characters that encoders read differently in an address",
			"Use letters, digits and - . _ ~ only, such as: openssl rand -hex 16.")
	}
	return nil
}
