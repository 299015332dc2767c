package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// Clip is a part of an asset that is to be made an asset of its own.
type Clip struct {
	// ID is the asset that it becomes, Of the one that it is cut from.
	ID, Of, Title string
	Start, End    time.Time
}

// Clips makes clips.
type Clips interface {
	// Times says which part of an asset start and end mean, as it is now. They are written as
	// in the address of a playlist; an empty one is the beginning, or the end of what there is.
	Times(ctx context.Context, assetID, start, end string) (from, to time.Time, err error)
	// Make begins to make a clip and returns at once. The store is told what became of it by
	// whoever implements this, unless there is an error: then nothing is made. It is a
	// fault.TooMany if as many are being made as may.
	Make(ctx context.Context, c Clip) error
}

type (
	// moment is a place in a recording, as text or as a number of seconds.
	moment   string
	clipBody struct {
		AssetID          string            `json:"asset_id,omitempty" maxLength:"64" doc:"What to cut from: this, live_stream_id or playback_id."`
		LiveStreamID     string            `json:"live_stream_id,omitempty" maxLength:"64" doc:"Cuts from the broadcast that is being recorded, or else from the last one."`
		PlaybackID       string            `json:"playback_id,omitempty" maxLength:"64" doc:"One of an asset, or of a live stream as above."`
		Start            moment            `json:"start,omitempty" doc:"Where the clip begins, exact to the frame: seconds from the beginning (90, or 1:30), seconds before the end or now (-30), or a time of day (RFC 3339, or @ and Unix seconds). The beginning if it is left out."`
		End              moment            `json:"end,omitempty" doc:"Where it ends, likewise; what is at the end itself is not in it. What there is by now if it is left out."`
		Title            *string           `json:"title,omitempty" maxLength:"512" doc:"That of the asset if it is left out, as with metadata."`
		Metadata         map[string]string `json:"metadata,omitempty" maxProperties:"50" doc:"Up to 50 pairs, keys of 64 bytes, values of 512."`
		PlaybackPolicies []string          `json:"playback_policies,omitempty" nullable:"false" enum:"public,signed" maxItems:"32" doc:"A playback id is made for each; those of the asset if it is left out. signed is not supported yet."`
		PublicDownload   *bool             `json:"public_download,omitempty" doc:"Lets anybody download the clip as a file; as with the asset if it is left out."`
	}
	clipInput struct{ Body clipBody }
)

// UnmarshalJSON takes a number as it is written.
func (m *moment) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' && !bytes.Equal(b, []byte("null")) {
		*m = moment(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(m))
}

// maxMoment bounds a moment in bytes.
const maxMoment = 64

// Schema describes the text or the number.
func (moment) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString, MaxLength: ptr(maxMoment)}, {Type: huma.TypeNumber}}}
}

func (a *API) clipRoutes(op describeOp) {
	register(a, op("create-clip", http.MethodPost, "/v1/clips", tagAssets, "Make a clip",
		"Makes an asset of a part of another one, also of a broadcast that is still on the air. It begins as recording and is soon ready; the event asset.ready tells when. Only its edges are encoded again, the rest is shared with the asset that it is cut from, and stays when that is deleted.", http.StatusCreated),
		[]fault.Kind{fault.NotFound, fault.Unsupported}, a.createClip)
}

func (a *API) createClip(ctx context.Context, in *clipInput) (*assetOutput, error) {
	const op = "make the clip"
	if a.deps.Clips == nil {
		return nil, fault.New(fault.Unsupported, op, "", "this server makes no clips", "")
	}
	b := in.Body
	title := ""
	if b.Title != nil {
		title = *b.Title
	}
	if err := checkText(op, title, b.Metadata); err != nil {
		return nil, err
	}
	n := store.NewClip{Title: b.Title, Metadata: b.Metadata, PublicDownload: b.PublicDownload}
	if b.PlaybackPolicies != nil {
		n.Policies = []store.Policy{}
	}
	for _, p := range b.PlaybackPolicies {
		if err := checkPolicy(op, p); err != nil {
			return nil, err
		}
		n.Policies = append(n.Policies, store.Policy(p))
	}
	of, err := a.clipped(ctx, op, b)
	if err != nil {
		return nil, err
	}
	n.Of = of
	if n.Start, n.End, err = a.deps.Clips.Times(ctx, of, string(b.Start), string(b.End)); err != nil {
		return nil, err
	}
	if !n.Start.Before(n.End) {
		return nil, fault.New(fault.Invalid, op, "", "the clip would end before it begins", "What is asked for may not be recorded yet; make start come before end.")
	}
	s, err := a.deps.Store.CreateClip(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := a.deps.Clips.Make(ctx, Clip{ID: s.ID, Of: of, Title: s.Title, Start: s.Clip.Start, End: s.Clip.End}); err != nil {
		if err := a.deps.Store.DropAsset(context.WithoutCancel(ctx), s.ID); err != nil {
			a.deps.Log.Error("an asset stays of which nothing is recorded", "asset", s.ID, "error", err)
		}
		return nil, err
	}
	for _, p := range s.PlaybackIDs {
		a.deps.Auth.Forget(p.ID) // as in createStream
	}
	return &assetOutput{a.assetOf(ctx, s)}, nil
}

// clipped returns the asset that a clip is to be cut from.
func (a *API) clipped(ctx context.Context, op string, b clipBody) (string, error) {
	streamID := b.LiveStreamID
	given := 0
	for _, id := range []string{b.AssetID, b.LiveStreamID, b.PlaybackID} {
		if id != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return "", fault.New(fault.Invalid, op, "", "one of asset_id, live_stream_id and playback_id says what to cut from", "Send one of them.")
	case b.AssetID != "":
		return b.AssetID, nil
	case b.PlaybackID != "":
		p, err := a.deps.Store.Playback(ctx, b.PlaybackID)
		if err != nil {
			return "", err
		}
		if p.AssetID != "" {
			return p.AssetID, nil
		}
		streamID = p.StreamID
	default:
		if _, err := a.deps.Store.LiveStream(ctx, streamID); err != nil {
			return "", err
		}
	}
	assets, err := a.deps.Store.StreamAssets(ctx, streamID)
	if err != nil {
		return "", err
	}
	of := assets[streamID]
	switch {
	case of.Active != "":
		return of.Active, nil
	case len(of.Recent) > 0:
		return of.Recent[0], nil
	}
	return "", fault.New(fault.Conflict, op, streamID, "no broadcast of the live stream is recorded",
		"Set record of the live stream to true before it goes live.")
}
