package api

import (
	"net/http"
	"strings"
	"testing"

	"onair/internal/hub"
)

// TestSecretsStayInside is row H13 of the threats: after everything was used, rightly
// and wrongly, no key and no token stands in the log, in an event, in a kick, or in
// what anybody gets without the token.
func TestSecretsStayInside(t *testing.T) {
	h := newHarness(t)
	const phrase, password, token, other = "passphrase-of-the-stream", "cam3ra-passw0rd", "t0ken-in-the-query", "the-key-at-the-other-service"
	l := h.create(`{"title":"x","srt_passphrase":"` + phrase + `","source":{"url":"https://u:` + password + `@h/x?t=` + token + `"},
		"simulcast_targets":[{"url":"rtmp://u:` + password + `@h/x","stream_key":"` + other + `"}]}`)
	for _, s := range []string{password, token, other} {
		if b := h.do("GET", "/v1/live-streams", "").Body.String(); strings.Contains(b, s) {
			t.Errorf("the list tells %s, which nobody needs to read again", s)
		}
	}
	id, key := str(t, l, "id"), str(t, l, "stream_key")
	path := "/v1/live-streams/" + id
	pb := l["playback_ids"].([]any)[0].(map[string]any)["id"].(string)
	secrets := []string{key, h.token, phrase, password, token, other}

	h.streams.goLive(id, hub.Live)
	h.want(200, "POST", path+"/disable", "", "Idempotency-Key", "a")
	if _, err := h.auth.AdmitPublish(t.Context(), key); err == nil || strings.Contains(err.Error(), key) {
		t.Errorf("refused with %v", err)
	}
	h.want(200, "POST", path+"/enable", "")
	if l, err := h.auth.AdmitPublish(t.Context(), key); err != nil || l.ID != id {
		t.Fatal(err)
	}
	secrets = append(secrets, str(t, h.want(200, "POST", path+"/reset-stream-key", ""), "stream_key"))
	if _, err := h.auth.AdmitPublish(t.Context(), key); err == nil || strings.Contains(err.Error(), key) {
		t.Errorf("refused with %v", err)
	}
	h.want(200, "PATCH", path, `{"title":"y"}`)
	if p, err := h.auth.Passphrase(t.Context(), true, key); err == nil || p != "" || strings.Contains(err.Error(), key) {
		t.Errorf("an old key got %q, %v", p, err)
	}
	h.want(422, "PATCH", path, `{"srt_passphrase":"`+phrase+` with spaces"}`)
	h.want(422, "PATCH", path, `{"source":{"url":"ftp://u:`+password+`@h"}}`)
	h.want(422, "POST", path+"/simulcast-targets", `{"url":"rtmp://h/x","stream_key":"`+other+` x"}`)
	h.want(404, "GET", "/v1/live-streams/"+key, "")
	h.want(401, "GET", path, "", "Authorization", "Bearer "+key)
	h.want(422, "PATCH", path, `{"latency_mode":"`+key+`"}`)

	var open strings.Builder
	for _, p := range []string{"/v1/openapi.json", "/v1/playback/" + pb, "/v1/playback/" + key, "/v1/live-streams", path, path + "/renditions", "/v1/server", "/v1/nothing"} {
		w := h.do("GET", p, "", "Authorization", "")
		open.WriteString(w.Body.String())
		if err := w.Result().Header.Write(&open); err != nil {
			t.Fatal(err)
		}
	}
	srv := newServer(t, h)
	f := openFeed(t, h, srv, "", "Last-Event-ID", "0")
	var events strings.Builder
	for range 5 {
		events.WriteString(f.next().data)
	}
	h.want(http.StatusNoContent, "DELETE", path, "")
	events.WriteString(f.next().data)
	if !strings.Contains(events.String(), "live_stream.deleted") {
		t.Errorf("the events were not all read: %s", &events)
	}
	// Something failed too.
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	h.want(500, "GET", path, "")
	h.want(500, "POST", "/v1/live-streams", `{"title":"x"}`)
	var kicks strings.Builder
	for _, k := range h.streams.kicks(id) {
		kicks.WriteString(k.Error())
	}
	for where, text := range map[string]string{"the log": h.log.String(), "the events": events.String(), "a kick": kicks.String(), "open answers": open.String()} {
		if text == "" {
			t.Errorf("%s: nothing to look at", where)
		}
		for _, s := range secrets {
			if i := strings.Index(text, s); i >= 0 {
				t.Errorf("%s: the secret %.6s… stands after %q", where, s, text[max(0, i-200):i])
			}
		}
	}
}
