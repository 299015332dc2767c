//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// fetched is what the API says of a stream's source.
type fetched struct {
	Status string `json:"status"`
	Source *struct {
		Status    string `json:"status"`
		LastError string `json:"last_error"`
		Attempts  *int   `json:"attempts"`
	} `json:"source"`
}

func (s *server) createFrom(source map[string]any) stream {
	s.t.Helper()
	return s.createWith(map[string]any{"latency_mode": "low", "source": source})
}

func (s *server) waitSource(st stream, status string, limit time.Duration) fetched {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		var f fetched
		s.call("GET", "/v1/live-streams/"+st.ID, nil, &f)
		if f.Source == nil {
			s.t.Fatal("the stream has no source")
		}
		if f.Source.Status == status {
			return f
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the source is %s and not %s after %v: %s", f.Source.Status, status, limit, f.Source.LastError)
		}
		pause(s.t.Context(), 100*time.Millisecond)
	}
}

// A stream's source is fetched over each protocol, and what arrives can be played.
func TestPull(t *testing.T) {
	beside(t)
	far := start(t)
	near := start(t, "--allow-private-addresses")
	origin := far.create("low")
	far.testcard(origin)
	far.waitPlayable(origin, 20*time.Second)
	for name, url := range map[string]string{
		"RTMP": far.playURL(origin), "SRT": far.srtURL("play:" + origin.playbackID()), "HLS": far.hlsURL(origin),
	} {
		t.Run(name, func(t *testing.T) {
			near := near.in(t)
			st := near.createFrom(map[string]any{"url": url})
			near.waitSource(st, "receiving", 25*time.Second)
			got := near.waitStatus(st, "active", 10*time.Second)
			if video, _, _ := got.track("video"); video != "H.264" || got.ActiveIngest.Protocol != "pull" {
				t.Errorf("%+v", got.ActiveIngest)
			}
			if audio, _, _ := got.track("audio"); audio != "AAC" {
				t.Errorf("the sound is %q", audio)
			}
			near.decodes(t, st, "2")
			near.call("PATCH", "/v1/live-streams/"+st.ID, map[string]any{"source": map[string]any{"enabled": false}}, nil)
			near.waitSource(st, "off", 10*time.Second)
			near.waitStatus(st, "idle", 10*time.Second)
		})
	}
}

// A source on demand is fetched when somebody asks for the stream.
func TestPullOnDemand(t *testing.T) {
	beside(t)
	far := start(t)
	near := start(t, "--allow-private-addresses")
	origin := far.create("low")
	far.testcard(origin)
	st := near.createFrom(map[string]any{"url": far.playURL(origin), "on_demand": true})
	near.waitSource(st, "idle", 10*time.Second)
	if got := near.get(st.ID); got.Status != "idle" {
		t.Errorf("the stream is %s before anybody asked", got.Status)
	}
	near.waitPlayable(st, 20*time.Second)
	near.waitSource(st, "receiving", time.Second)
}

// Sources that cannot be are explained; those on this machine are not connected to without
// leave.
func TestPullFailures(t *testing.T) {
	beside(t)
	far, near := start(t), start(t)
	origin := far.create("low")
	var st stream
	status := near.call("POST", "/v1/live-streams", map[string]any{"source": map[string]any{"url": far.playURL(origin)}}, &st)
	if status == 201 {
		if f := near.waitSource(st, "failing", 15*time.Second); !strings.Contains(f.Source.LastError, "machine's own") {
			t.Errorf("it says %q", f.Source.LastError)
		}
	} else if status < 400 || status >= 500 {
		t.Errorf("status %d", status)
	}
	open := start(t, "--allow-private-addresses")
	for name, url := range map[string]string{"RTMP": far.playURL(origin), "HLS": far.hlsURL(origin)} {
		st := open.createFrom(map[string]any{"url": url})
		if f := open.waitSource(st, "failing", 20*time.Second); f.Source.LastError == "" || strings.Contains(f.Source.LastError, origin.playbackID()) {
			t.Errorf("%s: it says %q", name, f.Source.LastError)
		}
	}
}
