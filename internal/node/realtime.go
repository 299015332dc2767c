package node

import (
	"context"

	"onair/internal/control/api"
	"onair/internal/control/steer"
	"onair/internal/control/store"
	"onair/internal/deliver/play"
	"onair/internal/wire/rtc"
)

// rtcViewer plugs a WHEP request into play.
type rtcViewer struct{ *rtc.PlayRequest }

var _ play.RealtimeRequest = rtcViewer{}

// Estimate implements play.RealtimeRequest.
func (v rtcViewer) Estimate() play.Estimate {
	e := v.PlayRequest.Estimate()
	return play.Estimate{Bitrate: e.Bitrate, Loss: e.Loss, RTT: e.RTT}
}

// Watch implements play.RealtimeRequest.
func (v rtcViewer) Watch(video, audio play.Fan) {
	v.PlayRequest.Watch(fanOf(video), fanOf(audio))
}

// fanOf is the fan that play was given by fanMaker; nil if there is none.
func fanOf(f play.Fan) *rtc.Fan {
	fan, _ := f.(*rtc.Fan)
	return fan
}

// fanMaker makes what play writes to.
func fanMaker(s *rtc.Server) func(requestKey func()) play.Fan {
	return func(requestKey func()) play.Fan { return s.NewFan(rtc.FanOptions{RequestKey: requestKey}) }
}

// serveRealtime serves one WebRTC viewer to its end.
func (n *Node) serveRealtime(ctx context.Context, r *rtc.PlayRequest) {
	if err := n.realtime.Serve(ctx, rtcViewer{r}); err != nil {
		n.log.Info("viewer left", "protocol", r.Protocol(), "peer", addressOf(r.Peer()), "reason", err.Error())
	}
}

// realtimeLimits tells steer what streams say of their WebRTC viewers.
type realtimeLimits struct {
	store    *store.Store
	standard int // of streams that say nothing
}

// RealtimeViewers implements steer.Limits.
func (l realtimeLimits) RealtimeViewers(ctx context.Context, streamID string) (int, error) {
	s, err := l.store.LiveStream(ctx, streamID)
	switch {
	case err != nil:
		return 0, err
	case s.RealtimeViewers != nil:
		return *s.RealtimeViewers, nil
	default:
		return l.standard, nil
	}
}

// steerer plugs steer into the API.
type steerer struct{ *steer.Steer }

// Choose implements api.Steer.
func (s steerer) Choose(a api.Ask) api.Way { return api.Way(s.Steer.Choose(steer.Ask(a))) }

var _ api.Steer = steerer{}
