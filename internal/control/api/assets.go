package api

import (
	"context"
	"net/http"
	"time"

	"onair/internal/control/retention"
	"onair/internal/control/store"
	"onair/internal/fault"
)

// Assets is what the API sees of the recordings.
type Assets interface {
	// Snapshot tells how far the recording of an asset is; false if it is not known. Its
	// Status does not matter; its Error is what is in the way of it just now.
	Snapshot(assetID string) (store.Recorded, bool)
	// Delete removes what was recorded for an asset. There being nothing is no error.
	Delete(ctx context.Context, assetID string) error
}

type (
	asset struct {
		ID           string                `json:"id" example:"as_g7usb5p6m9z8x2y5a6c7d8f9g2"`
		CreatedAt    time.Time             `json:"created_at"`
		UpdatedAt    time.Time             `json:"updated_at"`
		Status       string                `json:"status" enum:"recording,ready,errored,deleted" doc:"recording: it grows, and can be watched already. errored: it ends before the broadcast did; what is there can be watched."`
		LiveStreamID string                `json:"live_stream_id" doc:"What was recorded; the live stream may be deleted since." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		Title        string                `json:"title" doc:"At first that of the live stream, as metadata."`
		Duration     float64               `json:"duration" doc:"Seconds, of what there is so far while it is recorded; gaps count."`
		SizeBytes    int64                 `json:"size_bytes" doc:"What it takes in the storage."`
		Tracks       []assetTrack          `json:"tracks" nullable:"false"`
		Gaps         []assetGap            `json:"gaps" nullable:"false" doc:"Where the broadcast is missing in the recording, the first 1000."`
		GapCount     int                   `json:"gap_count" doc:"How many gaps there are."`
		PlaybackIDs  []playbackID          `json:"playback_ids" nullable:"false" doc:"One for each policy that the live stream had; none once the asset is deleted."`
		ClipOf       orNull[string]        `json:"clip_of" doc:"The asset that it was cut from, which may be deleted since; null if it is no clip."`
		ClipStart    orNull[time.Time]     `json:"clip_start" doc:"Where it begins there; null as above."`
		ClipEnd      orNull[time.Time]     `json:"clip_end" doc:"Where it ends there; null as above."`
		Playback     orNull[assetPlayback] `json:"playback" doc:"For the first public playback id; null if there is none, or if this server plays no recordings."`
		DownloadURL  orNull[string]        `json:"download_url" doc:"An MP4 file of it; null while it is recorded, once it is deleted, and as above."`
		PublicFile   bool                  `json:"public_download" doc:"Whether anybody can download the file; else it needs the token."`
		Error        orNull[string]        `json:"error" doc:"Why it is errored, or what is in the way of the recording just now; null if nothing is."`
		Metadata     map[string]string     `json:"metadata"`
	}
	assetTrack struct {
		Rendition   string          `json:"rendition" doc:"What the track belongs to." example:"v0"`
		Kind        string          `json:"kind" enum:"video,audio"`
		Codec       string          `json:"codec" example:"H.264"`
		CodecString string          `json:"codec_string" doc:"As in RFC 6381." example:"avc1.64001f"`
		Width       orNull[int]     `json:"width" doc:"Null where the track has no such thing, here and below."`
		Height      orNull[int]     `json:"height"`
		FrameRate   orNull[float64] `json:"frame_rate"`
		SampleRate  orNull[int]     `json:"sample_rate"`
		Channels    orNull[int]     `json:"channels"`
	}
	assetGap struct {
		Start    time.Time `json:"start"`
		Duration float64   `json:"duration" doc:"Seconds that are missing."`
	}
	assetPlayback struct {
		HLSURL        string         `json:"hls_url" format:"uri"`
		DASHURL       string         `json:"dash_url" format:"uri"`
		WatchURL      string         `json:"watch_url" format:"uri" doc:"A page with a player."`
		PosterURL     orNull[string] `json:"poster_url" doc:"A picture that stands for it (JPEG); null when the server makes no pictures."`
		ThumbnailURL  orNull[string] `json:"thumbnail_url" doc:"The picture of a moment (JPEG), with the seconds as ?time=; null as above."`
		StoryboardURL orNull[string] `json:"storyboard_url" doc:"WebVTT with small pictures of all of it; null as above."`
	}
	assetInput struct {
		ID string `path:"id" doc:"Id of the asset." example:"as_g7usb5p6m9z8x2y5a6c7d8f9g2"`
	}
	listAssetInput struct {
		LiveStreamID string `query:"live_stream_id" maxLength:"64" doc:"Only recordings of this live stream, which may be deleted since."`
		Status       string `query:"status" enum:"recording,ready,errored,deleted" doc:"Only these; if it is left out all but deleted ones."`
		ClipOf       string `query:"clip_of" maxLength:"64" doc:"Only clips that were cut from this asset, which may be deleted since."`
		Limit        int    `query:"limit" minimum:"1" maximum:"100" default:"25" doc:"Most assets on the page."`
		Cursor       string `query:"cursor" maxLength:"200" doc:"next_cursor of the page before; nothing for the first page."`
	}
	assetPatch struct {
		PublicDownload optional[bool]               `json:"public_download" required:"false" doc:"Null: false."`
		Title          optional[string]             `json:"title" required:"false" maxLength:"512" doc:"Null removes it."`
		Metadata       optional[map[string]*string] `json:"metadata" required:"false" doc:"Merged key by key: null removes a key, null for all of it removes all."`
	}
	patchAssetInput struct {
		ID   string `path:"id" doc:"Id of the asset." example:"as_g7usb5p6m9z8x2y5a6c7d8f9g2"`
		Body assetPatch
	}
	assetOutput     struct{ Body asset }
	listAssetOutput struct {
		Body struct {
			Data       []asset        `json:"data" nullable:"false"`
			NextCursor orNull[string] `json:"next_cursor" doc:"Asks for the next page; null on the last one."`
		}
	}
)

func (a *API) assetRoutes(op describeOp) {
	const all, one = "/v1/assets", "/v1/assets/{id}"
	missing := []fault.Kind{fault.NotFound}
	register(a, op("list-assets", http.MethodGet, all, tagAssets, "List assets", "Newest first.", http.StatusOK), nil, a.listAssets)
	register(a, op("get-asset", http.MethodGet, one, tagAssets, "Read an asset",
		"A deleted asset is still known, without playback ids.", http.StatusOK), missing, a.getAsset)
	register(a, op("update-asset", http.MethodPatch, one, tagAssets, "Change an asset",
		"A merge patch (RFC 7396) of the title and the metadata. A deleted asset is refused.", http.StatusOK),
		[]fault.Kind{fault.NotFound, fault.Conflict}, a.patchAsset)
	register(a, op("delete-asset", http.MethodDelete, one, tagAssets, "Delete an asset",
		"Removes the recording and its playback ids for good. Refused while the asset is being recorded, and where the server has no recordings at hand because recording is off. A deleted asset can be deleted again, in case its recording could not be removed.", http.StatusNoContent),
		[]fault.Kind{fault.NotFound, fault.Conflict}, a.deleteAsset)
}

// assetOf puts what is stored and what is being recorded together.
func (a *API) assetOf(ctx context.Context, s store.Asset) asset {
	if a.deps.Assets != nil && s.Status == store.AssetRecording {
		if now, ok := a.deps.Assets.Snapshot(s.ID); ok {
			s.Error = now.Error
			s.Duration, s.Bytes, s.Tracks, s.Gaps, s.GapCount = now.Duration, now.Bytes, now.Tracks, now.Gaps, len(now.Gaps)
		}
	}
	out := asset{
		ID: s.ID, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, Status: string(s.Status), LiveStreamID: s.LiveStreamID,
		Title: s.Title, Duration: finite(s.Duration.Seconds()), SizeBytes: s.Bytes, GapCount: s.GapCount,
		PublicFile: s.PublicDownload,
		Tracks:     []assetTrack{}, Gaps: []assetGap{}, PlaybackIDs: []playbackID{}, Error: unlessZero(s.Error), Metadata: s.Metadata,
	}
	for _, t := range s.Tracks {
		out.Tracks = append(out.Tracks, assetTrack{
			Rendition: t.Rendition, Kind: t.Kind, Codec: t.Codec, CodecString: t.CodecString,
			Width: unlessZero(t.Width), Height: unlessZero(t.Height), FrameRate: unlessZero(finite(t.FrameRate)),
			SampleRate: unlessZero(t.SampleRate), Channels: unlessZero(t.Channels),
		})
	}
	for _, g := range s.Gaps[:min(len(s.Gaps), store.MaxAssetGaps)] {
		out.Gaps = append(out.Gaps, assetGap{g.Start.UTC(), finite(g.Duration.Seconds())})
	}
	if s.Clip.Of != "" {
		out.ClipOf, out.ClipStart, out.ClipEnd = some(s.Clip.Of), some(s.Clip.Start), some(s.Clip.End)
	}
	base := infoOf(ctx).base
	for _, p := range s.PlaybackIDs {
		out.PlaybackIDs = append(out.PlaybackIDs, playbackID{p.ID, string(p.Policy)})
		if out.Playback.v == nil && p.Policy == store.Public && a.deps.Assets != nil {
			at := assetPlayback{
				HLSURL: base + "/hls/" + p.ID + "/index.m3u8", DASHURL: base + "/dash/" + p.ID + "/manifest.mpd", WatchURL: base + "/watch/" + p.ID,
			}
			if a.deps.Images {
				pictures := base + "/images/" + p.ID
				at.PosterURL, at.ThumbnailURL, at.StoryboardURL = some(pictures+"/poster.jpg"), some(pictures+"/thumbnail.jpg"), some(pictures+"/storyboard.vtt")
			}
			out.Playback = some(at)
		}
	}
	if a.deps.Assets != nil && (s.Status == store.AssetReady || s.Status == store.AssetErrored) {
		out.DownloadURL = some(base + downloadPath(s.ID))
	}
	return out
}

func (a *API) listAssets(ctx context.Context, in *listAssetInput) (*listAssetOutput, error) {
	f := store.AssetFilter{LiveStreamID: in.LiveStreamID, Status: store.AssetStatus(in.Status), ClipOf: in.ClipOf}
	page, next, err := a.deps.Store.Assets(ctx, f, in.Limit, in.Cursor)
	if err != nil {
		return nil, err
	}
	out := new(listAssetOutput)
	out.Body.Data, out.Body.NextCursor = make([]asset, len(page)), unlessZero(next)
	for i, s := range page {
		out.Body.Data[i] = a.assetOf(ctx, s)
	}
	return out, nil
}

func (a *API) getAsset(ctx context.Context, in *assetInput) (*assetOutput, error) {
	s, err := a.deps.Store.Asset(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &assetOutput{a.assetOf(ctx, s)}, nil
}

func (a *API) patchAsset(ctx context.Context, in *patchAssetInput) (*assetOutput, error) {
	s, err := a.deps.Store.UpdateAsset(ctx, in.ID, func(s *store.Asset) error {
		in.Body.Title.to(&s.Title, "")
		in.Body.PublicDownload.to(&s.PublicDownload, false)
		s.Metadata = mergeMetadata(s.Metadata, in.Body.Metadata)
		return checkText("update the asset", s.Title, s.Metadata)
	})
	if err != nil {
		return nil, err
	}
	a.assetChanged(s, "updated")
	return &assetOutput{a.assetOf(ctx, s)}, nil
}

func (a *API) deleteAsset(ctx context.Context, in *assetInput) (*emptyOutput, error) {
	return nil, a.retention.Remove(ctx, in.ID, retention.Requested)
}

// assetChanged lets go of what is remembered of an asset that changed, and tells of it.
func (a *API) assetChanged(s store.Asset, change string) {
	for _, p := range s.PlaybackIDs {
		a.deps.Auth.Forget(p.ID)
	}
	a.changed(s.LiveStreamID, "asset."+change)
}
