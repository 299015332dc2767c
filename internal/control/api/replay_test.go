package api

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/control/store"
	"onair/internal/hub"
)

func playbackIDOf(resource map[string]any) string {
	return resource["playback_ids"].([]any)[0].(map[string]any)["id"].(string)
}

func (h *harness) play(id string) map[string]any {
	h.t.Helper()
	return h.want(200, "GET", "/v1/playback/"+id, "", "Authorization", "")
}

func TestPlaybackOfAnAsset(t *testing.T) {
	rec := &fakeAssets{now: map[string]store.Recorded{}}
	h := newHarness(t, withAssets(rec))
	id := str(t, h.create(`{"title":"show"}`), "id")
	a := h.record(id)
	pb := a.PlaybackIDs[0].ID
	rec.now[a.ID] = store.Recorded{Duration: 1234 * time.Millisecond}
	want := map[string]any{
		"playback_id": pb, "type": "asset", "status": "recording", "title": "show", "latency_mode": nil, "viewers": 0.0, "realtime_viewers": 0.0,
		"hls_url": "/hls/" + pb + "/index.m3u8", "whep_url": nil, "dash_url": "/dash/" + pb + "/manifest.mpd",
		"thumbnail_url": "/images/" + pb + "/thumbnail.jpg", "storyboard_url": "/images/" + pb + "/storyboard.vtt", "poster_url": "/images/" + pb + "/poster.jpg",
		"download_url": nil, "created_at": a.CreatedAt.Format(time.RFC3339Nano), "duration": 1.234, "dvr": nil, "replay": nil,
		"way": map[string]any{"protocol": "hls", "code": "asset", "reason": "It is a recording.", "check_after_seconds": nil},
	}
	same := func(what string) {
		t.Helper()
		if d := cmp.Diff(want, h.play(pb)); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	same("while it is recorded")
	h.keep(a, store.Recorded{Status: store.AssetReady, Duration: time.Minute})
	want["status"], want["duration"] = "ready", 60.0
	same("ready")
	h.want(200, "PATCH", "/v1/assets/"+a.ID, `{"public_download":true,"title":"renamed"}`)
	want["title"], want["download_url"] = "renamed", "/v1/assets/"+a.ID+"/download.mp4"
	same("with a file for everybody")
	schemas := h.want(200, "GET", "/v1/openapi.json", "")["components"].(map[string]any)["schemas"].(map[string]any)
	fits(t, schemas, "PlaybackOutputBody", want)
	h.want(200, "PATCH", "/v1/assets/"+a.ID, `{"public_download":null}`)
	want["download_url"] = nil
	same("and taken back")
	h.want(204, "DELETE", "/v1/assets/"+a.ID, "")
	h.want(404, "GET", "/v1/playback/"+pb, "")
}

func TestPlaybackOfAnAssetWithoutRecording(t *testing.T) {
	h := newHarness(t)
	a := h.record(str(t, h.create(""), "id"))
	if p := h.want(409, "GET", "/v1/playback/"+a.PlaybackIDs[0].ID, ""); p["code"] != "disabled" {
		t.Errorf("an asset of a server that records nothing: %v", p)
	}
}

// TestPlaybackLeadsToTheReplay follows a live stream over a broadcast.
func TestPlaybackLeadsToTheReplay(t *testing.T) {
	rec := &fakeAssets{now: map[string]store.Recorded{}}
	past := map[string]string{}
	window := time.Duration(-1)
	h := newHarness(t, withAssets(rec), func(d *Deps) {
		d.Past = func(id string) (string, time.Duration, bool) {
			a, ok := past[id]
			return a, window, ok
		}
	})
	silent := playbackIDOf(h.create(""))
	if got := h.play(silent); got["replay"] != nil || got["dvr"] != nil {
		t.Errorf("before anything: replay %v, dvr %v", got["replay"], got["dvr"])
	}
	l := h.create(`{"record":true,"dvr":"whole"}`)
	id, pb := str(t, l, "id"), playbackIDOf(l)
	h.streams.goLive(id, hub.Live)
	a := h.record(id)
	past[id], rec.now[a.ID] = a.ID, store.Recorded{Duration: 100 * time.Second}
	if got := h.play(pb); got["dvr"] != 100.0 || got["replay"] != nil {
		t.Errorf("on the air: replay %v, dvr %v", got["replay"], got["dvr"])
	}
	window = 30 * time.Second
	h.streams.goLive(id, hub.Lingering)
	if got := h.play(pb); got["dvr"] != 30.0 || got["status"] != "reconnecting" {
		t.Errorf("with a window: %v", got)
	}
	h.streams.Kick(id, nil)
	want := map[string]any{
		"playback_id": a.PlaybackIDs[0].ID, "status": "recording", "created_at": a.CreatedAt.Format(time.RFC3339Nano), "duration": 100.0,
		"hls_url": "/hls/" + a.PlaybackIDs[0].ID + "/index.m3u8",
	}
	got := h.play(pb)
	if d := cmp.Diff(want, got["replay"]); d != "" || got["dvr"] != nil {
		t.Errorf("dvr %v, replay as the broadcast ended (-want +got):\n%s", got["dvr"], d)
	}
	schemas := h.want(200, "GET", "/v1/openapi.json", "")["components"].(map[string]any)["schemas"].(map[string]any)
	fits(t, schemas, "ReplayOf", want)
	h.want(200, "POST", "/v1/live-streams/"+id+"/disable", "")
	if got := h.play(pb); got["replay"] != nil {
		t.Errorf("a disabled stream leads to %v", got["replay"])
	}
}

func TestDVRAndRetentionOfStreams(t *testing.T) {
	h := newHarness(t)
	for _, tt := range []struct{ body, detail string }{
		{`{"dvr":"whole"}`, "record is false. Set record to true"},
		{`{"record":true,"dvr":"window"}`, "dvr_window does not say how long"},
		{`{"record":true,"dvr":"whole","dvr_window":60}`, "dvr is whole. Set dvr to window"},
		{`{"record":true,"dvr_window":60}`, "dvr is off. Set dvr to window"},
		{`{"record":true,"dvr":"window","dvr_window":59}`, "dvr_window"},
		{`{"record":true,"dvr":"window","dvr_window":2592001}`, "dvr_window"},
		{`{"record":true,"dvr":"half"}`, "dvr"},
		{`{"retention":{"days":-1}}`, "days"},
		{`{"retention":{"bytes":1125899906842625}}`, "bytes"},
		{`{"retention":{"weeks":1}}`, "weeks"},
	} {
		if p := h.want(422, "POST", "/v1/live-streams", tt.body); !strings.Contains(str(t, p, "detail"), tt.detail) {
			t.Errorf("%s: %v", tt.body, p["detail"])
		}
	}
	path := "/v1/live-streams/" + str(t, h.create(`{"record":true,"dvr":"window","dvr_window":3600,"retention":{"days":30}}`), "id")
	none := map[string]any{"days": nil, "bytes": nil}
	for _, tt := range []struct {
		body        string
		status      int
		dvr, window any
		retention   map[string]any
	}{
		{`{}`, 200, "window", 3600.0, map[string]any{"days": 30.0, "bytes": nil}},
		{`{"record":false}`, 422, "window", 3600.0, map[string]any{"days": 30.0, "bytes": nil}},
		{`{"dvr_window":120,"retention":{"bytes":1000}}`, 200, "window", 120.0, map[string]any{"days": 30.0, "bytes": 1000.0}},
		{`{"dvr":"window","retention":{"days":null}}`, 200, "window", 120.0, map[string]any{"days": nil, "bytes": 1000.0}},
		{`{"dvr":"whole","retention":null}`, 200, "whole", nil, none},
		{`{"dvr":"window"}`, 422, "whole", nil, none},
		{`{"dvr_window":60}`, 422, "whole", nil, none},
		{`{"dvr":"whole","dvr_window":null}`, 200, "whole", nil, none},
		{`{"dvr":"half"}`, 422, "whole", nil, none},
		{`{"retention":{"days":36501}}`, 422, "whole", nil, none},
		{`{"record":false,"dvr":null}`, 200, "off", nil, none},
	} {
		h.want(tt.status, "PATCH", path, tt.body)
		got := h.want(200, "GET", path, "")
		if got["dvr"] != tt.dvr || got["dvr_window"] != tt.window || !cmp.Equal(got["retention"], any(tt.retention)) {
			t.Errorf("%s: dvr %v %v, retention %v", tt.body, got["dvr"], got["dvr_window"], got["retention"])
		}
	}
}
