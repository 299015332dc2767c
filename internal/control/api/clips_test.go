package api

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/control/store"
	"onair/internal/fault"
)

// fakeClips notes what it was asked.
type fakeClips struct {
	asked [][3]string
	made  []Clip
	at    time.Time
	err   error
}

func (f *fakeClips) Times(_ context.Context, id, start, end string) (from, to time.Time, err error) {
	f.asked = append(f.asked, [3]string{id, start, end})
	if start == "later" {
		return f.at, f.at, nil
	}
	if start == "never" {
		return from, to, fault.New(fault.Invalid, "find the time", "start", "it cannot be read", "Write 90 or 1:30.")
	}
	return f.at, f.at.Add(1500 * time.Millisecond), nil
}

func (f *fakeClips) Make(_ context.Context, c Clip) error {
	if f.err == nil {
		f.made = append(f.made, c)
	}
	return f.err
}

func TestClip(t *testing.T) {
	clips := &fakeClips{at: time.Date(2026, 11, 5, 12, 0, 30, 250_000_000, time.UTC)}
	h := newHarness(t, withAssets(&fakeAssets{}), func(d *Deps) { d.Clips = clips })
	l := h.create(`{"title":"show","metadata":{"k":"v"}}`)
	id := str(t, l, "id")
	a := h.record(id)
	path := "/v1/assets/" + a.ID
	h.want(200, "PATCH", path, `{"public_download":true}`)
	c := h.want(201, "POST", "/v1/clips", `{"asset_id":"`+a.ID+`","start":90.250,"end":"-1:30"}`)
	cid := str(t, c, "id")
	if d := cmp.Diff([][3]string{{a.ID, "90.250", "-1:30"}}, clips.asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]Clip{{ID: cid, Of: a.ID, Title: "show", Start: clips.at, End: clips.at.Add(1500 * time.Millisecond)}}, clips.made); d != "" {
		t.Errorf("made (-want +got):\n%s", d)
	}
	for k, want := range map[string]any{
		"clip_of": a.ID, "clip_start": "2026-11-05T12:00:30.25Z", "clip_end": "2026-11-05T12:00:31.75Z", "status": "recording",
		"live_stream_id": id, "title": "show", "public_download": true,
	} {
		if c[k] != want {
			t.Errorf("%s is %v, want %v", k, c[k], want)
		}
	}
	if !cmp.Equal(c["metadata"], any(map[string]any{"k": "v"})) || playbackIDOf(c) == a.PlaybackIDs[0].ID {
		t.Errorf("clip %v", c)
	}
	schemas := h.want(200, "GET", "/v1/openapi.json", "")["components"].(map[string]any)["schemas"].(map[string]any)
	fits(t, schemas, "Asset", c)

	// It is an asset as others, and none of the stream's broadcasts.
	if got := h.want(200, "GET", "/v1/live-streams/"+id, ""); got["active_asset_id"] != a.ID || len(got["recent_asset_ids"].([]any)) != 1 {
		t.Errorf("the stream has %v, active %v", got["recent_asset_ids"], got["active_asset_id"])
	}
	if n := len(h.want(200, "GET", "/v1/assets?clip_of="+a.ID, "")["data"].([]any)); n != 1 {
		t.Errorf("%d clips are listed", n)
	}
	h.keep(store.Asset{ID: cid}, store.Recorded{Status: store.AssetReady, Duration: 1500 * time.Millisecond})
	if got := h.play(playbackIDOf(c)); got["download_url"] != "/v1/assets/"+cid+"/download.mp4" {
		t.Errorf("the clip plays as %v", got)
	}
	h.keep(a, store.Recorded{Status: store.AssetReady})
	h.want(204, "DELETE", path, "")
	if got := h.want(200, "GET", "/v1/assets/"+cid, ""); got["status"] != "ready" || got["clip_of"] != a.ID {
		t.Errorf("its source deleted: %v", got)
	}
	h.want(409, "POST", "/v1/clips", `{"asset_id":"`+a.ID+`"}`)
}

// TestClipOfWhat names what is cut from in every way.
func TestClipOfWhat(t *testing.T) {
	clips := &fakeClips{at: time.Now()}
	h := newHarness(t, withAssets(&fakeAssets{}), func(d *Deps) { d.Clips = clips })
	l := h.create("")
	id, pb := str(t, l, "id"), playbackIDOf(l)
	post := func(status int, body string) map[string]any {
		t.Helper()
		return h.want(status, "POST", "/v1/clips", body)
	}
	post(409, `{"live_stream_id":"`+id+`"}`)
	post(409, `{"playback_id":"`+pb+`"}`)
	older := h.record(id)
	h.keep(older, store.Recorded{Status: store.AssetReady})
	if c := post(201, `{"live_stream_id":"`+id+`","title":"mine","metadata":{"a":"b"},"playback_policies":[],"public_download":false}`); c["clip_of"] != older.ID ||
		c["title"] != "mine" || !cmp.Equal(c["metadata"], any(map[string]any{"a": "b"})) || len(c["playback_ids"].([]any)) != 0 || c["public_download"] != false || c["playback"] != nil {
		t.Errorf("clip of the last broadcast: %v", c)
	}
	newer := h.record(id)
	if c := post(201, `{"playback_id":"`+pb+`","title":"","metadata":{}}`); c["clip_of"] != newer.ID || c["public_download"] != false || c["title"] != "" || len(c["metadata"].(map[string]any)) != 0 {
		t.Errorf("clip of what is on the air: %v", c)
	}
	if c := post(201, `{"playback_id":"`+older.PlaybackIDs[0].ID+`"}`); c["clip_of"] != older.ID {
		t.Errorf("clip of the playback id of an asset: %v", c)
	}
	for _, body := range []string{`{"asset_id":"as_none"}`, `{"live_stream_id":"ls_none"}`, `{"playback_id":"pb_none"}`} {
		post(404, body)
	}
	for _, tt := range []struct{ body, detail string }{
		{`{}`, "one of asset_id"},
		{`{"asset_id":"` + older.ID + `","playback_id":"` + pb + `"}`, "one of asset_id"},
		{`{"asset_id":"` + older.ID + `","start":"never"}`, "Write 90 or 1:30"},
		{`{"asset_id":"` + older.ID + `","start":"later"}`, "end before it begins"},
		{`{"asset_id":"` + older.ID + `","start":[1]}`, "start"},
		{`{"asset_id":"` + older.ID + `","start":"` + strings.Repeat("1", 65) + `"}`, "start"},
		{`{"asset_id":"` + older.ID + `","title":"a\u0007"}`, "control characters"},
		{`{"asset_id":"` + older.ID + `","metadata":{"":"x"}}`, "key"},
		{`{"asset_id":"` + older.ID + `","playback_policies":["signed"]}`, "signed"},
		{`{"asset_id":"` + older.ID + `","playback_policies":["all"]}`, "playback_policies"},
	} {
		if p := post(422, tt.body); !strings.Contains(str(t, p, "detail"), tt.detail) {
			t.Errorf("%s: %v", tt.body, p["detail"])
		}
	}
}

// TestClipThatIsNotMade leaves nothing behind.
func TestClipThatIsNotMade(t *testing.T) {
	clips := &fakeClips{at: time.Now(), err: fault.New(fault.TooMany, "make the clip", "", "4 are being made", "Wait until one is ready.")}
	h := newHarness(t, withAssets(&fakeAssets{}), func(d *Deps) { d.Clips = clips })
	a := h.record(str(t, h.create(""), "id"))
	body := `{"asset_id":"` + a.ID + `"}`
	h.want(429, "POST", "/v1/clips", body, "Idempotency-Key", "k")
	if n := len(h.want(200, "GET", "/v1/assets", "")["data"].([]any)); n != 1 {
		t.Errorf("%d assets are there", n)
	}
	clips.err = nil
	first := h.do("POST", "/v1/clips", body, "Idempotency-Key", "k")
	again := h.do("POST", "/v1/clips", body, "Idempotency-Key", "k")
	if first.Code != http.StatusCreated || first.Body.String() != again.Body.String() || len(clips.made) != 1 {
		t.Errorf("%d, and again %d; %d clips were made", first.Code, again.Code, len(clips.made))
	}
	none := newHarness(t, withAssets(&fakeAssets{}))
	if p := none.want(422, "POST", "/v1/clips", `{"asset_id":"as_x"}`); p["code"] != "unsupported" {
		t.Errorf("where no clips are made: %v", p)
	}
}

func TestStorage(t *testing.T) {
	rec := &fakeAssets{now: map[string]store.Recorded{}}
	h := newHarness(t, withAssets(rec))
	id, other := str(t, h.create(`{"retention":{"bytes":1500}}`), "id"), str(t, h.create(""), "id")
	path := "/v1/live-streams/" + id + "/storage"
	empty := map[string]any{
		"asset_count": 0.0, "size_bytes": 0.0, "oldest_at": nil, "retention": map[string]any{"days": nil, "bytes": 1500.0}, "expired": []any{}, "expired_bytes": 0.0,
	}
	if d := cmp.Diff(empty, h.want(200, "GET", path, "")); d != "" {
		t.Errorf("without assets (-want +got):\n%s", d)
	}
	var as []store.Asset
	for range 3 {
		a := h.record(id)
		h.keep(a, store.Recorded{Status: store.AssetReady, Bytes: 500})
		as = append(as, a)
	}
	active := h.record(id)
	rec.now[active.ID] = store.Recorded{Bytes: 700}
	h.keep(h.record(other), store.Recorded{Status: store.AssetReady, Bytes: 10_000})
	gone := func(i int, reason string) map[string]any {
		return map[string]any{"asset_id": as[i].ID, "created_at": as[i].CreatedAt.Format(time.RFC3339Nano), "size_bytes": 500.0, "reason": reason}
	}
	want := map[string]any{
		"asset_count": 4.0, "size_bytes": 2200.0, "oldest_at": as[0].CreatedAt.Format(time.RFC3339Nano),
		"retention": map[string]any{"days": nil, "bytes": 1500.0}, "expired": []any{gone(0, "bytes"), gone(1, "bytes")}, "expired_bytes": 1000.0,
	}
	got := h.want(200, "GET", path, "")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("with the stream's limits (-want +got):\n%s", d)
	}
	schemas := h.want(200, "GET", "/v1/openapi.json", "")["components"].(map[string]any)["schemas"].(map[string]any)
	fits(t, schemas, "StorageOutputBody", got)
	fits(t, schemas, "ExpiredAsset", gone(0, "bytes"))
	for query, n := range map[string]int{"?bytes=0": 0, "?bytes=700": 3, "?bytes=1": 3, "?bytes=2200": 0, "?days=1": 2, "?days=1&bytes=0": 0} {
		if got := h.want(200, "GET", path+query, ""); len(got["expired"].([]any)) != n {
			t.Errorf("%s: %v", query, got)
		}
	}
	for _, query := range []string{"?bytes=-1", "?bytes=x", "?days=36501", "?days=1.5"} {
		h.want(422, "GET", path+query, "")
	}
	h.want(404, "GET", "/v1/live-streams/ls_none/storage", "")
	if n := len(h.want(200, "GET", "/v1/assets", "")["data"].([]any)); n != 5 || len(rec.deleted) > 0 {
		t.Errorf("%d assets are left, deleted %v", n, rec.deleted)
	}

	h.want(204, "DELETE", "/v1/live-streams/"+other, "")
	all := h.want(200, "GET", "/v1/storage?limit=1", "")
	if all["asset_count"] != 5.0 || all["size_bytes"] != 11_500.0 {
		t.Errorf("all assets: %v", all)
	}
	first := all["data"].([]any)[0].(map[string]any)
	fits(t, schemas, "StreamStorage", first)
	rest := h.want(200, "GET", "/v1/storage?cursor="+str(t, all, "next_cursor"), "")
	if first["live_stream_id"] != other || rest["next_cursor"] != nil || len(rest["data"].([]any)) != 1 || rest["data"].([]any)[0].(map[string]any)["live_stream_id"] != id {
		t.Errorf("the first page has %v, the next %v", first, rest)
	}
}
