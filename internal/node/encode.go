package node

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/control/api"
	"onair/internal/control/store"
	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/media"
	"onair/internal/transcode"
)

// findEncoder looks for ffmpeg, where anything is to be encoded. The server goes on
// without one: it then tells of every rendition why there is none.
func (n *Node) findEncoder(ctx context.Context, cfg Config, reg prometheus.Registerer) {
	if cfg.Transcode.Mode == transcode.Off {
		return
	}
	tool, err := ffmpeg.Find(ctx, cfg.FFmpeg, n.log, reg)
	if err != nil {
		n.noTool = err
		n.log.Warn("nothing can be encoded", "error", err)
		return
	}
	n.tool = tool
}

// newTranscoder returns what makes renditions, with the encoder that was found.
func (n *Node) newTranscoder(cfg Config, reg prometheus.Registerer) *transcode.Transcoder {
	var tool transcode.Tool
	if n.tool != nil {
		tool = n.tool
	}
	return transcode.New(cfg.Transcode, n.hub, tool, ladders{n.store}, n.bus, n.log, reg)
}

// ladders tells transcode how streams differ from the server's settings.
type ladders struct{ store *store.Store }

// Ladder implements transcode.Settings.
func (l ladders) Ladder(ctx context.Context, streamID string) (transcode.Choice, error) {
	s, err := l.store.LiveStream(ctx, streamID)
	if err != nil {
		return transcode.Choice{}, err
	}
	return transcode.Choice{Profile: s.Ladder.Profile, Rungs: s.Ladder.Rungs, Mode: s.Ladder.Mode}, nil
}

// encoding plugs the encoding into the API.
type encoding struct {
	cfg    transcode.Config
	made   *transcode.Transcoder
	tool   *ffmpeg.Tool // nil: there is none
	reason error        // why
}

// Renditions implements api.Ladder.
func (e encoding) Renditions(streamID string) []api.Rendition {
	list := e.made.Renditions(streamID)
	out := make([]api.Rendition, len(list))
	for i, r := range list {
		out[i] = api.Rendition{
			Offer: r.Offer, State: string(r.State), Reason: r.Reason, Since: r.Since, Encoder: r.Encoder,
			CPU: &r.CPU, Restarts: r.Restarts,
		}
		if r.State == transcode.Running {
			out[i].Lag = &r.Lag
		}
	}
	return out
}

// Encoding implements api.Encoders.
func (e encoding) Encoding() api.Encoding {
	out := api.Encoding{Mode: e.cfg.Mode}
	out.Budget, out.Used = e.made.Budget()
	for _, p := range e.made.Profiles() {
		out.Ladders = append(out.Ladders, api.LadderProfile{Name: p.Name, Rungs: p.Rungs})
	}
	switch {
	case e.tool != nil:
		out.Version = e.tool.Version()
		for _, c := range []media.Codec{media.H264, media.HEVC, media.AV1, media.AAC, media.Opus} {
			for _, encoder := range e.tool.Encoders(c) {
				out.Encoders = append(out.Encoders, api.Encoder{Name: encoder.Name, Codec: encoder.Codec.String(), Hardware: encoder.Hardware})
			}
		}
	case e.reason != nil:
		out.Unavailable = e.reason.Error()
	default:
		out.Unavailable = fault.New(fault.Unavailable, "encode", "", "it is switched off", "Set transcode to just-in-time.").Error()
	}
	return out
}

// check refuses a ladder that the server cannot make.
func (e encoding) check(profile string, rungs []string, mode string) error {
	return e.cfg.CheckChoice(transcode.Choice{Profile: profile, Rungs: rungs, Mode: mode})
}
