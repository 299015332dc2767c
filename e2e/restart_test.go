//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestRestartGoesOn kills the server while it serves and starts it again, while the publisher
// tries again and again: players with the documented settings and the server's own page go on.
func TestRestartGoesOn(t *testing.T) {
	data := t.TempDir()
	s := start(t, "--data", data)
	st := s.create("low")
	card := []string{"publish", s.publishURL(st), "--size", "640x360", "--bitrate", "600"}
	p := encode(t, program(t), card...)
	s.waitStatus(st, "active", 20*time.Second)
	s.waitPlayable(st, 15*time.Second)
	a := s.watch(t, st, "--page", s.http+"/watch/"+st.playbackID()+"?way=hls", "--settings", "documented")
	pause(t.Context(), 5*time.Second)

	c := cut{name: "restart", width: 640, lost: time.Now()}
	s.cmd.Process.Kill()
	<-s.ended
	s.ended <- nil
	p.kill()
	pause(t.Context(), 1500*time.Millisecond)
	again := start(t, "--data", data, "--http", strings.TrimPrefix(s.http, "http://"), "--rtmp", s.rtmp)
	t.Logf("ready again after %v", time.Since(c.lost))
	if text, err := fetch(again.hlsURL(st)); err != nil || !strings.Contains(text, "#EXT-X-STREAM-INF") {
		t.Errorf("the playlist after the restart: %v %q", err, text)
	}
	pause(t.Context(), time.Second)
	encode(t, program(t), card...)
	c.back = again.arrival(t)
	pause(t.Context(), 11*time.Second)
	players := a.leave()
	for _, name := range []string{"hls", "shaka", "native", "own"} {
		w := players[name]
		if len(w.Fatal) > 0 && name != "native" {
			t.Errorf("%s: fatal: %v", name, w.Fatal)
		}
		if name == "native" {
			t.Logf("native: fatal %v", w.Fatal)
			continue
		}
		w.outlives(t, name, c, 3*time.Second)
	}
}
