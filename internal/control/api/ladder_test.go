package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"onair/internal/fault"
	"onair/internal/hub"
)

// encoding plays a server that knows one ladder and three rungs.
func encoding(d *Deps) {
	d.CheckLadder = func(profile string, rungs []string, mode string) error {
		if profile != "" && profile != "gaming" {
			return fault.New(fault.Invalid, "read the ladder", profile, "there is no such ladder", "Use gaming.")
		}
		for _, r := range rungs {
			if !slices.Contains([]string{"720p", "480p@900k", "audio"}, r) {
				return fault.New(fault.Invalid, "read the ladder", r, "it is no rung", "Write it as 720p.")
			}
		}
		return nil
	}
}

func TestLadderOfAStream(t *testing.T) {
	h := newHarness(t, encoding)
	l := h.create(`{"ladder":{"rungs":["720p","480p@900k"],"mode":"always"},"realtime_viewers":0}`)
	path := "/v1/live-streams/" + str(t, l, "id")
	has := func(got map[string]any, profile any, mode any, realtime any, rungs ...any) {
		t.Helper()
		if rungs == nil {
			rungs = []any{}
		}
		want := map[string]any{"profile": profile, "rungs": rungs, "mode": mode}
		if d := cmp.Diff(want, got["ladder"]); d != "" || got["realtime_viewers"] != realtime {
			t.Errorf("realtime_viewers %v, ladder (-want +got):\n%s", got["realtime_viewers"], d)
		}
	}
	has(l, nil, "always", 0.0, "720p", "480p@900k")
	patch := func(body string) map[string]any {
		t.Helper()
		got := h.want(200, "PATCH", path, body)
		if d := cmp.Diff(got, h.want(200, "GET", path, "")); d != "" {
			t.Errorf("%s is read back as (-want +got):\n%s", body, d)
		}
		return got
	}
	has(patch(`{"title":"x"}`), nil, "always", 0.0, "720p", "480p@900k")
	has(patch(`{"ladder":{"profile":"gaming"},"realtime_viewers":5}`), "gaming", "always", 5.0) // it replaces the rungs
	has(patch(`{"ladder":{"mode":null}}`), "gaming", nil, 5.0)
	has(patch(`{"ladder":{"rungs":["audio"]}}`), nil, nil, 5.0, "audio") // they replace the profile
	has(patch(`{"ladder":{"profile":null}}`), nil, nil, 5.0, "audio")
	has(patch(`{"ladder":{"profile":"gaming","rungs":[]}}`), "gaming", nil, 5.0)
	has(patch(`{"ladder":{"rungs":null}}`), "gaming", nil, 5.0)
	has(patch(`{"ladder":{"mode":"off"}}`), "gaming", "off", 5.0)
	has(patch(`{"ladder":null,"realtime_viewers":null}`), nil, nil, nil)
}

func TestLadderRefuses(t *testing.T) {
	h := newHarness(t, encoding)
	path := "/v1/live-streams/" + str(t, h.create(""), "id")
	for _, tt := range []struct{ ladder, tells string }{
		{`{"profile":"cinema"}`, "no such ladder"},
		{`{"profile":"` + strings.Repeat("x", 33) + `"}`, ""},
		{`{"profile":"gaming","rungs":["720p"]}`, "both"},
		{`{"rungs":["720p","9000p"]}`, "no rung"},
		{`{"rungs":["720p; rm -rf /"]}`, "blanks"},
		{`{"rungs":["720p\u0000"]}`, "too long, or has blanks"},
		{`{"rungs":[""]}`, "empty"},
		{`{"rungs":["` + strings.Repeat("7", 65) + `"]}`, "too long"},
		{`{"rungs":["720p","720p","720p","720p","720p","720p","720p","720p","720p"]}`, ""},
		{`{"rungs":[null]}`, ""},
		{`{"rungs":"720p"}`, ""},
		{`{"mode":"sometimes"}`, ""},
		{`{"mode":""}`, ""},
		{`{"colour":"blue"}`, ""},
		{`[]`, ""},
	} {
		for _, p := range []map[string]any{
			h.want(422, "POST", "/v1/live-streams", `{"ladder":`+tt.ladder+`}`),
			h.want(422, "PATCH", path, `{"ladder":`+tt.ladder+`}`),
		} {
			if p["code"] != "invalid" || !strings.Contains(str(t, p, "detail"), tt.tells) {
				t.Errorf("%.60s: %v", tt.ladder, p)
			}
		}
	}
	p := h.want(422, "PATCH", path, `{"ladder":{"mode":"sometimes"}}`)
	if at := p["errors"].([]any)[0].(map[string]any)["pointer"]; at != "/ladder/mode" {
		t.Errorf("a wrong mode is told to be at %v: %v", at, p)
	}
	for _, n := range []string{"-1", "100001", "1.5", `"5"`, "1e99"} {
		h.want(422, "POST", "/v1/live-streams", fmt.Sprintf(`{"realtime_viewers":%s}`, n))
		h.want(422, "PATCH", path, fmt.Sprintf(`{"realtime_viewers":%s}`, n))
	}
	if n := len(h.want(200, "GET", "/v1/live-streams", "")["data"].([]any)); n != 1 {
		t.Errorf("%d streams: what was refused was made", n)
	}
}

// TestLadderWithoutEncoder keeps defaults and nothing else, and lets a stream whose
// ladder is no longer there be changed elsewhere.
func TestLadderWithoutEncoder(t *testing.T) {
	h := newHarness(t, encoding)
	path := "/v1/live-streams/" + str(t, h.create(`{"ladder":{"profile":"gaming"}}`), "id")
	h.api.deps.CheckLadder = nil
	for _, ladder := range []string{`{"profile":"gaming"}`, `{"rungs":["720p"]}`, `{"mode":"always"}`} {
		if p := h.want(422, "POST", "/v1/live-streams", `{"ladder":`+ladder+`}`); p["code"] != "unsupported" {
			t.Errorf("%s: %v", ladder, p)
		}
	}
	h.create(`{"ladder":{}}`)
	h.want(200, "PATCH", path, `{"title":"another"}`)
	h.want(422, "PATCH", path, `{"ladder":{}}`)
	h.want(200, "PATCH", path, `{"ladder":null}`)
}

func TestWaysOutThatAreOn(t *testing.T) {
	h := newHarness(t, func(d *Deps) { d.WHEP, d.DASH, d.Images = true, true, true })
	l := h.create("")
	id := l["playback_ids"].([]any)[0].(map[string]any)["id"].(string)
	want := map[string]any{
		"hls_url": "http://live.test:8080/hls/" + id + "/index.m3u8", "dash_url": "http://live.test:8080/dash/" + id + "/manifest.mpd",
		"whep_url": "http://live.test:8080/whep/" + id, "watch_url": "http://live.test:8080/watch/" + id,
		"rtmp_url": "rtmp://live.test:1935/play/" + id, "srt_url": nil,
		"thumbnail_url":  "http://live.test:8080/images/" + id + "/thumbnail.jpg",
		"storyboard_url": "http://live.test:8080/images/" + id + "/storyboard.vtt",
	}
	if d := cmp.Diff(want, l["playback"]); d != "" {
		t.Errorf("playback (-want +got):\n%s", d)
	}
	h.streams.goLive(str(t, l, "id"), hub.Live)
	doc := h.want(200, "GET", "/v1/openapi.json", "")
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	fits(t, schemas, "PlaybackURLs", l["playback"].(map[string]any))
	fits(t, schemas, "Ladder", l["ladder"].(map[string]any))
}
