//go:build e2e

package e2e

import (
	"net/http"
	"regexp"
	"testing"
	"time"
)

// TestSlowClients lets slowhttptest hold 2,000 connections with slow heads, slow bodies
// and slow reads (H1): the service stays available, and who watches does not notice.
func TestSlowClients(t *testing.T) {
	s := start(t)
	st := s.create("low")
	s.testcard(st, "--size", "320x180", "--bitrate", "300")
	s.waitPlayable(st, 10*time.Second)
	media := firstMediaPlaylist(t, s.hlsURL(st))
	unavailable := regexp.MustCompile(`service available:\s*NO`)
	for _, attack := range []struct {
		name string
		args []string
	}{
		{"slow heads", []string{"-H", "-u", s.http + "/"}},
		{"slow bodies", []string{"-B", "-u", s.http + "/v1/live-streams"}},
		{"slow reads", []string{"-X", "-u", media, "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3"}},
	} {
		t.Run(attack.name, func(t *testing.T) {
			client := http.Client{Timeout: 5 * time.Second}
			done := make(chan string, 1)
			go func() {
				out, _, _ := run(t, 40*time.Second, "slowhttptest",
					append(attack.args, "-c", "2000", "-r", "500", "-i", "5", "-l", "12", "-p", "3")...)
				done <- out
			}()
			for {
				select {
				case out := <-done:
					if unavailable.MatchString(out) {
						t.Errorf("slowhttptest found the service unavailable:\n%s", out)
					}
					return
				default:
				}
				res, err := client.Get(media)
				if err != nil {
					t.Fatalf("a viewer gets nothing meanwhile: %v", err)
				}
				res.Body.Close()
				if res.StatusCode != 200 {
					t.Fatalf("a viewer gets %s meanwhile", res.Status)
				}
				pause(t.Context(), 200*time.Millisecond)
			}
		})
	}
}
