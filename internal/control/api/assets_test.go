package api

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/control/auth"
	"onair/internal/control/store"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
)

// fakeAssets plays the recordings.
type fakeAssets struct {
	now     map[string]store.Recorded
	deleted []string
	err     error
}

func (f *fakeAssets) Snapshot(id string) (store.Recorded, bool) {
	r, ok := f.now[id]
	return r, ok
}

func (f *fakeAssets) Delete(_ context.Context, id string) error {
	f.deleted = append(f.deleted, id)
	return f.err
}

func withAssets(f *fakeAssets) func(*Deps) {
	return func(d *Deps) { d.Assets, d.Images = f, true }
}

// record begins an asset of a stream.
func (h *harness) record(streamID string) store.Asset {
	h.t.Helper()
	a, err := h.store.CreateAsset(h.t.Context(), streamID)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (h *harness) keep(a store.Asset, r store.Recorded) {
	h.t.Helper()
	if _, err := h.store.KeepRecorded(h.t.Context(), a.ID, r); err != nil {
		h.t.Fatal(err)
	}
}

func TestAssetWhileItIsRecordedAndAfter(t *testing.T) {
	rec := &fakeAssets{now: map[string]store.Recorded{}}
	h := newHarness(t, withAssets(rec))
	id := str(t, h.create(`{"title":"t","metadata":{"k":"v"}}`), "id")
	a := h.record(id)
	pb, path := a.PlaybackIDs[0].ID, "/v1/assets/"+a.ID
	at := a.CreatedAt.Format(time.RFC3339Nano)
	want := map[string]any{
		"id": a.ID, "created_at": at, "updated_at": at, "status": "recording", "live_stream_id": id, "title": "t",
		"duration": 0.0, "size_bytes": 0.0, "tracks": []any{}, "gaps": []any{}, "gap_count": 0.0,
		"playback_ids": []any{map[string]any{"id": pb, "policy": "public"}},
		"playback": map[string]any{
			"hls_url": "http://live.test:8080/hls/" + pb + "/index.m3u8", "dash_url": "http://live.test:8080/dash/" + pb + "/manifest.mpd",
			"watch_url": "http://live.test:8080/watch/" + pb, "poster_url": "http://live.test:8080/images/" + pb + "/poster.jpg",
			"thumbnail_url": "http://live.test:8080/images/" + pb + "/thumbnail.jpg", "storyboard_url": "http://live.test:8080/images/" + pb + "/storyboard.vtt",
		},
		"clip_of": nil, "clip_start": nil, "clip_end": nil, "public_download": false, "download_url": nil, "error": nil, "metadata": map[string]any{"k": "v"},
	}
	same := func(what string) {
		t.Helper()
		got := h.want(200, "GET", path, "")
		want["updated_at"] = got["updated_at"]
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	same("as it begins")
	r := store.Recorded{
		Status: store.AssetReady, Duration: 90500 * time.Millisecond, Bytes: 12345,
		Tracks: []store.AssetTrack{{Rendition: "v0", Kind: "video", Codec: "H.264", CodecString: "avc1.64001f", Width: 1280, Height: 720, FrameRate: 29.97002}},
		Gaps:   []store.AssetGap{{Start: time.Date(2026, 11, 5, 13, 0, 0, 0, time.FixedZone("", 3600)), Duration: 1250 * time.Millisecond}},
	}
	rec.now[a.ID] = r
	want["duration"], want["size_bytes"], want["gap_count"] = 90.5, 12345.0, 1.0
	want["tracks"] = []any{map[string]any{
		"rendition": "v0", "kind": "video", "codec": "H.264", "codec_string": "avc1.64001f", "width": 1280.0, "height": 720.0,
		"frame_rate": 29.97, "sample_rate": nil, "channels": nil,
	}}
	want["gaps"] = []any{map[string]any{"start": "2026-11-05T12:00:00Z", "duration": 1.25}}
	same("while it is recorded, with what is known of it now")

	h.keep(a, r)
	rec.now[a.ID] = store.Recorded{Duration: time.Hour} // what is over is told by the database
	want["status"], want["download_url"] = "ready", "http://live.test:8080/v1/assets/"+a.ID+"/download.mp4"
	same("ready")
	got := h.want(200, "PATCH", path, `{"title":"new","metadata":{"k":null,"x":"y"}}`)
	want["title"], want["metadata"] = "new", map[string]any{"x": "y"}
	if got["title"] != "new" || got["duration"] != 90.5 {
		t.Errorf("patched %v", got)
	}
	same("patched")
	h.want(204, "DELETE", "/v1/live-streams/"+id, "")
	same("its stream deleted")
	schemas := h.want(200, "GET", "/v1/openapi.json", "")["components"].(map[string]any)["schemas"].(map[string]any)
	fits(t, schemas, "Asset", got)
	fits(t, schemas, "AssetTrack", got["tracks"].([]any)[0].(map[string]any))
	fits(t, schemas, "AssetGap", got["gaps"].([]any)[0].(map[string]any))
	fits(t, schemas, "AssetPlayback", got["playback"].(map[string]any))
	if len(rec.deleted) != 0 {
		t.Errorf("deleted %v", rec.deleted)
	}
}

func TestAssetIsDeleted(t *testing.T) {
	rec := &fakeAssets{}
	h := newHarness(t, withAssets(rec))
	id := str(t, h.create(""), "id")
	a := h.record(id)
	pb, path := a.PlaybackIDs[0].ID, "/v1/assets/"+a.ID
	if p := h.want(409, "DELETE", path, ""); p["code"] != "conflict" || !strings.Contains(str(t, p, "detail"), "being recorded. End the broadcast first") {
		t.Errorf("while it is recorded: %v", p)
	}
	if w, err := h.auth.Watch(t.Context(), pb); err != nil || w != (auth.Watched{AssetID: a.ID}) || len(rec.deleted) > 0 {
		t.Errorf("refused and yet %+v, %v, deleted %v", w, err, rec.deleted)
	}
	h.keep(a, store.Recorded{Status: store.AssetErrored, Error: "the disk was full", Duration: time.Second})
	if got := h.want(200, "GET", path, ""); got["error"] != "the disk was full" || got["status"] != "errored" || got["download_url"] == nil {
		t.Errorf("errored: %v", got)
	}
	rec.err = fault.New(fault.Unavailable, "delete the recording", "", "the disk is gone", "")
	h.want(503, "DELETE", path, "")
	if _, err := h.auth.Watch(t.Context(), pb); !fault.Is(err, fault.NotFound) {
		t.Errorf("a deleted asset can be watched: %v", err)
	}
	rec.err = nil
	for range 2 { // what was left is removed, and again is no error
		h.want(204, "DELETE", path, "")
	}
	if d := cmp.Diff([]string{a.ID, a.ID, a.ID}, rec.deleted); d != "" {
		t.Errorf("deleted (-want +got):\n%s", d)
	}
	got := h.want(200, "GET", path, "")
	if got["status"] != "deleted" || got["playback"] != nil || got["download_url"] != nil || len(got["playback_ids"].([]any)) != 0 {
		t.Errorf("deleted: %v", got)
	}
	h.want(409, "PATCH", path, `{"title":"x"}`)
	n := 0
	for _, e := range past(h) {
		if e.Event == (event.AssetDeleted{StreamID: id, AssetID: a.ID, Reason: "requested"}) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d events tell that it was deleted", n)
	}
}

func TestAssetsAreListed(t *testing.T) {
	h := newHarness(t, withAssets(&fakeAssets{}))
	l, other := str(t, h.create(""), "id"), str(t, h.create(""), "id")
	ids := map[string]bool{}
	for range 5 {
		a := h.record(l)
		h.keep(a, store.Recorded{Status: store.AssetReady})
		ids[a.ID] = true
	}
	active := h.record(l)
	gone := h.record(other)
	h.keep(gone, store.Recorded{Status: store.AssetReady})
	h.want(204, "DELETE", "/v1/assets/"+gone.ID, "")
	list := func(query string) (got []string) {
		t.Helper()
		for cursor := ""; ; {
			page := h.want(200, "GET", "/v1/assets?limit=2"+query+"&cursor="+cursor, "")
			for _, a := range page["data"].([]any) {
				got = append(got, a.(map[string]any)["id"].(string))
			}
			if page["next_cursor"] == nil {
				return got
			}
			cursor = str(t, page, "next_cursor")
		}
	}
	for query, want := range map[string]int{
		"": 6, "&live_stream_id=" + l: 6, "&live_stream_id=" + other: 0, "&status=ready": 5, "&status=recording&live_stream_id=" + l: 1,
		"&status=deleted": 1, "&status=errored": 0, "&live_stream_id=%00": 0,
	} {
		if got := list(query); len(got) != want {
			t.Errorf("%s lists %v, want %d", query, got, want)
		}
	}
	for _, query := range []string{"?status=idle", "?limit=0", "?limit=101", "?cursor=x", "?live_stream_id=" + strings.Repeat("x", 65)} {
		h.want(422, "GET", "/v1/assets"+query, "")
	}
	for _, body := range []string{`{"title":"a\u0007"}`, `{"status":"ready"}`, `{"title":"` + strings.Repeat("a", 513) + `"}`, `{"metadata":{"":"x"}}`} {
		h.want(422, "PATCH", "/v1/assets/"+active.ID, body)
	}
	for _, m := range []string{"GET", "DELETE"} {
		h.want(404, m, "/v1/assets/as_none", "")
	}
	h.want(404, "PATCH", "/v1/assets/as_none", "{}")

	// Streams name theirs, each in the list as it does alone.
	if got := h.want(200, "GET", "/v1/live-streams/"+l, ""); got["active_asset_id"] != active.ID || len(got["recent_asset_ids"].([]any)) != 6 || got["recent_asset_ids"].([]any)[0] != active.ID {
		t.Errorf("the stream has the assets %v, active %v", got["recent_asset_ids"], got["active_asset_id"])
	}
	for _, s := range h.want(200, "GET", "/v1/live-streams", "")["data"].([]any) {
		s := s.(map[string]any)
		if d := cmp.Diff(h.want(200, "GET", "/v1/live-streams/"+str(t, s, "id"), ""), s); d != "" {
			t.Errorf("listed otherwise (-alone +listed):\n%s", d)
		}
	}
	if got := h.want(200, "GET", "/v1/live-streams/"+other, ""); got["active_asset_id"] != nil || len(got["recent_asset_ids"].([]any)) != 0 {
		t.Errorf("a stream without assets has %v, active %v", got["recent_asset_ids"], got["active_asset_id"])
	}
}

// TestAssetsWithoutRecording lists what there was, plays none of it, and deletes nothing
// of which the files would stay.
func TestAssetsWithoutRecording(t *testing.T) {
	h := newHarness(t)
	id := str(t, h.create(""), "id")
	a := h.record(id)
	h.keep(a, store.Recorded{Status: store.AssetReady, Duration: time.Minute})
	got := h.want(200, "GET", "/v1/assets/"+a.ID, "")
	if got["playback"] != nil || got["download_url"] != nil || got["duration"] != 60.0 {
		t.Errorf("asset %v", got)
	}
	if n := len(h.want(200, "GET", "/v1/assets", "")["data"].([]any)); n != 1 {
		t.Errorf("%d assets are listed", n)
	}
	h.want(200, "PATCH", "/v1/assets/"+a.ID, `{"title":"x"}`)
	if p := h.want(409, "DELETE", "/v1/assets/"+a.ID, ""); p["code"] != "disabled" || !strings.Contains(str(t, p, "detail"), "recording is off") {
		t.Errorf("delete: %v", p)
	}
	if got := h.want(200, "GET", "/v1/assets/"+a.ID, ""); got["status"] != "ready" {
		t.Errorf("after a refused delete: %v", got)
	}
}

// TestAssetsArePlayedAsSuch keeps the playback ids of assets from being those of streams.
func TestAssetsArePlayedAsSuch(t *testing.T) {
	h := newHarness(t, withAssets(&fakeAssets{err: errors.New("not asked")}))
	l := h.create("")
	id := str(t, l, "id")
	h.streams.goLive(id, hub.Live)
	a := h.record(id)
	h.want(404, "DELETE", "/v1/live-streams/"+id+"/playback-ids/"+a.PlaybackIDs[0].ID, "")
	h.want(200, "GET", "/v1/playback/"+playbackIDOf(l), "")
	if got := h.want(200, "GET", "/v1/live-streams/"+id, ""); len(got["playback_ids"].([]any)) != 1 {
		t.Errorf("the stream has %v", got["playback_ids"])
	}
}
