package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/control/store"
	"onair/internal/event"
)

func TestTargets(t *testing.T) {
	f := &fakeWays{targets: map[string][]TargetStatus{}}
	h := newHarness(t, withWays(f))
	id := str(t, h.create(""), "id")
	all := "/v1/live-streams/" + id + "/simulcast-targets"
	made := h.want(http.StatusCreated, "POST", all, `{"url":"rtmp://live.example.com/app","stream_key":"live_0123456789abcdef","passthrough":"Elsewhere"}`)
	want := map[string]any{
		"id": made["id"], "created_at": made["created_at"], "url": "rtmp://live.example.com/app", "stream_key": "****cdef",
		"passthrough": "Elsewhere", "enabled": true, "status": "idle", "since": nil, "last_error": "", "attempts": nil,
		"bytes": nil, "packets": nil, "dropped": nil, "link": nil,
	}
	if d := cmp.Diff(want, made); d != "" {
		t.Errorf("created (-want +got):\n%s", d)
	}
	tid := str(t, made, "id")
	since := time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)
	f.targets[id] = []TargetStatus{{ID: tid, State: "errored", Since: since, LastError: "publish: refused", Attempts: 2, Bytes: 7}}
	got := h.want(200, "GET", all+"/"+tid, "")
	if got["status"] != "errored" || got["last_error"] != "publish: refused" || got["attempts"] != 2.0 || got["bytes"] != 7.0 || got["dropped"] != 0.0 || got["since"] != "2026-11-05T12:00:00Z" {
		t.Errorf("status %v", got)
	}
	if l := h.want(200, "GET", all, "")["data"].([]any); len(l) != 1 || l[0].(map[string]any)["status"] != "errored" {
		t.Errorf("list %v", l)
	}
	if l := h.want(200, "GET", "/v1/live-streams/"+id, "")["simulcast_targets"].([]any); len(l) != 1 {
		t.Errorf("in the stream: %v", l)
	}
	if got := h.want(200, "PATCH", all+"/"+tid, `{"enabled":false}`); got["enabled"] != false || got["status"] != "idle" || got["passthrough"] != "Elsewhere" {
		t.Errorf("switched off: %v", got)
	}
	if got := h.want(200, "PATCH", all+"/"+tid, `{"enabled":null,"passthrough":null}`); got["enabled"] != true || got["passthrough"] != "" {
		t.Errorf("nulls: %v", got)
	}
	h.want(409, "POST", all, `{"url":"rtmp://live.example.com/app/","stream_key":"live_0123456789abcdef"}`)
	h.want(422, "PATCH", all+"/"+tid, `{"url":"rtmp://other/x"}`)
	h.want(404, "GET", all+"/st_none", "")
	other := str(t, h.create(""), "id")
	for _, m := range []string{"GET", "DELETE"} {
		h.want(404, m, "/v1/live-streams/"+other+"/simulcast-targets/"+tid, "")
	}
	h.want(http.StatusNoContent, "DELETE", all+"/"+tid, "")
	h.want(404, "DELETE", all+"/"+tid, "")
	if n := len(f.changed); n < 4 {
		t.Errorf("told of %d changes", n)
	}
	var kinds []string
	for _, e := range past(h) {
		if r, ok := e.Event.(event.StreamRecord); ok && strings.Contains(r.Change, "simulcast") {
			kinds = append(kinds, r.Type())
		}
	}
	if d := cmp.Diff([]string{"live_stream.simulcast_target.created", "live_stream.simulcast_target.updated", "live_stream.simulcast_target.updated", "live_stream.simulcast_target.deleted"}, kinds); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
}

func TestTargetsRefuse(t *testing.T) {
	h := newHarness(t)
	id := str(t, h.create(""), "id")
	all := "/v1/live-streams/" + id + "/simulcast-targets"
	for _, body := range []string{
		`{}`, `{"url":""}`, `{"url":"http://h/x"}`, `{"url":"rtsp://h/x"}`, `{"url":"srt://h"}`, `{"url":"rtmp:///x"}`,
		`{"url":"rtmp://h/x","stream_key":"a b"}`, `{"url":"rtmp://h/x","stream_key":"a\nb"}`, `{"url":"rtmp://h/x","passthrough":"a\u0007"}`,
		`{"url":"rtmp://h/x","passthrough":"` + strings.Repeat("a", 256) + `"}`, `{"url":"rtmp://h/x","unknown":1}`,
	} {
		h.want(422, "POST", all, body)
	}
	for i := range store.MaxTargets {
		h.want(http.StatusCreated, "POST", all, fmt.Sprintf(`{"url":"rtmp://h%d/x"}`, i))
	}
	if p := h.want(409, "POST", all, `{"url":"rtmp://h/x"}`); !strings.Contains(str(t, p, "detail"), "10") {
		t.Errorf("one too many: %v", p)
	}
	many := strings.Repeat(`{"url":"rtmp://h/x"},`, 2)
	h.want(409, "POST", "/v1/live-streams", `{"simulcast_targets":[`+strings.TrimSuffix(many, ",")+`]}`)
	l := h.create(`{"simulcast_targets":[{"url":"rtmp://b/x","stream_key":"k"},{"url":"srt://a:1?passphrase=p"}]}`)
	ts := l["simulcast_targets"].([]any)
	if len(ts) != 2 || ts[0].(map[string]any)["url"] != "rtmp://b/x" || ts[1].(map[string]any)["url"] != "srt://a:1?passphrase=****" {
		t.Errorf("created with the stream: %v", ts)
	}
	// The same request again is the same target.
	for range 2 {
		h.want(http.StatusCreated, "POST", "/v1/live-streams/"+str(t, l, "id")+"/simulcast-targets", `{"url":"rtmp://c/x"}`, "Idempotency-Key", "k1")
	}
}

// past returns the events so far.
func past(h *harness) []event.Envelope {
	over, cancel := context.WithCancel(h.t.Context())
	cancel()
	var out []event.Envelope
	for l := h.bus.ListenAfter(0); ; {
		e, _, err := l.Next(over)
		if err != nil {
			return out
		}
		out = append(out, e)
	}
}
