package node

import (
	"context"

	"onair/internal/deliver/play"
	"onair/internal/ingest"
	"onair/internal/wire/rtc"
	"onair/internal/wire/rtmp"
	"onair/internal/wire/srt"
)

// publish serves one publisher to its end, whatever protocol it speaks.
func (n *Node) publish(ctx context.Context, r ingest.Request) error {
	err := n.ingest.Serve(ctx, r)
	if err != nil {
		n.log.Info("publisher left", "protocol", r.Protocol(), "peer", addressOf(r.Peer()), "reason", err.Error())
	}
	return err
}

// view serves one viewer of its own connection to its end.
func (n *Node) view(ctx context.Context, r play.Request) {
	if err := n.play.Serve(ctx, r); err != nil {
		n.log.Info("viewer left", "protocol", r.Protocol(), "peer", addressOf(r.Peer()), "reason", err.Error())
	}
}

// rtmpHandler implements rtmp.Handler.
type rtmpHandler struct{ *Node }

// ServePublish implements rtmp.Handler.
func (h rtmpHandler) ServePublish(ctx context.Context, r *rtmp.PublishRequest) { _ = h.publish(ctx, r) }

// ServePlay implements rtmp.Handler.
func (h rtmpHandler) ServePlay(ctx context.Context, r *rtmp.PlayRequest) { h.view(ctx, r) }

// srtHandler implements srt.Handler.
type srtHandler struct{ *Node }

// ServePublish implements srt.Handler.
func (h srtHandler) ServePublish(ctx context.Context, r *srt.PublishRequest) { _ = h.publish(ctx, r) }

// ServePlay implements srt.Handler.
func (h srtHandler) ServePlay(ctx context.Context, r *srt.PlayRequest) { h.view(ctx, r) }

// rtcHandler implements rtc.Handler.
type rtcHandler struct{ *Node }

// ServePublish implements rtc.Handler.
func (h rtcHandler) ServePublish(ctx context.Context, r *rtc.PublishRequest) { _ = h.publish(ctx, r) }

// ServePlay implements rtc.Handler.
func (h rtcHandler) ServePlay(ctx context.Context, r *rtc.PlayRequest) { h.serveRealtime(ctx, r) }
