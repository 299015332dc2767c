package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Encoding is what the server can encode with, and how much of it is in use.
type Encoding struct {
	// Mode is just-in-time, always or off, as the server is set.
	Mode string
	// Unavailable says why nothing can be encoded; empty if something can.
	Unavailable string
	// Version is ffmpeg's.
	Version string
	// Ladders are the profiles that a stream can choose from, the default first.
	Ladders []LadderProfile
	// Encoders are those that worked when they were tried, preferred ones first.
	Encoders []Encoder
	// Budget and Used are in cores of the processor.
	Budget, Used float64
}

// LadderProfile is a ladder with a name.
type LadderProfile struct {
	Name  string
	Rungs []string
}

// Encoder is one that works.
type Encoder struct {
	// Name is ffmpeg's, Codec that of what it makes.
	Name, Codec string
	// Hardware is set if it is no load on the processor.
	Hardware bool
}

// Encoders is what the API sees of the encoding of the whole server.
type Encoders interface {
	Encoding() Encoding
}

type (
	sessionOutput struct {
		Body struct {
			Role string `json:"role" enum:"owner"`
		}
	}
	serverOutput struct {
		Body struct {
			Version         string              `json:"version"`
			RTMPURL         orNull[string]      `json:"rtmp_url" doc:"The server to name in an encoder; null when RTMP is off."`
			URL             string              `json:"url" format:"uri" doc:"Where this server is, as the client sees it or as --public-url says."`
			HLSBase         string              `json:"hls_base" format:"uri" doc:"HLS of a playback id is at this address, the id, and /index.m3u8."`
			RealtimeViewers int                 `json:"realtime_viewers" doc:"How many may watch a stream over WebRTC at a time, where the stream does not say otherwise; 0 when playing over WebRTC is off."`
			Transcoding     orNull[transcoding] `json:"transcoding" doc:"Null: this server does not encode."`
		}
	}
	transcoding struct {
		Mode        string          `json:"mode" enum:"just-in-time,always,off" doc:"Where the stream does not say otherwise."`
		Available   bool            `json:"available"`
		Reason      string          `json:"reason" doc:"Why nothing can be encoded; empty if something can."`
		FFmpeg      orNull[string]  `json:"ffmpeg_version"`
		Ladders     []ladderProfile `json:"ladders" nullable:"false" doc:"What ladder.profile of a live stream can be, the default first."`
		Encoders    []encoder       `json:"encoders" nullable:"false" doc:"Those that worked when they were tried at the start, preferred ones first."`
		CoresBudget float64         `json:"cores_budget" doc:"Cores of the processor that encoders may use."`
		CoresUsed   float64         `json:"cores_used"`
	}
	ladderProfile struct {
		Name  string   `json:"name" example:"default"`
		Rungs []string `json:"rungs" nullable:"false"`
	}
	encoder struct {
		Name     string `json:"name" example:"libx264"`
		Codec    string `json:"codec" example:"H.264"`
		Hardware bool   `json:"hardware"`
	}
)

type describeOp func(id, method, path, tag, summary, description string, status int) huma.Operation

func (a *API) otherRoutes(op describeOp) {
	a.registerEvents(op)
	a.playbackRoute(op)
	register(a, op("get-session", http.MethodGet, "/v1/session", tagServer, "Check the token",
		"Answers 200 with what the token may do, or 401.", http.StatusOK), nil, a.getSession)
	register(a, op("get-server", http.MethodGet, "/v1/server", tagServer, "Read about the server",
		"Its version, its addresses, and what it can encode.", http.StatusOK), nil, a.getServer)
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
	if a.deps.WHEP {
		out.Body.RealtimeViewers = a.deps.RealtimeViewers
	}
	if a.deps.Encoding != nil {
		out.Body.Transcoding = some(transcodingOf(a.deps.Encoding.Encoding()))
	}
	return out, nil
}

func transcodingOf(e Encoding) transcoding {
	out := transcoding{
		Mode: e.Mode, Available: e.Unavailable == "", Reason: e.Unavailable, FFmpeg: unlessZero(e.Version),
		Ladders: []ladderProfile{}, Encoders: []encoder{}, CoresBudget: finite(e.Budget), CoresUsed: finite(e.Used),
	}
	for _, l := range e.Ladders {
		rungs := l.Rungs
		if rungs == nil {
			rungs = []string{}
		}
		out.Ladders = append(out.Ladders, ladderProfile{l.Name, rungs})
	}
	for _, x := range e.Encoders {
		out.Encoders = append(out.Encoders, encoder(x))
	}
	return out
}
