//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// restreamed is what the API says of a simulcast target.
type restreamed struct {
	ID        string  `json:"id"`
	Status    string  `json:"status"`
	LastError string  `json:"last_error"`
	Attempts  *int    `json:"attempts"`
	Bytes     *uint64 `json:"bytes"`
	Packets   *uint64 `json:"packets"`
}

func (s *server) addTarget(st stream, url, key string) restreamed {
	s.t.Helper()
	var tg restreamed
	if status := s.call("POST", "/v1/live-streams/"+st.ID+"/simulcast-targets", map[string]any{"url": url, "stream_key": key}, &tg); status != 201 {
		s.t.Fatalf("adding a target: status %d", status)
	}
	return tg
}

func (s *server) waitTarget(st stream, id, status string, limit time.Duration) restreamed {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		var tg restreamed
		if code := s.call("GET", "/v1/live-streams/"+st.ID+"/simulcast-targets/"+id, nil, &tg); code != 200 {
			s.t.Fatalf("getting a target: status %d", code)
		}
		if tg.Status == status {
			return tg
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the target is %s and not %s after %v: %s", tg.Status, status, limit, tg.LastError)
		}
		pause(s.t.Context(), 100*time.Millisecond)
	}
}

// A live stream is sent to another service over RTMP and SRT, which are added and removed
// meanwhile, and what cannot be reached is tried again and explained.
func TestRestream(t *testing.T) {
	beside(t)
	far := start(t)
	near := start(t, "--allow-private-addresses")
	st := near.create("low")
	near.testcard(st)

	overRTMP, overSRT := far.create("low"), far.create("low")
	one := near.addTarget(st, "rtmp://"+far.rtmp+"/live", overRTMP.StreamKey)
	two := near.addTarget(st, "srt://127.0.0.1:"+far.ports["srt"], "publish:"+overSRT.StreamKey)
	wrong := near.addTarget(st, "rtmp://"+far.rtmp+"/live", "sk_nobodysverysecretkey")

	for _, x := range []struct {
		id string
		at stream
	}{{one.ID, overRTMP}, {two.ID, overSRT}} {
		tg := near.waitTarget(st, x.id, "broadcasting", 15*time.Second)
		if tg.Bytes == nil || *tg.Bytes == 0 || tg.LastError != "" {
			t.Errorf("%+v", tg)
		}
		got := far.waitStatus(x.at, "active", 15*time.Second)
		if video, w, h := got.track("video"); video != "H.264" || w == 0 || h == 0 {
			t.Errorf("the other service gets %s of %dx%d", video, w, h)
		}
		if audio, _, _ := got.track("audio"); audio != "AAC" {
			t.Errorf("the other service gets %q", audio)
		}
		far.in(t).decodes(t, x.at, "2")
	}
	tg := near.waitTarget(st, wrong.ID, "errored", 15*time.Second)
	if tg.LastError == "" || strings.Contains(tg.LastError, "verysecret") {
		t.Errorf("it says %q", tg.LastError)
	}

	if status := near.call("DELETE", "/v1/live-streams/"+st.ID+"/simulcast-targets/"+one.ID, nil, nil); status != 204 {
		t.Errorf("removing a target: status %d", status)
	}
	deadline := time.Now().Add(10 * time.Second)
	for far.get(overRTMP.ID).Status == "active" && time.Now().Before(deadline) {
		pause(t.Context(), 100*time.Millisecond)
	}
	if got := far.get(overRTMP.ID); got.Status == "active" {
		t.Error("the removed target still gets the stream")
	}
	near.waitTarget(st, two.ID, "broadcasting", time.Second)
}

// Without leave, a target on this machine is not connected to.
func TestRestreamIsGuarded(t *testing.T) {
	beside(t)
	far, near := start(t), start(t)
	st, at := near.create("low"), far.create("low")
	near.testcard(st)
	var ids []string
	for _, url := range []string{"rtmp://" + far.rtmp + "/live", "srt://localhost:" + far.ports["srt"]} {
		var tg restreamed
		status := near.call("POST", "/v1/live-streams/"+st.ID+"/simulcast-targets", map[string]any{"url": url, "stream_key": at.StreamKey}, &tg)
		if status == 201 {
			ids = append(ids, tg.ID)
		} else if status < 400 || status >= 500 {
			t.Errorf("%s: status %d", url, status)
		}
	}
	for _, id := range ids {
		if tg := near.waitTarget(st, id, "errored", 15*time.Second); !strings.Contains(tg.LastError, "machine's own") {
			t.Errorf("it says %q", tg.LastError)
		}
	}
	if far.get(at.ID).Status != "idle" {
		t.Error("the stream arrived")
	}
}
