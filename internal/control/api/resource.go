package api

import (
	"context"
	"encoding/json"
	"math"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onair/internal/control/store"
	"onair/internal/hub"
)

// orNull is a value or null, and says so in the description.
type orNull[T any] struct{ v *T }

// MarshalJSON writes the value or null.
func (n orNull[T]) MarshalJSON() ([]byte, error) { return json.Marshal(n.v) }

// Schema describes the value or null.
func (n orNull[T]) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{r.Schema(reflect.TypeFor[T](), true, ""), {Type: "null"}}}
}

// null is a field that has no value in this version.
type null struct{}

// MarshalJSON writes null.
func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// Schema describes null.
func (null) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: "null"} }

type liveStream struct {
	ID              string               `json:"id" example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
	CreatedAt       time.Time            `json:"created_at"`
	UpdatedAt       time.Time            `json:"updated_at"`
	Status          string               `json:"status" enum:"idle,active,reconnecting,disabled" doc:"idle: waits for a publisher. active: can be watched. reconnecting: the publisher was lost and is being waited for, viewers stay. disabled: refuses publishers."`
	Title           string               `json:"title"`
	StreamKey       string               `json:"stream_key" doc:"What an encoder publishes with. A secret." example:"sk_c3qfz7m2k5x4v6w7y2a3b4d5e6"`
	LatencyMode     string               `json:"latency_mode" enum:"standard,low,ultra" doc:"standard: whole segments. low: parts of 0.5 s. ultra: parts of 0.2 s."`
	ReconnectWindow int                  `json:"reconnect_window" doc:"Seconds that a lost publisher is waited for."`
	Record          bool                 `json:"record" doc:"Each broadcast becomes an asset."`
	DVR             string               `json:"dvr" enum:"off,whole,window" doc:"How far viewers can go back in a broadcast. off: some seconds. whole: to its beginning. window: dvr_window seconds."`
	DVRWindow       orNull[int]          `json:"dvr_window" doc:"Seconds; null unless dvr is window."`
	Retention       retentionLimits      `json:"retention" doc:"When assets of the stream are removed by themselves, which is looked at every 10 minutes. GET /v1/live-streams/{id}/storage tells which would be. Assets of a deleted live stream stay."`
	Ladder          ladder               `json:"ladder" doc:"In which renditions viewers get the stream, besides as it comes."`
	RealtimeViewers orNull[int]          `json:"realtime_viewers" doc:"How many may watch over WebRTC at a time, with the rest on HLS; null: the server's default, which GET /v1/server tells."`
	PlaybackIDs     []playbackID         `json:"playback_ids" nullable:"false"`
	Ingest          ingestURLs           `json:"ingest"`
	SRTPassphrase   orNull[string]       `json:"srt_passphrase" doc:"Encrypts SRT, publishing and playing; null: not encrypted. A secret."`
	Source          orNull[source]       `json:"source" doc:"Where the server fetches the stream from; null: encoders publish it."`
	Multitrack      multitrack           `json:"multitrack"`
	Targets         []simulcastTarget    `json:"simulcast_targets" nullable:"false"`
	Playback        orNull[playbackURLs] `json:"playback" doc:"For the first public playback id; null if there is none."`
	ActiveIngest    orNull[activeIngest] `json:"active_ingest" doc:"What is being received; null while nothing is."`
	Viewers         int                  `json:"viewers"`
	ActiveAssetID   orNull[string]       `json:"active_asset_id" doc:"The asset to which the broadcast is being recorded; null if it is not."`
	RecentAssetIDs  []string             `json:"recent_asset_ids" nullable:"false" doc:"The newest 10 assets, newest first, without deleted ones."`
	Metadata        map[string]string    `json:"metadata" doc:"Whatever you need to find the stream's owner; the server does not look at it."`
}

type playbackID struct {
	ID     string `json:"id" example:"pb_d4rga2n3l6y5w7x2z3b4c5e6f7"`
	Policy string `json:"policy" enum:"public,signed"`
}

type playbackURLs struct {
	HLSURL        string         `json:"hls_url" format:"uri"`
	DASHURL       orNull[string] `json:"dash_url" doc:"Null when DASH is off."`
	WHEPURL       orNull[string] `json:"whep_url" doc:"For players of WebRTC; null when playing over WebRTC is off."`
	WatchURL      string         `json:"watch_url" format:"uri" doc:"A page with a player."`
	RTMPURL       orNull[string] `json:"rtmp_url" doc:"For players of RTMP; null when RTMP is off."`
	SRTURL        orNull[string] `json:"srt_url" doc:"For players of SRT, with the passphrase if there is one; null when SRT is off."`
	ThumbnailURL  orNull[string] `json:"thumbnail_url" doc:"The picture of the last seconds (JPEG; .webp and .avif exist, too); null when the server makes no pictures."`
	StoryboardURL orNull[string] `json:"storyboard_url" doc:"WebVTT with small pictures of the time that can be gone back to; null as above."`
}

type activeIngest struct {
	Protocol  string              `json:"protocol" example:"rtmp"`
	Encoder   string              `json:"encoder" doc:"As the encoder names itself; empty if it does not."`
	Peer      string              `json:"peer" doc:"Address of the encoder."`
	Since     time.Time           `json:"since"`
	SessionID string              `json:"session_id"`
	Tracks    []track             `json:"tracks" nullable:"false"`
	Link      orNull[link]        `json:"link" doc:"What the transport knows of the way to the encoder; null where it knows nothing."`
	OnAir     string              `json:"on_air" enum:"main,backup" doc:"Whose picture viewers see."`
	Backup    orNull[backupState] `json:"backup" doc:"The second encoder; null if nothing is known of it."`
	Bitrate   int64               `json:"bitrate" doc:"Bits a second over the last seconds."`
	Bytes     uint64              `json:"bytes" doc:"Received since the broadcast began."`
}

type track struct {
	ID                int     `json:"id"`
	Rendition         string  `json:"rendition" doc:"Which rendition the track belongs to when the encoder sends several; empty is the main one."`
	Kind              string  `json:"kind" enum:"video,audio"`
	Codec             string  `json:"codec" example:"H.264"`
	CodecString       string  `json:"codec_string" doc:"As in RFC 6381." example:"avc1.64001f"`
	Width             int     `json:"width"`
	Height            int     `json:"height"`
	FrameRate         float64 `json:"frame_rate" doc:"As the bitstream declares it; 0 if it does not."`
	MeasuredFrameRate float64 `json:"measured_frame_rate"`
	Bitrate           int64   `json:"bitrate" doc:"Bits a second over the last seconds."`
	KeyframeInterval  float64 `json:"keyframe_interval" doc:"Seconds between key frames."`
	SampleRate        int     `json:"sample_rate"`
	Channels          int     `json:"channels"`
}

// status is the state of a stream: what is stored and what the hub sees.
func status(disabled bool, snap hub.Snapshot, there bool) store.Status {
	return store.StatusOf(disabled, there && snap.State == hub.Live, there && snap.State == hub.Lingering)
}

// present makes what clients see of a stream.
func (a *API) present(ctx context.Context, l store.LiveStream, assets store.StreamAssets) liveStream {
	snap, there := a.deps.Streams.Snapshot(l.ID)
	out := liveStream{
		ID: l.ID, CreatedAt: l.CreatedAt, UpdatedAt: l.UpdatedAt, Status: string(status(l.Disabled, snap, there)),
		Title: l.Title, StreamKey: l.StreamKey, LatencyMode: l.LatencyMode,
		ReconnectWindow: int(l.ReconnectWindow / time.Second), Record: l.Record,
		PlaybackIDs: []playbackID{}, Viewers: a.deps.Streams.Viewers(l.ID), Metadata: l.Metadata,
		Ingest: a.ingestOf(ctx, l), SRTPassphrase: unlessZero(l.SRTPassphrase), Source: a.sourceOf(l),
		Multitrack: multitrackOf(l.Multitrack), Targets: a.targetsOf(l),
		Ladder: ladderOf(l.Ladder), RealtimeViewers: orNull[int]{l.RealtimeViewers},
		ActiveAssetID: unlessZero(assets.Active), RecentAssetIDs: append([]string{}, assets.Recent...),
	}
	out.DVR, out.DVRWindow = dvrNames(l.DVR)
	out.Retention = retentionOf(l.Retention)
	for _, p := range l.PlaybackIDs {
		out.PlaybackIDs = append(out.PlaybackIDs, playbackID{p.ID, string(p.Policy)})
		if out.Playback.v == nil && p.Policy == store.Public {
			out.Playback = some(a.playbackOf(ctx, l, p.ID))
		}
	}
	if there && snap.Publisher != nil {
		out.ActiveIngest.v = a.activeIngest(snap)
	}
	return out
}

func (a *API) activeIngest(s hub.Snapshot) *activeIngest {
	p := s.Publisher
	out := &activeIngest{
		Protocol: p.Protocol, Encoder: p.Encoder, Peer: p.Peer, Since: p.Since.UTC(), SessionID: p.Session,
		OnAir: "main", Tracks: []track{}, Bitrate: int64(finite(s.Bitrate)), Bytes: s.Bytes,
	}
	if p.Backup {
		out.OnAir = "backup"
	}
	for _, t := range s.Tracks {
		out.Tracks = append(out.Tracks, track{
			ID: t.ID, Rendition: t.Rendition, Kind: t.Kind.String(), Codec: t.Codec.String(), CodecString: t.CodecString,
			Width: t.Width, Height: t.Height, FrameRate: finite(t.FrameRate),
			MeasuredFrameRate: finite(t.MeasuredFrameRate), Bitrate: int64(finite(t.Bitrate)),
			KeyframeInterval: finite(t.KeyframeInterval.Seconds()), SampleRate: t.SampleRate, Channels: t.Channels,
		})
	}
	if a.deps.Ingests != nil {
		if i, ok := a.deps.Ingests.Ingest(s.Name); ok {
			if i.Link != nil {
				out.Link = some(linkOf(*i.Link))
			}
			out.Backup = some(backupState{i.Backup != "", i.Ready, unlessZero(i.Backup)})
		}
	}
	return out
}

// finite rounds to three places. JSON has neither infinity nor NaN, and one such value
// from a strange bitstream must not take the whole answer with it.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return math.Round(f*1000) / 1000
}
