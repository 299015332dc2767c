package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
)

func TestCreateWithNothing(t *testing.T) {
	h := newHarness(t)
	for _, body := range []string{"", "{}", `{"title":null}`} {
		l := h.create(body)
		pb := l["playback_ids"].([]any)
		if len(pb) != 1 {
			t.Fatalf("playback ids %v", pb)
		}
		id := pb[0].(map[string]any)["id"].(string)
		want := map[string]any{
			"id": l["id"], "created_at": l["created_at"], "updated_at": l["created_at"], "stream_key": l["stream_key"],
			"status": "idle", "title": "", "latency_mode": "low", "reconnect_window": 60.0, "record": false,
			"dvr": "off", "dvr_window": nil, "retention": map[string]any{"days": nil, "bytes": nil},
			"ladder": map[string]any{"profile": nil, "rungs": []any{}, "mode": nil}, "realtime_viewers": nil,
			"playback_ids": []any{map[string]any{"id": id, "policy": "public"}},
			"ingest": map[string]any{
				"rtmp_url": "rtmp://live.test:1935/live", "rtmps_url": nil, "srt_url": nil, "whip_url": nil, "golive_url": nil,
				"backup": map[string]any{"rtmp_url": "rtmp://live.test:1935/live", "rtmps_url": nil, "stream_key": str(t, l, "stream_key") + "?backup=1", "srt_url": nil, "whip_url": nil},
			},
			"playback": map[string]any{
				"hls_url": "http://live.test:8080/hls/" + id + "/index.m3u8", "watch_url": "http://live.test:8080/watch/" + id,
				"rtmp_url": "rtmp://live.test:1935/play/" + id, "srt_url": nil,
				"dash_url": nil, "whep_url": nil, "thumbnail_url": nil, "storyboard_url": nil,
			},
			"srt_passphrase": nil, "source": nil, "simulcast_targets": []any{},
			"multitrack":      map[string]any{"enabled": true, "max_video_tracks": nil, "max_bitrate": nil},
			"active_asset_id": nil, "recent_asset_ids": []any{}, "active_ingest": nil, "viewers": 0.0, "metadata": map[string]any{},
		}
		if d := cmp.Diff(want, l); d != "" {
			t.Errorf("body %q (-want +got):\n%s", body, d)
		}
		if !strings.HasPrefix(str(t, l, "id"), "ls_") || !strings.HasPrefix(str(t, l, "stream_key"), "sk_") {
			t.Errorf("ids %v", l)
		}
	}
}

func TestCreateWithEverything(t *testing.T) {
	h := newHarness(t)
	l := h.create(`{"title":"<b>Größe</b> 🎬","latency_mode":"ultra","reconnect_window":0,"record":true,"playback_policies":[],"metadata":{"user":"42"}}`)
	got := h.want(http.StatusOK, "GET", "/v1/live-streams/"+str(t, l, "id"), "")
	if d := cmp.Diff(l, got); d != "" {
		t.Errorf("read back:\n%s", d)
	}
	if got["title"] != "<b>Größe</b> 🎬" || got["reconnect_window"] != 0.0 || got["latency_mode"] != "ultra" || got["record"] != true ||
		got["playback"] != nil || len(got["playback_ids"].([]any)) != 0 || got["metadata"].(map[string]any)["user"] != "42" {
		t.Errorf("got %v", got)
	}
}

func TestCreateRefuses(t *testing.T) {
	h := newHarness(t)
	many := `{"metadata":{`
	for i := range 51 {
		many += fmt.Sprintf(`"k%d":"v",`, i)
	}
	many = strings.TrimSuffix(many, ",") + "}}"
	for _, tt := range []struct {
		body, at string
		status   int
		code     fault.Kind
	}{
		{`{"title":`, "", 400, fault.Invalid},
		{`{"title":"x"} trailing`, "", 400, fault.Invalid},
		{`[]`, "", 422, fault.Invalid},
		{`"x"`, "", 422, fault.Invalid},
		{`{"titel":"x"}`, "/titel", 422, fault.Invalid},
		{`{"title":1}`, "/title", 422, fault.Invalid},
		{`{"title":"` + strings.Repeat("x", 513) + `"}`, "/title", 422, fault.Invalid},
		{`{"title":"a\u0000b"}`, "", 422, fault.Invalid},
		{`{"title":"a\nb"}`, "", 422, fault.Invalid},
		{`{"latency_mode":"fast"}`, "/latency_mode", 422, fault.Invalid},
		{`{"reconnect_window":-1}`, "/reconnect_window", 422, fault.Invalid},
		{`{"reconnect_window":1801}`, "/reconnect_window", 422, fault.Invalid},
		{`{"reconnect_window":1.5}`, "/reconnect_window", 422, fault.Invalid},
		{`{"reconnect_window":1e400}`, "", 400, fault.Invalid},
		{`{"record":"yes"}`, "/record", 422, fault.Invalid},
		{`{"playback_policies":["drm"]}`, "/playback_policies/0", 422, fault.Invalid},
		{`{"playback_policies":["signed"]}`, "", 422, fault.Unsupported},
		{`{"playback_policies":[` + strings.Repeat(`"public",`, 32) + `"public"]}`, "/playback_policies", 422, fault.Invalid},
		{many, "/metadata", 422, fault.Invalid},
		{`{"metadata":{"k":1}}`, "/metadata/k", 422, fault.Invalid},
		{`{"metadata":{"":"v"}}`, "", 422, fault.Invalid},
		{`{"metadata":{"k":"a\u0000"}}`, "", 422, fault.Invalid},
		{`{"metadata":{"k":"` + strings.Repeat("v", 513) + `"}}`, "", 422, fault.Invalid},
		{`{"metadata":{"` + strings.Repeat("k", 65) + `":"v"}}`, "", 422, fault.Invalid},
		{strings.Repeat("[", maxBody-1), "", 400, fault.Invalid},
		{`{"title":"` + strings.Repeat("x", maxBody) + `"}`, "", 413, fault.TooLarge},
	} {
		p := h.want(tt.status, "POST", "/v1/live-streams", tt.body)
		if p["code"] != string(tt.code) {
			t.Errorf("%.60s: code %v, want %s", tt.body, p["code"], tt.code)
		}
		if b, _ := json.Marshal(p); len(b) > 8<<10 {
			t.Errorf("%.60s: a problem of %d bytes", tt.body, len(b))
		}
		if tt.at != "" {
			errs, _ := p["errors"].([]any)
			if !slices.ContainsFunc(errs, func(e any) bool { return e.(map[string]any)["pointer"] == tt.at }) {
				t.Errorf("%.60s: errors %v do not point at %s", tt.body, p["errors"], tt.at)
			}
		}
	}
	if p := h.want(415, "POST", "/v1/live-streams", "title=x", "Content-Type", "application/x-www-form-urlencoded"); !strings.Contains(str(t, p, "detail"), "application/json") {
		t.Errorf("415 does not say what to send: %v", p)
	}
	if page := h.want(200, "GET", "/v1/live-streams", ""); len(page["data"].([]any)) != 0 {
		t.Error("a refused request made a stream")
	}
}

func TestListPages(t *testing.T) {
	h := newHarness(t)
	want := map[string]bool{}
	for range 7 {
		want[str(t, h.create(""), "id")] = true
	}
	got := map[string]bool{}
	for path, pages := "/v1/live-streams?limit=3", 0; ; pages++ {
		p := h.want(200, "GET", path, "")
		for _, l := range p["data"].([]any) {
			got[l.(map[string]any)["id"].(string)] = true
		}
		next, _ := p["next_cursor"].(string)
		if next == "" {
			if v, ok := p["next_cursor"]; !ok || v != nil || pages != 2 {
				t.Errorf("the last page %d has next_cursor %v", pages, v)
			}
			break
		}
		path = "/v1/live-streams?limit=3&cursor=" + next
	}
	if !cmp.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	for _, q := range []string{"limit=0", "limit=101", "limit=x", "cursor=nonsense", "cursor=" + strings.Repeat("A", 300)} {
		if p := h.want(422, "GET", "/v1/live-streams?"+q, ""); p["code"] != "invalid" {
			t.Errorf("%s: %v", q, p)
		}
	}
}

func TestPatchMerges(t *testing.T) {
	h := newHarness(t)
	l := h.create(`{"title":"old","latency_mode":"standard","reconnect_window":10,"record":true,"metadata":{"a":"1","b":"2"}}`)
	path := "/v1/live-streams/" + str(t, l, "id")
	for _, tt := range []struct {
		patch string
		want  map[string]any
	}{
		{`{}`, map[string]any{"title": "old", "latency_mode": "standard", "reconnect_window": 10.0, "record": true, "metadata": map[string]any{"a": "1", "b": "2"}}},
		{`{"title":"new"}`, map[string]any{"title": "new", "record": true}},
		{`{"metadata":{"a":null,"c":"3"}}`, map[string]any{"title": "new", "metadata": map[string]any{"b": "2", "c": "3"}}},
		{`{"reconnect_window":0,"record":false}`, map[string]any{"reconnect_window": 0.0, "record": false, "latency_mode": "standard"}},
		{`{"title":null,"latency_mode":null,"reconnect_window":null,"record":null,"metadata":null}`,
			map[string]any{"title": "", "latency_mode": "low", "reconnect_window": 60.0, "record": false, "metadata": map[string]any{}}},
	} {
		got := h.want(200, "PATCH", path, tt.patch, "Content-Type", "application/merge-patch+json")
		for k, v := range tt.want {
			if !cmp.Equal(got[k], v) {
				t.Errorf("after %s %s is %v, want %v", tt.patch, k, got[k], v)
			}
		}
		if d := cmp.Diff(got, h.want(200, "GET", path, "")); d != "" {
			t.Errorf("after %s:\n%s", tt.patch, d)
		}
	}
	for _, bad := range []string{`{"latency_mode":"x"}`, `{"reconnect_window":1801}`, `{"title":"\u0007"}`, `{"stream_key":"sk_mine"}`, `{"status":"active"}`, `{"metadata":{"k":{}}}`} {
		h.want(422, "PATCH", path, bad)
	}
	h.want(400, "PATCH", path, "")
	// 30 and 30 pairs are each allowed, together they are not.
	pairs := func(prefix string) string {
		m := map[string]string{}
		for i := range 30 {
			m[fmt.Sprint(prefix, i)] = "v"
		}
		b, _ := json.Marshal(map[string]any{"metadata": m})
		return string(b)
	}
	h.want(200, "PATCH", path, pairs("a"))
	h.want(422, "PATCH", path, pairs("b"))
	if m := h.want(200, "GET", path, "")["metadata"].(map[string]any); len(m) != 30 {
		t.Errorf("a refused patch changed metadata to %d pairs", len(m))
	}
}

func TestStatusAndActiveIngest(t *testing.T) {
	h := newHarness(t)
	l := h.create("")
	id := str(t, l, "id")
	path := "/v1/live-streams/" + id
	for state, want := range map[hub.State]string{hub.Idle: "idle", hub.Live: "active", hub.Lingering: "reconnecting", hub.Ended: "idle"} {
		h.streams.goLive(id, state)
		if got := h.want(200, "GET", path, "")["status"]; got != want {
			t.Errorf("hub %v: status %v, want %s", state, got, want)
		}
	}
	h.streams.goLive(id, hub.Live)
	got := h.want(200, "GET", path, "")
	want := map[string]any{
		"protocol": "rtmp", "encoder": "obs", "peer": "192.0.2.9:5000", "since": "2026-11-05T12:00:00Z", "session_id": "se_1", "on_air": "main", "backup": nil, "link": nil,
		"bitrate": 2600000.0, "bytes": 99.0,
		"tracks": []any{
			map[string]any{"id": 1.0, "kind": "video", "codec": "H.264", "codec_string": "avc1.64001f", "width": 1280.0, "height": 720.0,
				"frame_rate": 30.0, "measured_frame_rate": 29.97, "bitrate": 2500000.0, "rendition": "", "keyframe_interval": 2.0, "sample_rate": 0.0, "channels": 0.0},
			map[string]any{"id": 2.0, "kind": "audio", "codec": "AAC", "codec_string": "mp4a.40.2", "width": 0.0, "height": 0.0,
				"frame_rate": 0.0, "rendition": "", "measured_frame_rate": 0.0, "bitrate": 0.0, "keyframe_interval": 0.0, "sample_rate": 48000.0, "channels": 2.0},
		},
	}
	if d := cmp.Diff(want, got["active_ingest"]); d != "" {
		t.Errorf("active_ingest (-want +got):\n%s", d)
	}
	if got["viewers"] != 7.0 {
		t.Errorf("viewers %v", got["viewers"])
	}
}

func TestActions(t *testing.T) {
	h := newHarness(t)
	l := h.create("")
	id := str(t, l, "id")
	path := "/v1/live-streams/" + id
	kick := func(step int, kind fault.Kind) {
		t.Helper()
		k := h.streams.kicks(id)
		if len(k) != step || !fault.Is(k[step-1], kind) {
			t.Errorf("kicks %v, want %d, the last a %s", k, step, kind)
		}
	}
	h.streams.goLive(id, hub.Live)
	if s := h.want(200, "POST", path+"/disable", "")["status"]; s != "disabled" {
		t.Errorf("disable: %v", s)
	}
	kick(1, fault.Disabled)
	_, err := h.auth.AdmitPublish(t.Context(), str(t, l, "stream_key"))
	if !fault.Is(err, fault.Disabled) {
		t.Errorf("publishing to a disabled stream: %v", err)
	}
	if p := h.want(409, "POST", path+"/complete", ""); p["code"] != "disabled" || !strings.Contains(str(t, p, "detail"), "Enable it first") {
		t.Errorf("complete while disabled: %v", p)
	}
	if s := h.want(200, "POST", path+"/disable", "")["status"]; s != "disabled" {
		t.Errorf("disable again: %v", s)
	}
	for range 2 {
		if s := h.want(200, "POST", path+"/enable", "")["status"]; s != "idle" {
			t.Errorf("enable: %v", s)
		}
	}
	h.streams.goLive(id, hub.Lingering)
	if s := h.want(200, "POST", path+"/complete", "")["status"]; s != "idle" {
		t.Errorf("complete: %v", s)
	}
	kick(3, fault.Forbidden)
	if _, err := h.auth.AdmitPublish(t.Context(), str(t, l, "stream_key")); err != nil {
		t.Errorf("publishing after complete: %v", err)
	}
	n := h.want(200, "POST", path+"/reset-stream-key", "")
	kick(4, fault.Unauthorized)
	if n["stream_key"] == l["stream_key"] {
		t.Error("the key did not change")
	}
	if _, err := h.auth.AdmitPublish(t.Context(), str(t, l, "stream_key")); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("the old key: %v", err)
	}
	h.want(204, "DELETE", path, "")
	kick(5, fault.NotFound)
	h.want(404, "GET", path, "")
	h.want(404, "DELETE", path, "")
	for _, a := range []string{"disable", "enable", "complete", "reset-stream-key", "playback-ids"} {
		h.want(404, "POST", path+"/"+a, "")
	}
	var got []string
	listener := h.bus.ListenAfter(0)
	for range 8 {
		e, _, err := listener.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := e.Event.(event.StreamRecord); ok && r.StreamID == id {
			got = append(got, r.Change)
		}
	}
	if want := []string{"created", "disabled", "disabled", "enabled", "enabled", "completed", "key_reset", "deleted"}; !cmp.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestPlaybackIDs(t *testing.T) {
	h := newHarness(t)
	l := h.create(`{"playback_policies":[],"title":"one"}`)
	path := "/v1/live-streams/" + str(t, l, "id")
	pb := str(t, h.want(201, "POST", path+"/playback-ids", `{"policy":"public"}`), "id")
	other := str(t, h.want(201, "POST", path+"/playback-ids", ""), "id")
	if p := h.want(422, "POST", path+"/playback-ids", `{"policy":"signed"}`); p["code"] != "unsupported" {
		t.Errorf("signed: %v", p)
	}
	h.want(422, "POST", path+"/playback-ids", `{"policy":"drm"}`)
	watch := func(id string, status int) map[string]any {
		t.Helper()
		w := h.do("GET", "/v1/playback/"+id, "", "Authorization", "", "Origin", "https://somewhere.test")
		if w.Header().Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%d without CORS", w.Code)
		}
		return decode(t, status, w)
	}
	want := map[string]any{"playback_id": pb, "type": "live_stream", "status": "idle", "title": "one", "latency_mode": "low", "hls_url": "/hls/" + pb + "/index.m3u8", "viewers": 0.0,
		"dash_url": nil, "whep_url": nil, "thumbnail_url": nil, "storyboard_url": nil, "realtime_viewers": 0.0,
		"created_at": nil, "duration": nil, "download_url": nil, "poster_url": nil, "dvr": nil, "replay": nil,
		"way": map[string]any{"protocol": "hls", "code": "webrtc_off", "reason": "The server does not play over WebRTC.", "check_after_seconds": nil},
	}
	if d := cmp.Diff(want, watch(pb, 200)); d != "" {
		t.Errorf("playback (-want +got):\n%s", d)
	}
	// What was remembered is forgotten with every change.
	h.want(200, "PATCH", path, `{"title":"two"}`)
	if watch(pb, 200)["title"] != "two" {
		t.Error("the old title is served")
	}
	h.want(200, "POST", path+"/disable", "")
	if watch(pb, 200)["status"] != "disabled" {
		t.Error("the old status is served")
	}
	h.want(200, "POST", path+"/enable", "")
	h.streams.goLive(str(t, l, "id"), hub.Live)
	if p := watch(pb, 200); p["status"] != "active" || p["viewers"] != 7.0 {
		t.Errorf("live: %v", p)
	}
	h.want(204, "DELETE", path+"/playback-ids/"+pb, "")
	watch(pb, 404)
	h.want(404, "DELETE", path+"/playback-ids/"+pb, "")
	watch(other, 200)
	h.want(204, "DELETE", path, "")
	watch(other, 404)
	watch("..%2f..%2fetc%2fpasswd", 404)
}
