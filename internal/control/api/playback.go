package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// Ask is what a player says of itself when it asks how to play.
type Ask struct {
	StreamID string
	// Viewer tells one player from another over its requests, so that it is told the same
	// each time. It is what the player says, or else its address: no identity to trust.
	Viewer string
	// Interactive is set for somebody who takes part, who needs the least delay.
	Interactive bool
	// Current is how it plays now: webrtc, hls, or empty if it does not.
	Current string
	// WebRTC is false if the player has none, or has tried it in vain.
	WebRTC bool
	// Limit is how many may watch the stream over WebRTC.
	Limit int
	// Live is set while something is to be seen.
	Live bool
}

// Way is how a player is to play.
type Way struct {
	// Protocol is webrtc or hls. Code is a stable name for why, Reason says it to people.
	Protocol, Code, Reason string
	// CheckAfter is when to ask again; 0 is never.
	CheckAfter time.Duration
}

// Steer chooses how each viewer gets a stream.
type Steer interface {
	Choose(Ask) Way
}

type (
	playbackInput struct {
		PlaybackID  string `path:"playback_id" doc:"A playback id." example:"pb_d4rga2n3l6y5w7x2z3b4c5e6f7"`
		Interactive bool   `query:"interactive" doc:"The viewer takes part (is on stage, say) and needs the least delay."`
		Current     string `query:"current" enum:"webrtc,hls" doc:"How the player plays at the moment; leave it out before it does."`
		WebRTC      bool   `query:"webrtc" default:"true" doc:"False if the player has no WebRTC, or has tried it in vain."`
		Viewer      string `query:"viewer" maxLength:"64" doc:"Any text that the player keeps while it is open, so that it is told the same when it asks again."`
	}
	playbackOutput struct {
		AllowOrigin string `header:"Access-Control-Allow-Origin" doc:"Players on any site may ask."`
		Body        struct {
			PlaybackID      string            `json:"playback_id"`
			Type            string            `json:"type" enum:"live_stream,asset" doc:"What the id is of; an asset is a recording or a clip."`
			Status          string            `json:"status" enum:"idle,active,reconnecting,disabled,recording,ready,errored" doc:"The last three are of assets: recording grows, errored ends before its broadcast did, and all can be watched."`
			Title           string            `json:"title"`
			LatencyMode     orNull[string]    `json:"latency_mode" doc:"standard, low or ultra; null for an asset."`
			Way             way               `json:"way"`
			HLSURL          string            `json:"hls_url" doc:"Relative to this server, as the others." example:"/hls/pb_d4rga2n3l6y5w7x2z3b4c5e6f7/index.m3u8"`
			WHEPURL         orNull[string]    `json:"whep_url" doc:"For WebRTC; null when that is off, and for an asset."`
			DASHURL         orNull[string]    `json:"dash_url" doc:"Null when DASH is off."`
			ThumbnailURL    orNull[string]    `json:"thumbnail_url" doc:"The picture of the last seconds, or of an asset at ?time= in seconds; null when the server makes no pictures."`
			StoryboardURL   orNull[string]    `json:"storyboard_url" doc:"WebVTT with small pictures of the time that can be gone back to; null as above."`
			PosterURL       orNull[string]    `json:"poster_url" doc:"A picture that stands for an asset; null as above, and for a live stream."`
			DownloadURL     orNull[string]    `json:"download_url" doc:"An MP4 file of an asset; null while it grows, if not anybody may download it, and for a live stream."`
			CreatedAt       orNull[time.Time] `json:"created_at" doc:"When an asset began; null for a live stream."`
			Duration        orNull[float64]   `json:"duration" doc:"Seconds of an asset, so far while it grows; null for a live stream."`
			DVR             orNull[float64]   `json:"dvr" doc:"Seconds that can be gone back at present while a live stream is on the air; null if it has no dvr."`
			Replay          orNull[replayOf]  `json:"replay" doc:"The recording of the last broadcast of a live stream that is idle; null if there is none, or while it is on the air."`
			Viewers         int               `json:"viewers" doc:"Of a live stream."`
			RealtimeViewers int               `json:"realtime_viewers" doc:"How many may watch over WebRTC at a time; 0: nobody."`
		}
	}
	replayOf struct {
		PlaybackID string    `json:"playback_id" doc:"Ask for it in the same way."`
		Status     string    `json:"status" enum:"recording,ready,errored"`
		CreatedAt  time.Time `json:"created_at"`
		Duration   float64   `json:"duration" doc:"Seconds."`
		HLSURL     string    `json:"hls_url"`
	}
	way struct {
		Protocol   string      `json:"protocol" enum:"webrtc,hls" doc:"How to play. A player that cannot do it, or sees no picture after 4 s, takes hls."`
		Code       string      `json:"code" doc:"Why, for programs: room (few watch), interactive, crowd (as many watch over WebRTC as may), load (the machine is busy), not_live, no_webrtc (the player has none), webrtc_off, asset (it is a recording); more may come." example:"room"`
		Reason     string      `json:"reason" doc:"Why, for people."`
		CheckAfter orNull[int] `json:"check_after_seconds" doc:"When to ask again, since the crowd grows and shrinks; null: there is no need."`
	}
)

// minCheck is the least time in which a player is told to ask again: every viewer does.
const minCheck = 5 * time.Second

func (a *API) playbackRoute(op describeOp) {
	play := op("get-playback", http.MethodGet, "/v1/playback/{playback_id}", tagPlay, "Read what a player needs",
		"Whether the stream is live, its title, its addresses, and which of them to play: WebRTC while few watch, else HLS, which everything plays. Likewise of an asset. Needs no token; any site may ask.", http.StatusOK)
	play.Metadata[public] = true
	play.Middlewares = huma.Middlewares{allowAnyOrigin}
	register(a, play, []fault.Kind{fault.NotFound, fault.Forbidden, fault.Disabled}, a.getPlayback)
}

// allowAnyOrigin lets pages of other sites read the answer, errors included.
func allowAnyOrigin(ctx huma.Context, next func(huma.Context)) {
	ctx.SetHeader("Access-Control-Allow-Origin", "*")
	next(ctx)
}

func (a *API) getPlayback(ctx context.Context, in *playbackInput) (*playbackOutput, error) {
	w, err := a.deps.Auth.Watch(ctx, in.PlaybackID)
	if err != nil {
		return nil, err
	}
	if w.AssetID != "" {
		return a.assetPlayback(ctx, in.PlaybackID, w.AssetID)
	}
	p, err := a.deps.Auth.Playback(ctx, in.PlaybackID)
	if err != nil {
		return nil, err
	}
	out := &playbackOutput{AllowOrigin: "*"}
	snap, there := a.deps.Streams.Snapshot(p.StreamID)
	b, at := &out.Body, a.pathsOf(p.ID)
	b.PlaybackID, b.Type, b.Title, b.LatencyMode = p.ID, "live_stream", p.Title, some(p.LatencyMode)
	b.HLSURL, b.WHEPURL, b.DASHURL, b.ThumbnailURL, b.StoryboardURL = at.hls, unlessZero(at.whep), unlessZero(at.dash), unlessZero(at.thumbnail), unlessZero(at.storyboard)
	s := status(p.Disabled, snap, there)
	b.Status = string(s)
	b.Viewers = a.deps.Streams.Viewers(p.StreamID)
	switch s {
	case store.Active, store.Reconnecting:
		b.DVR = a.pastOf(p.StreamID)
	case store.Idle:
		if b.Replay, err = a.lastReplay(ctx, p); err != nil {
			return nil, err
		}
	}
	switch {
	case !a.deps.WHEP:
	case p.RealtimeViewers != nil:
		b.RealtimeViewers = *p.RealtimeViewers
	default:
		b.RealtimeViewers = a.deps.RealtimeViewers
	}
	viewer := in.Viewer
	if viewer == "" {
		viewer = infoOf(ctx).from.String()
	}
	b.Way = a.wayOf(Ask{
		StreamID: p.StreamID, Viewer: viewer, Interactive: in.Interactive, Current: in.Current, WebRTC: in.WebRTC,
		Limit: b.RealtimeViewers, Live: s == store.Active || s == store.Reconnecting,
	})
	return out, nil
}

// wayOf asks how to play; HLS is the answer that is never wrong.
func (a *API) wayOf(ask Ask) way {
	if !a.deps.WHEP || a.deps.Steer == nil {
		return way{Protocol: "hls", Code: "webrtc_off", Reason: "The server does not play over WebRTC."}
	}
	w := a.deps.Steer.Choose(ask)
	out := way{Protocol: w.Protocol, Code: w.Code, Reason: w.Reason}
	if w.CheckAfter > 0 {
		out.CheckAfter = some(int(max(w.CheckAfter, minCheck).Round(time.Second) / time.Second))
	}
	return out
}

// paths are the addresses of a playback id on this server; empty where something is off.
type paths struct{ hls, whep, dash, thumbnail, storyboard string }

func (a *API) pathsOf(playbackID string) paths {
	out := paths{hls: "/hls/" + playbackID + "/index.m3u8"}
	if a.deps.WHEP {
		out.whep = "/whep/" + playbackID
	}
	if a.deps.DASH {
		out.dash = "/dash/" + playbackID + "/manifest.mpd"
	}
	if a.deps.Images {
		out.thumbnail, out.storyboard = "/images/"+playbackID+"/thumbnail.jpg", "/images/"+playbackID+"/storyboard.vtt"
	}
	return out
}
