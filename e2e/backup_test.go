//go:build e2e

package e2e

import (
	"testing"
	"time"
)

// TestBackupTakesOver kills the main encoder while a backup stands by: who watches in
// Chromium sees the picture go on, and hardly a moment of it older than before.
func TestBackupTakesOver(t *testing.T) {
	s := start(t)
	st := s.create("low")
	encoder := func(url string) *publisher {
		return encode(t, program(t), "publish", url, "--size", "640x360", "--bitrate", "600", "--keyframe-interval", "1s")
	}
	main := encoder(s.publishURL(st))
	s.waitStatus(st, "active", 20*time.Second)
	encoder(s.publishURL(st) + "?backup=1")
	s.waitPlayable(st, 10*time.Second)
	watched := make(chan playback, 1)
	go func() { watched <- play(t, "hls", s.hlsURL(st), 20) }()
	pause(t.Context(), 14*time.Second) // the browser needs some of it to start
	main.kill()
	p := <-watched
	p.advances(t, "hls.js", 20)
	if got := s.get(st.ID); got.Status != "active" {
		t.Errorf("the stream is %s with a backup on the air", got.Status)
	}
	if p.DelayMs == nil || p.DelayMaxMs == nil {
		t.Fatalf("the clock in the picture could not be read: %+v", p)
	}
	if p.FreezeMs > 1000 {
		t.Errorf("the picture stood still for %.0f ms", p.FreezeMs)
	}
	if gap := *p.DelayMaxMs - *p.DelayMs; gap > 1000 {
		t.Errorf("for a moment the picture was %.0f ms older than otherwise", gap)
	}
}
