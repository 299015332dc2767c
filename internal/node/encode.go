package node

import (
	"context"

	"onair/internal/control/api"
	"onair/internal/control/store"
	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/transcode"
)

// runTranscoder makes renditions once it is known what with.
func (n *Node) runTranscoder(ctx context.Context) error {
	select {
	case <-n.tools.found:
		if n.tools.tool != nil {
			n.transcode.SetTool(n.tools.tool)
		}
		return n.transcode.Run(ctx)
	case <-ctx.Done():
		return nil
	}
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
	cfg   transcode.Config
	made  *transcode.Transcoder
	tools *toolbox
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
	if e.cfg.Mode == transcode.Off {
		out.Unavailable = fault.New(fault.Unavailable, "encode", "", "it is switched off", "Set transcode to just-in-time.").Error()
		return out
	}
	tool, err := e.tools.state()
	if tool == nil {
		out.Unavailable = err.Error()
		return out
	}
	out.Version = tool.Version()
	for _, c := range []media.Codec{media.H264, media.HEVC, media.AV1, media.AAC, media.Opus} {
		for _, encoder := range tool.Encoders(c) {
			out.Encoders = append(out.Encoders, api.Encoder{Name: encoder.Name, Codec: encoder.Codec.String(), Hardware: encoder.Hardware})
		}
	}
	return out
}

// check refuses a ladder that the server cannot make.
func (e encoding) check(profile string, rungs []string, mode string) error {
	return e.cfg.CheckChoice(transcode.Choice{Profile: profile, Rungs: rungs, Mode: mode})
}
