package api

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/hub"
)

// fakeSteer notes what it was asked.
type fakeSteer struct {
	asked []Ask
	way   Way
}

func (f *fakeSteer) Choose(a Ask) Way {
	f.asked = append(f.asked, a)
	return f.way
}

func TestPlaybackTellsTheWay(t *testing.T) {
	steer := &fakeSteer{way: Way{Protocol: "webrtc", Code: "room", Reason: "12 of 100 watch over WebRTC.", CheckAfter: 20 * time.Second}}
	h := newHarness(t, func(d *Deps) {
		d.WHEP, d.DASH, d.Images, d.RealtimeViewers, d.Steer = true, true, true, 100, steer
	})
	l := h.create("")
	id, pb := str(t, l, "id"), l["playback_ids"].([]any)[0].(map[string]any)["id"].(string)
	get := func(query string) map[string]any {
		t.Helper()
		return h.want(200, "GET", "/v1/playback/"+pb+query, "", "Authorization", "")
	}
	got := get("")
	want := map[string]any{
		"playback_id": pb, "type": "live_stream", "status": "idle",
		"created_at": nil, "duration": nil, "download_url": nil, "poster_url": nil, "dvr": nil, "replay": nil,
		"title": "", "latency_mode": "low", "viewers": 0.0, "realtime_viewers": 100.0,
		"hls_url": "/hls/" + pb + "/index.m3u8", "whep_url": "/whep/" + pb, "dash_url": "/dash/" + pb + "/manifest.mpd",
		"thumbnail_url": "/images/" + pb + "/thumbnail.jpg", "storyboard_url": "/images/" + pb + "/storyboard.vtt",
		"way": map[string]any{"protocol": "webrtc", "code": "room", "reason": "12 of 100 watch over WebRTC.", "check_after_seconds": 20.0},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("playback (-want +got):\n%s", d)
	}
	schemas := h.want(200, "GET", "/v1/openapi.json", "")["components"].(map[string]any)["schemas"].(map[string]any)
	fits(t, schemas, "PlaybackOutputBody", got)
	fits(t, schemas, "Way", got["way"].(map[string]any))

	h.streams.goLive(id, hub.Live)
	h.want(200, "PATCH", "/v1/live-streams/"+id, `{"realtime_viewers":3}`)
	steer.way = Way{Protocol: "hls", Code: "no_webrtc", Reason: "The player has no WebRTC."}
	if got := get("?interactive=true&current=hls&webrtc=false&viewer=v1"); got["realtime_viewers"] != 3.0 || got["way"].(map[string]any)["check_after_seconds"] != nil {
		t.Errorf("playback %v", got)
	}
	steer.way.CheckAfter = time.Millisecond
	if got := get(""); got["way"].(map[string]any)["check_after_seconds"] != 5.0 {
		t.Errorf("a crowd is told to ask again at once: %v", got["way"])
	}
	asked := []Ask{
		{StreamID: id, Viewer: "192.0.2.1", WebRTC: true, Limit: 100},
		{StreamID: id, Viewer: "v1", Interactive: true, Current: "hls", Limit: 3, Live: true},
		{StreamID: id, Viewer: "192.0.2.1", WebRTC: true, Limit: 3, Live: true},
	}
	if d := cmp.Diff(asked, steer.asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	for _, query := range []string{"?current=rtmp", "?webrtc=perhaps", "?interactive=2", "?viewer=" + strings.Repeat("x", 65)} {
		h.want(422, "GET", "/v1/playback/"+pb+query, "")
	}
}

// TestPlaybackWithoutWebRTC answers HLS, whatever the stream is set to.
func TestPlaybackWithoutWebRTC(t *testing.T) {
	steer := &fakeSteer{way: Way{Protocol: "webrtc"}}
	h := newHarness(t, func(d *Deps) { d.RealtimeViewers, d.Steer = 100, steer })
	pb := h.create(`{"realtime_viewers":7}`)["playback_ids"].([]any)[0].(map[string]any)["id"].(string)
	got := h.want(200, "GET", "/v1/playback/"+pb, "")
	if w := got["way"].(map[string]any); w["protocol"] != "hls" || w["code"] != "webrtc_off" || got["realtime_viewers"] != 0.0 || got["whep_url"] != nil || len(steer.asked) > 0 {
		t.Errorf("playback %v", got)
	}
}
