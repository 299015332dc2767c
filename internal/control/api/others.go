package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"onair/internal/fault"
)

type (
	playbackInput struct {
		PlaybackID string `path:"playback_id" doc:"A playback id." example:"pb_d4rga2n3l6y5w7x2z3b4c5e6f7"`
	}
	playbackOutput struct {
		AllowOrigin string `header:"Access-Control-Allow-Origin" doc:"Players on any site may ask."`
		Body        struct {
			PlaybackID  string `json:"playback_id"`
			Status      string `json:"status" enum:"idle,active,reconnecting,disabled"`
			Title       string `json:"title"`
			LatencyMode string `json:"latency_mode" enum:"standard,low,ultra"`
			HLSURL      string `json:"hls_url" doc:"Relative to this server." example:"/hls/pb_d4rga2n3l6y5w7x2z3b4c5e6f7/index.m3u8"`
			Viewers     int    `json:"viewers"`
		}
	}
	sessionOutput struct {
		Body struct {
			Role string `json:"role" enum:"owner"`
		}
	}
	serverOutput struct {
		Body struct {
			Version string         `json:"version"`
			RTMPURL orNull[string] `json:"rtmp_url" doc:"The server to name in an encoder; null when RTMP is off."`
			URL     string         `json:"url" format:"uri" doc:"Where this server is, as the client sees it or as --public-url says."`
			HLSBase string         `json:"hls_base" format:"uri" doc:"HLS of a playback id is at this address, the id, and /index.m3u8."`
		}
	}
)

type describeOp func(id, method, path, tag, summary, description string, status int) huma.Operation

func (a *API) otherRoutes(op describeOp) {
	a.registerEvents(op)
	play := op("get-playback", http.MethodGet, "/v1/playback/{playback_id}", tagPlay, "Read what a player needs",
		"Whether the stream is live, its title and its address. Needs no token; any site may ask.", http.StatusOK)
	play.Metadata[public] = true
	play.Middlewares = huma.Middlewares{allowAnyOrigin}
	register(a, play, []fault.Kind{fault.NotFound, fault.Forbidden}, a.getPlayback)
	register(a, op("get-session", http.MethodGet, "/v1/session", tagServer, "Check the token",
		"Answers 200 with what the token may do, or 401.", http.StatusOK), nil, a.getSession)
	register(a, op("get-server", http.MethodGet, "/v1/server", tagServer, "Read about the server",
		"Its version and addresses.", http.StatusOK), nil, a.getServer)
}

// allowAnyOrigin lets pages of other sites read the answer, errors included.
func allowAnyOrigin(ctx huma.Context, next func(huma.Context)) {
	ctx.SetHeader("Access-Control-Allow-Origin", "*")
	next(ctx)
}

func (a *API) getPlayback(ctx context.Context, in *playbackInput) (*playbackOutput, error) {
	if _, err := a.deps.Auth.StreamOf(ctx, in.PlaybackID); err != nil {
		return nil, err
	}
	p, err := a.deps.Auth.Playback(ctx, in.PlaybackID)
	if err != nil {
		return nil, err
	}
	out := &playbackOutput{AllowOrigin: "*"}
	snap, there := a.deps.Streams.Snapshot(p.StreamID)
	b := &out.Body
	b.PlaybackID, b.Title, b.LatencyMode, b.HLSURL = p.ID, p.Title, p.LatencyMode, hlsPath(p.ID)
	b.Status = string(status(p.Disabled, snap, there))
	b.Viewers = a.deps.Streams.Viewers(p.StreamID)
	return out, nil
}

func (a *API) getSession(context.Context, *struct{}) (*sessionOutput, error) {
	out := new(sessionOutput)
	out.Body.Role = "owner" // the one role there is
	return out, nil
}

func (a *API) getServer(ctx context.Context, _ *struct{}) (*serverOutput, error) {
	out := new(serverOutput)
	base := infoOf(ctx).base
	out.Body.Version, out.Body.URL, out.Body.HLSBase = a.deps.Version, base, base+"/hls/"
	if p := a.deps.RTMPPort; p != 0 {
		out.Body.RTMPURL = some("rtmp://" + hostPort(infoOf(ctx), p) + "/live")
	}
	return out, nil
}
