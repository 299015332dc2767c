package api

import (
	"context"
	"time"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// assetPlayback tells a player of a recording. The asset's own id stays unsaid, but where its
// file is for everybody.
func (a *API) assetPlayback(ctx context.Context, playbackID, assetID string) (*playbackOutput, error) {
	if a.deps.Assets == nil {
		return nil, fault.New(fault.Disabled, "watch", playbackID, "recording is off on this server, and with it what was recorded", "")
	}
	s, err := a.deps.Store.Asset(ctx, assetID)
	if err != nil {
		return nil, err
	}
	if s.Status == store.AssetDeleted {
		return nil, fault.New(fault.NotFound, "watch", playbackID, "the recording was deleted", "")
	}
	out := &playbackOutput{AllowOrigin: "*"}
	b := &out.Body
	b.PlaybackID, b.Type, b.Status, b.Title = playbackID, "asset", string(s.Status), s.Title
	b.HLSURL, b.DASHURL = "/hls/"+playbackID+"/index.m3u8", some("/dash/"+playbackID+"/manifest.mpd")
	b.CreatedAt, b.Duration = some(s.CreatedAt), some(finite(a.recordedNow(s.ID, s.Status, s.Duration).Seconds()))
	b.Way = way{Protocol: "hls", Code: "asset", Reason: "It is a recording."}
	if a.deps.Images {
		pictures := "/images/" + playbackID
		b.PosterURL, b.ThumbnailURL, b.StoryboardURL = some(pictures+"/poster.jpg"), some(pictures+"/thumbnail.jpg"), some(pictures+"/storyboard.vtt")
	}
	if s.PublicDownload && s.Status != store.AssetRecording {
		b.DownloadURL = some(downloadPath(s.ID))
	}
	return out, nil
}

// downloadPath is where the file of an asset is.
func downloadPath(assetID string) string { return "/v1/assets/" + assetID + "/download.mp4" }

// recordedNow returns how long an asset is by now.
func (a *API) recordedNow(id string, status store.AssetStatus, kept time.Duration) time.Duration {
	if status == store.AssetRecording && a.deps.Assets != nil {
		if now, ok := a.deps.Assets.Snapshot(id); ok {
			return now.Duration
		}
	}
	return kept
}

// pastOf returns how far viewers of a live stream can go back at present.
func (a *API) pastOf(streamID string) orNull[float64] {
	if a.deps.Past == nil || a.deps.Assets == nil {
		return orNull[float64]{}
	}
	id, window, ok := a.deps.Past(streamID)
	if !ok {
		return orNull[float64]{}
	}
	past := a.recordedNow(id, store.AssetRecording, 0)
	if window >= 0 {
		past = min(past, window)
	}
	return some(finite(past.Seconds()))
}

// lastReplay returns the recording of the last broadcast.
func (a *API) lastReplay(ctx context.Context, p store.Playback) (orNull[replayOf], error) {
	if a.deps.Assets == nil {
		return orNull[replayOf]{}, nil
	}
	r, err := a.deps.Auth.Replay(ctx, p.StreamID, p.Policy)
	switch {
	case fault.Is(err, fault.NotFound):
		return orNull[replayOf]{}, nil
	case err != nil:
		return orNull[replayOf]{}, err
	}
	return some(replayOf{
		PlaybackID: r.PlaybackID, Status: string(r.Status), CreatedAt: r.CreatedAt,
		Duration: finite(a.recordedNow(r.AssetID, r.Status, r.Duration).Seconds()), HLSURL: "/hls/" + r.PlaybackID + "/index.m3u8",
	}), nil
}
