package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onair/internal/control/retention"
	"onair/internal/fault"
)

// given is a parameter of a query, and whether it was sent.
type given[T any] struct {
	v   T
	set bool
}

// Schema describes the parameter.
func (given[T]) Schema(r huma.Registry) *huma.Schema {
	return huma.SchemaFromType(r, reflect.TypeFor[T]())
}

// Receiver tells huma where the value goes.
func (g *given[T]) Receiver() reflect.Value { return reflect.ValueOf(&g.v).Elem() }

// OnParamSet notes that there is one.
func (g *given[T]) OnParamSet(set bool, _ any) { g.set = set }

type (
	storageInput struct {
		ID    string       `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
		Days  given[int]   `query:"days" minimum:"0" maximum:"36500" doc:"Tells what would go with this limit in place of the stream's own; 0: no limit."`
		Bytes given[int64] `query:"bytes" minimum:"0" maximum:"1125899906842624" doc:"Likewise."`
	}
	storageOutput struct {
		Body struct {
			AssetCount   int               `json:"asset_count" doc:"Assets of the stream, clips among them, deleted ones not."`
			SizeBytes    int64             `json:"size_bytes" doc:"What they take, with what is being recorded so far."`
			OldestAt     orNull[time.Time] `json:"oldest_at" doc:"When the oldest one began; null without any."`
			Retention    retentionLimits   `json:"retention" doc:"The limits that the rest was told with: the stream's, or those of the query."`
			Expired      []expiredAsset    `json:"expired" nullable:"false" doc:"What would be removed now, oldest first, of the oldest 1000."`
			ExpiredBytes int64             `json:"expired_bytes" doc:"What these take. What a clip shares with an asset is freed with the last of them."`
		}
	}
	expiredAsset struct {
		AssetID   string    `json:"asset_id"`
		CreatedAt time.Time `json:"created_at"`
		SizeBytes int64     `json:"size_bytes"`
		Reason    string    `json:"reason" enum:"days,bytes" doc:"The limit that it is over."`
	}
	usageInput struct {
		Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"25" doc:"Most live streams on the page."`
		Cursor string `query:"cursor" maxLength:"200" doc:"next_cursor of the page before; nothing for the first page."`
	}
	usageOutput struct {
		Body struct {
			AssetCount int             `json:"asset_count" doc:"All assets, deleted ones not."`
			SizeBytes  int64           `json:"size_bytes" doc:"What they take. One that is being recorded is counted when it ends."`
			Data       []streamStorage `json:"data" nullable:"false"`
			NextCursor orNull[string]  `json:"next_cursor" doc:"Asks for the next page; null on the last one."`
		}
	}
	streamStorage struct {
		LiveStreamID string    `json:"live_stream_id" doc:"May be deleted since."`
		AssetCount   int       `json:"asset_count"`
		SizeBytes    int64     `json:"size_bytes"`
		OldestAt     time.Time `json:"oldest_at"`
	}
)

func (a *API) storageRoutes(op describeOp) {
	register(a, op("get-live-stream-storage", http.MethodGet, "/v1/live-streams/{id}/storage", tagAssets, "Read what a live stream's assets take",
		"And which of them its retention would remove now; with days or bytes, which others would. Nothing is removed by asking.", http.StatusOK),
		[]fault.Kind{fault.NotFound}, a.getStorage)
	register(a, op("get-storage", http.MethodGet, "/v1/storage", tagAssets, "Read what all assets take",
		"In all, and for each live stream, the largest first.", http.StatusOK), nil, a.getUsage)
}

func (a *API) getStorage(ctx context.Context, in *storageInput) (*storageOutput, error) {
	l, err := a.deps.Store.LiveStream(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	limits := l.Retention
	if in.Days.set {
		limits.Days = in.Days.v
	}
	if in.Bytes.set {
		limits.Bytes = in.Bytes.v
	}
	usage, over, err := a.retention.Look(ctx, l.ID, limits, time.Now())
	if err != nil {
		return nil, err
	}
	out := new(storageOutput)
	b := &out.Body
	b.AssetCount, b.SizeBytes, b.OldestAt, b.Retention = usage.Count, usage.Bytes, unlessZero(usage.Oldest), retentionOf(limits)
	b.Expired = make([]expiredAsset, len(over))
	for i, x := range over {
		b.Expired[i] = expiredAsset{x.ID, x.CreatedAt, x.Bytes, x.Reason}
		b.ExpiredBytes += x.Bytes
	}
	return out, nil
}

func (a *API) getUsage(ctx context.Context, in *usageInput) (*usageOutput, error) {
	all, err := a.deps.Store.Usage(ctx)
	if err != nil {
		return nil, err
	}
	page, next, err := a.deps.Store.Usages(ctx, in.Limit, in.Cursor)
	if err != nil {
		return nil, err
	}
	out := new(usageOutput)
	b := &out.Body
	b.AssetCount, b.SizeBytes, b.NextCursor = all.Count, all.Bytes, unlessZero(next)
	b.Data = make([]streamStorage, len(page))
	for i, u := range page {
		b.Data[i] = streamStorage{u.LiveStreamID, u.Count, u.Bytes, u.Oldest}
	}
	return out, nil
}

// removes returns what looks at assets and removes them.
func removes(d Deps) retention.Assets {
	return retention.Assets{Store: d.Store, Recordings: d.Assets, Forget: d.Auth.Forget, Bus: d.Bus}
}
