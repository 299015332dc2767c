package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/control/doctor"
	"onair/internal/hub"
	"onair/internal/media"
)

// fakeWays plays what fetches, passes on, takes in and examines streams.
type fakeWays struct {
	pulls   map[string]PullStatus
	targets map[string][]TargetStatus
	ingests map[string]IngestStatus
	health  map[string]doctor.Report
	changed []string
}

func (f *fakeWays) Changed(id string)                 { f.changed = append(f.changed, id) }
func (f *fakeWays) Statuses(id string) []TargetStatus { return f.targets[id] }
func (f *fakeWays) Status(id string) (PullStatus, bool) {
	s, ok := f.pulls[id]
	return s, ok
}

func (f *fakeWays) Ingest(id string) (IngestStatus, bool) {
	s, ok := f.ingests[id]
	return s, ok
}

func (f *fakeWays) Health(id string) (doctor.Report, bool) {
	r, ok := f.health[id]
	return r, ok
}

func withWays(f *fakeWays) func(*Deps) {
	return func(d *Deps) {
		d.RTMPSPort, d.SRTPort, d.WHIP, d.GoLive = 1936, 8890, true, true
		d.Pulls, d.Targets, d.Ingests, d.Doctor = f, f, f, f
	}
}

func TestEveryWayIn(t *testing.T) {
	h := newHarness(t, withWays(new(fakeWays)))
	l := h.create(`{"srt_passphrase":"correct.horse-battery_staple~1","multitrack":{"max_video_tracks":3}}`)
	key, pb := str(t, l, "stream_key"), l["playback_ids"].([]any)[0].(map[string]any)["id"].(string)
	const phrase = "&passphrase=correct.horse-battery_staple~1"
	want := map[string]any{
		"rtmp_url": "rtmp://live.test:1935/live", "rtmps_url": "rtmps://live.test:1936/live",
		"srt_url":    "srt://live.test:8890?streamid=publish:" + key + phrase,
		"whip_url":   "http://live.test:8080/whip",
		"golive_url": "http://live.test:8080/golive",
		"backup": map[string]any{
			"rtmp_url": "rtmp://live.test:1935/live", "rtmps_url": "rtmps://live.test:1936/live",
			"stream_key": key + "?backup=1", "srt_url": "srt://live.test:8890?streamid=backup:" + key + phrase,
			"whip_url": "http://live.test:8080/whip/backup",
		},
	}
	if d := cmp.Diff(want, l["ingest"]); d != "" {
		t.Errorf("ingest (-want +got):\n%s", d)
	}
	play := l["playback"].(map[string]any)
	if play["srt_url"] != "srt://live.test:8890?streamid=play:"+pb+phrase || play["rtmp_url"] != "rtmp://live.test:1935/play/"+pb {
		t.Errorf("playback %v", play)
	}
	path := "/v1/live-streams/" + str(t, l, "id")
	off := h.want(200, "PATCH", path, `{"multitrack":{"enabled":false},"srt_passphrase":null}`)
	if off["srt_passphrase"] != nil || off["ingest"].(map[string]any)["golive_url"] != nil {
		t.Errorf("switched off: %v", off)
	}
	if d := cmp.Diff(map[string]any{"enabled": false, "max_video_tracks": 3.0, "max_bitrate": nil}, off["multitrack"]); d != "" {
		t.Errorf("a patch of one field changed others:\n%s", d)
	}
	back := h.want(200, "PATCH", path, `{"multitrack":null}`)["multitrack"]
	if d := cmp.Diff(map[string]any{"enabled": true, "max_video_tracks": nil, "max_bitrate": nil}, back); d != "" {
		t.Errorf("null:\n%s", d)
	}
}

func TestPassphrases(t *testing.T) {
	h := newHarness(t)
	path := "/v1/live-streams/" + str(t, h.create(""), "id")
	for _, bad := range []string{"short-one", strings.Repeat("a", 80), "with space here", "per%cent-sign-1", "ümlautümlaut", "plus+plus+plus", "and&and&and&and", "#hash#hash#hash"} {
		p := h.want(422, "PATCH", path, fmt.Sprintf(`{"srt_passphrase":%q}`, bad))
		if strings.Contains(str(t, p, "detail"), bad) || str(t, p, "detail") == "" {
			t.Errorf("%s: %v", bad, p)
		}
	}
	for _, good := range []string{"0123456789", strings.Repeat("z", 79), "A-b.c_d~e9"} {
		if got := h.want(200, "PATCH", path, fmt.Sprintf(`{"srt_passphrase":%q}`, good))["srt_passphrase"]; got != good {
			t.Errorf("%s: %v", good, got)
		}
	}
	if got := h.want(200, "PATCH", path, `{"srt_passphrase":""}`)["srt_passphrase"]; got != nil {
		t.Errorf("cleared: %v", got)
	}
}

func TestSource(t *testing.T) {
	f := &fakeWays{pulls: map[string]PullStatus{}}
	h := newHarness(t, withWays(f))
	l := h.create(`{"source":{"url":"rtsp://admin:s3cr3t@cam.example.com:554/one?token=t0k3n&latency=200","on_demand":true}}`)
	id := str(t, l, "id")
	path := "/v1/live-streams/" + id
	src := func(l map[string]any) map[string]any { t.Helper(); return l["source"].(map[string]any) }
	shown := "rtsp://admin:****@cam.example.com:554/one?token=****&latency=200"
	want := map[string]any{"url": shown, "on_demand": true, "enabled": true, "status": "unknown", "since": nil, "last_error": "", "attempts": nil}
	if d := cmp.Diff(want, src(l)); d != "" {
		t.Errorf("created (-want +got):\n%s", d)
	}
	since := time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)
	f.pulls[id] = PullStatus{State: "failing", Since: since, LastError: "dial: refused", Attempts: 3}
	got := src(h.want(200, "PATCH", path, `{"source":{"url":"`+shown+`","on_demand":false}}`))
	if got["status"] != "failing" || got["attempts"] != 3.0 || got["last_error"] != "dial: refused" || got["since"] != "2026-11-05T12:00:00Z" || got["on_demand"] != false {
		t.Errorf("status %v", got)
	}
	pulls, err := h.store.Pulls(t.Context())
	if err != nil || len(pulls) != 1 || pulls[0].Source.URL != "rtsp://admin:s3cr3t@cam.example.com:554/one?token=t0k3n&latency=200" {
		t.Errorf("the secrets behind the mask are gone: %v, %v", pulls, err)
	}
	h.want(422, "PATCH", path, `{"source":{"url":"rtsp://admin:****@other.example.com/one"}}`)
	if got := src(h.want(200, "PATCH", path, `{"source":{"enabled":false}}`)); got["status"] != "off" || got["url"] != shown {
		t.Errorf("switched off: %v", got)
	}
	if got := h.want(200, "PATCH", path, `{"source":null}`)["source"]; got != nil {
		t.Errorf("removed: %v", got)
	}
	h.want(422, "PATCH", path, `{"source":{"on_demand":true}}`)
	if len(f.changed) < 4 || f.changed[0] != id {
		t.Errorf("told of changes %v", f.changed)
	}
	for _, bad := range []string{
		"", "x", "cam.example.com", "ftp://h/x", "file:///etc/passwd", "RTSP//h", "http:///x", "http://h:0/", "http://h:70000/", "srt://h", "rtmp://h/a b",
		"http://h/#x", "http:h", "javascript:alert(1)", "http://[::1", "http://h/\\u0000", "http://" + strings.Repeat("a", 3000), "concat:a|b", "-i",
	} {
		if p := h.want(422, "POST", "/v1/live-streams", fmt.Sprintf(`{"source":{"url":"%s"}}`, bad)); p["code"] != "invalid" {
			t.Errorf("%s: %v", bad, p)
		}
	}
}

func TestMaskAddress(t *testing.T) {
	for in, want := range map[string]string{
		"rtmp://h/live":                          "rtmp://h/live",
		"rtmp://u:p@h/live":                      "rtmp://u:****@h/live",
		"https://tok@h/x.m3u8":                   "https://****@h/x.m3u8",
		"srt://h:1?streamid=publish:k&mode=x":    "srt://h:1?streamid=****&mode=x",
		"srt://h:1?passphrase=abc%20d&latency=9": "srt://h:1?passphrase=****&latency=9",
		"http://h/?secret":                       "http://h/?****",
		"http://h/?a=b=c&d":                      "http://h/?a=****&****",
		"http://[::1":                            "****",
	} {
		if got := maskAddress(in); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{"": "", "short": "****", "abcdefghijklmnop": "****mnop"} {
		if got := maskKey(in); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
}

func TestActiveIngestTellsOfLinkAndBackup(t *testing.T) {
	f := &fakeWays{ingests: map[string]IngestStatus{}}
	h := newHarness(t, withWays(f))
	id := str(t, h.create(""), "id")
	rtt, lost := 42500*time.Microsecond, uint64(0)
	f.ingests[id] = IngestStatus{Backup: "srt", Ready: true, Link: &media.Link{RTT: &rtt, Lost: &lost}}
	h.streams.goLive(id, hub.Live)
	in := h.want(200, "GET", "/v1/live-streams/"+id, "")["active_ingest"].(map[string]any)
	want := map[string]any{
		"rtt": 42.5, "lost": 0.0, "jitter": nil, "packets": nil, "retransmitted": nil, "dropped": nil, "bitrate": nil, "available": nil,
	}
	if d := cmp.Diff(want, in["link"]); d != "" {
		t.Errorf("link (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]any{"connected": true, "ready": true, "protocol": "srt"}, in["backup"]); d != "" {
		t.Errorf("backup (-want +got):\n%s", d)
	}
	if in["on_air"] != "main" {
		t.Errorf("on air: %v", in["on_air"])
	}
}

func TestHealth(t *testing.T) {
	f := &fakeWays{health: map[string]doctor.Report{}}
	h := newHarness(t, withWays(f))
	id := str(t, h.create(""), "id")
	path := "/v1/live-streams/" + id + "/health"
	none := h.want(200, "GET", path, "")
	if none["status"] != "no_data" || none["score"] != nil || none["summary"] == "" || none["live_stream_id"] != id {
		t.Errorf("without data: %v", none)
	}
	score := 70
	f.health[id] = doctor.Report{
		StreamID: id, Status: doctor.Degraded, Score: &score, Summary: "x",
		Findings: []doctor.Finding{{Code: "uplink_loss", Severity: doctor.Warning, Evidence: map[string]any{"loss": 0.03}}},
		Sources:  []doctor.Source{{Protocol: "srt"}}, History: []doctor.Point{{}},
	}
	got := h.want(200, "GET", path, "")
	if got["status"] != "degraded" || got["score"] != 70.0 || got["sources"].([]any)[0].(map[string]any)["link"].(map[string]any)["rtt_seconds"] != nil {
		t.Errorf("with data: %v", got)
	}
	doc := h.want(200, "GET", "/v1/openapi.json", "")
	fits(t, doc["components"].(map[string]any)["schemas"].(map[string]any), "HealthReport", got)
	h.want(404, "GET", "/v1/live-streams/ls_none/health", "")
	h.want(http.StatusNoContent, "DELETE", "/v1/live-streams/"+id, "")
	h.want(404, "GET", path, "")
}
