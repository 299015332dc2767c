package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onair/internal/control/store"
)

// optional is a field of a merge patch: absent, null, or a value.
type optional[T any] struct {
	set, null bool
	v         T
}

// UnmarshalJSON notes that the field is there.
func (o *optional[T]) UnmarshalJSON(b []byte) error {
	o.set = true
	if bytes.Equal(b, []byte("null")) {
		o.null = true
		return nil
	}
	return json.Unmarshal(b, &o.v)
}

// Schema describes the value or null. It holds an object's fields itself: nothing may
// stand beside a reference, and what is one of several is checked by huma loosely.
func (o optional[T]) Schema(r huma.Registry) *huma.Schema {
	s := *r.Schema(reflect.TypeFor[T](), false, "")
	s.Nullable = true
	return &s
}

// to sets dst from the patch: not at all, to what null stands for, or to the value.
func (o optional[T]) to(dst *T, null T) {
	switch {
	case !o.set:
	case o.null:
		*dst = null
	default:
		*dst = o.v
	}
}

type patchBody struct {
	Title           optional[string]             `json:"title" required:"false" maxLength:"512" doc:"Null removes it."`
	LatencyMode     optional[string]             `json:"latency_mode" required:"false" enum:"standard,low,ultra" doc:"Null: low. Applies to the next broadcast."`
	ReconnectWindow optional[int]                `json:"reconnect_window" required:"false" minimum:"0" maximum:"1800" doc:"Seconds; null: 60. Applies to the next broadcast."`
	Record          optional[bool]               `json:"record" required:"false" doc:"Null: false. Applies to the next broadcast, as dvr."`
	DVR             optional[string]             `json:"dvr" required:"false" enum:"off,whole,window" doc:"Null: off."`
	DVRWindow       optional[int]                `json:"dvr_window" required:"false" minimum:"60" maximum:"2592000" doc:"Seconds; with dvr window only."`
	Retention       optional[retentionPatch]     `json:"retention" required:"false" doc:"Merged; null: everything is kept."`
	SRTPassphrase   optional[string]             `json:"srt_passphrase" required:"false" maxLength:"79" doc:"10 to 79 letters, digits and - . _ ~; null or empty: not encrypted. Applies to connections that begin."`
	Source          optional[sourcePatch]        `json:"source" required:"false" doc:"Merged; null removes it."`
	Ladder          optional[ladderPatch]        `json:"ladder" required:"false" doc:"Merged; null: everything as the server is set."`
	RealtimeViewers optional[int]                `json:"realtime_viewers" required:"false" minimum:"0" maximum:"100000" doc:"0: nobody over WebRTC; null: the server's default."`
	Multitrack      optional[multitrackPatch]    `json:"multitrack" required:"false" doc:"Merged; null: on, with the server's limits."`
	Metadata        optional[map[string]*string] `json:"metadata" required:"false" doc:"Merged key by key: null removes a key, null for all of it removes all."`
}

type patchInput struct {
	ID   string `path:"id" doc:"Id of the live stream." example:"ls_bxk3w2q7zjv4m5r6t7y2a3c4d5"`
	Body patchBody
}

// apply merges the patch into a stream.
func (p *patchBody) apply(l *store.LiveStream) {
	p.Title.to(&l.Title, "")
	p.LatencyMode.to(&l.LatencyMode, defaultLatency)
	p.Record.to(&l.Record, false)
	p.SRTPassphrase.to(&l.SRTPassphrase, "")
	switch {
	case p.Source.null:
		l.Source = store.Source{}
	case p.Source.set:
		p.Source.v.apply(&l.Source)
	}
	switch {
	case p.Multitrack.null:
		l.Multitrack = store.Multitrack{}
	case p.Multitrack.set:
		p.Multitrack.v.apply(&l.Multitrack)
	}
	switch {
	case p.Ladder.null:
		l.Ladder = store.Ladder{}
	case p.Ladder.set:
		p.Ladder.v.apply(&l.Ladder)
	}
	switch {
	case p.Retention.null:
		l.Retention = store.Retention{}
	case p.Retention.set:
		p.Retention.v.apply(&l.Retention)
	}
	switch {
	case p.RealtimeViewers.null:
		l.RealtimeViewers = nil
	case p.RealtimeViewers.set:
		l.RealtimeViewers = &p.RealtimeViewers.v
	}
	window := int(l.ReconnectWindow / time.Second)
	p.ReconnectWindow.to(&window, defaultWindow)
	l.ReconnectWindow = time.Duration(window) * time.Second
	l.Metadata = mergeMetadata(l.Metadata, p.Metadata)
}

// mergeMetadata merges a patch into metadata, which stays as it is.
func mergeMetadata(metadata map[string]string, patch optional[map[string]*string]) map[string]string {
	switch {
	case !patch.set:
		return metadata
	case patch.null:
		return map[string]string{}
	}
	merged := maps.Clone(metadata)
	for k, v := range patch.v {
		if v == nil {
			delete(merged, k)
		} else {
			merged[k] = *v
		}
	}
	return merged
}
