package api

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/event"
	"onair/internal/hub"
	"onair/internal/media"
)

// fakeLadder plays the transcoder.
type fakeLadder []Rendition

func (f fakeLadder) Renditions(string) []Rendition { return f }

func TestRenditions(t *testing.T) {
	since := time.Date(2026, 11, 5, 12, 30, 0, 0, time.FixedZone("", 3600))
	cpu, lag := 12500*time.Millisecond, 300*time.Millisecond
	made := fakeLadder{
		{Offer: media.Offer{Track: &media.Track{Rendition: "720p", Codec: media.H264, CodecString: "avc1.64001f", Width: 1280, Height: 720, FrameRate: math.Inf(1)},
			Peak: 3_400_000, Average: 2_000_000, Listed: true}, State: "running", Since: since, Encoder: "libx264", CPU: &cpu, Lag: &lag, Restarts: 1},
		{Offer: media.Offer{Track: &media.Track{Rendition: "opus", Codec: media.Opus, CodecString: "opus", SampleRate: 48000, Channels: 2}, Realtime: true},
			State: "refused", Reason: "1.2 of 1.0 cores would be in use."},
		{State: "failed"}, // nothing can be said of it
	}
	h := newHarness(t, func(d *Deps) { d.Ladder = made })
	id := str(t, h.create(""), "id")
	path := "/v1/live-streams/" + id + "/renditions"
	list := func() []any {
		t.Helper()
		return h.want(200, "GET", path, "")["data"].([]any)
	}
	if got := list(); len(got) != 0 {
		t.Errorf("without a broadcast: %v", got)
	}
	h.streams.goLive(id, hub.Live)
	row := func(change map[string]any) map[string]any {
		r := map[string]any{
			"name": "source", "made_by": "publisher", "kind": "video", "codec": "H.264", "codec_string": "avc1.64001f",
			"width": 1280.0, "height": 720.0, "frame_rate": 30.0, "sample_rate": nil, "channels": nil,
			"bitrate": 2_500_000.0, "peak_bitrate": nil, "listed": true, "state": "running", "reason": "", "encoder": nil,
			"since": "2026-11-05T12:00:00Z", "cpu_seconds": nil, "lag_seconds": nil, "restarts": nil,
		}
		for k, v := range change {
			r[k] = v
		}
		return r
	}
	want := []any{
		row(nil),
		row(map[string]any{"kind": "audio", "codec": "AAC", "codec_string": "mp4a.40.2", "width": nil, "height": nil, "frame_rate": nil,
			"sample_rate": 48000.0, "channels": 2.0, "bitrate": nil}),
		row(map[string]any{"name": "720p", "made_by": "server", "frame_rate": nil, "bitrate": 2_000_000.0, "peak_bitrate": 3_400_000.0,
			"encoder": "libx264", "since": "2026-11-05T11:30:00Z", "cpu_seconds": 12.5, "lag_seconds": 0.3, "restarts": 1.0}),
		row(map[string]any{"name": "opus", "made_by": "server", "kind": "audio", "codec": "Opus", "codec_string": "opus", "width": nil, "height": nil, "frame_rate": nil,
			"sample_rate": 48000.0, "channels": 2.0, "bitrate": nil, "listed": false, "state": "refused", "reason": "1.2 of 1.0 cores would be in use.", "since": nil, "restarts": 0.0}),
	}
	if d := cmp.Diff(want, list()); d != "" {
		t.Errorf("renditions (-want +got):\n%s", d)
	}
	doc := h.want(200, "GET", "/v1/openapi.json", "")
	fits(t, doc["components"].(map[string]any)["schemas"].(map[string]any), "Rendition", list()[2].(map[string]any))

	// While the publisher is away its tracks are told as such.
	snap := h.streams.live[id]
	snap.State, snap.Publisher = hub.Lingering, nil
	h.streams.live[id] = snap
	got := list()[0].(map[string]any)
	if got["state"] != "idle" || got["since"] != nil || !strings.Contains(got["reason"].(string), "waited for") {
		t.Errorf("without its publisher: %v", got)
	}
	h.want(404, "GET", "/v1/live-streams/ls_none/renditions", "")
}

// TestRenditionEvents reads a change as clients get it, and as it is described.
func TestRenditionEvents(t *testing.T) {
	h := newHarness(t)
	f := openFeed(t, h, newServer(t, h), "?live_stream_id=ls_1")
	h.bus.Publish(event.RenditionChanged{StreamID: "ls_1", Rendition: "720p", State: "shed", Reason: "2.4 s behind", Encoder: "libx264"})
	e := f.next()
	var got map[string]any
	if err := json.Unmarshal([]byte(e.data), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"live_stream_id": "ls_1", "rendition": "720p", "state": "shed", "reason": "2.4 s behind", "encoder": "libx264"}
	if d := cmp.Diff(want, got["data"]); d != "" || e.name != "live_stream.rendition" || got["type"] != e.name {
		t.Errorf("event %q (-want +got):\n%s", e.name, d)
	}
	doc := h.want(200, "GET", "/v1/openapi.json", "")
	fits(t, doc["components"].(map[string]any)["schemas"].(map[string]any), "EventRenditionChanged", want)
	feed := doc["paths"].(map[string]any)["/v1/events"].(map[string]any)["get"].(map[string]any)
	if d := str(t, feed, "description"); !strings.Contains(d, "`live_stream.rendition`: EventRenditionChanged") {
		t.Errorf("described as %s", d)
	}
}

type fakeEncoders Encoding

func (f fakeEncoders) Encoding() Encoding { return Encoding(f) }

func TestServerTellsWhatItEncodes(t *testing.T) {
	h := newHarness(t)
	got := h.want(200, "GET", "/v1/server", "")
	if got["transcoding"] != nil || got["realtime_viewers"] != 0.0 {
		t.Errorf("a server without: %v", got)
	}
	h = newHarness(t, func(d *Deps) {
		d.WHEP, d.RealtimeViewers = true, 100
		d.Encoding = fakeEncoders{
			Mode: "just-in-time", Version: "5.1.8", Budget: 3, Used: 1.23456,
			Ladders:  []LadderProfile{{"default", []string{"source", "720p", "audio"}}, {"empty", nil}},
			Encoders: []Encoder{{"h264_nvenc", "H.264", true}, {"libx264", "H.264", false}},
		}
	})
	got = h.want(200, "GET", "/v1/server", "")
	want := map[string]any{
		"mode": "just-in-time", "available": true, "reason": "", "ffmpeg_version": "5.1.8", "cores_budget": 3.0, "cores_used": 1.235,
		"ladders": []any{
			map[string]any{"name": "default", "rungs": []any{"source", "720p", "audio"}}, map[string]any{"name": "empty", "rungs": []any{}},
		},
		"encoders": []any{
			map[string]any{"name": "h264_nvenc", "codec": "H.264", "hardware": true},
			map[string]any{"name": "libx264", "codec": "H.264", "hardware": false},
		},
	}
	if d := cmp.Diff(want, got["transcoding"]); d != "" || got["realtime_viewers"] != 100.0 {
		t.Errorf("%v realtime viewers, transcoding (-want +got):\n%s", got["realtime_viewers"], d)
	}
	schemas := h.want(200, "GET", "/v1/openapi.json", "")["components"].(map[string]any)["schemas"].(map[string]any)
	fits(t, schemas, "ServerOutputBody", got)
	fits(t, schemas, "Transcoding", want)

	h = newHarness(t, func(d *Deps) { d.Encoding = fakeEncoders{Mode: "off", Unavailable: "There is no ffmpeg."} })
	if tr := h.want(200, "GET", "/v1/server", "")["transcoding"].(map[string]any); tr["available"] != false || tr["reason"] != "There is no ffmpeg." || tr["ffmpeg_version"] != nil {
		t.Errorf("without ffmpeg: %v", tr)
	}
}
