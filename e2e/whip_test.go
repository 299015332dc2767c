//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// camera is what browser/whip.mjs reports.
type camera struct {
	FirstSegmentMs int  `json:"firstSegmentMs"`
	ToHD           *int `json:"toHD"`
	Best           struct {
		Width  int    `json:"width"`
		Height int    `json:"height"`
		Frames int    `json:"frames"`
		Codec  string `json:"codec"`
	} `json:"best"`
	Deleted     int      `json:"deleted"`
	ETag        string   `json:"etag"`
	States      []string `json:"states"`
	Resolutions []string `json:"resolutions"`
}

// TestBrowserPublishes sends Chromium's fake camera over WHIP. The aim for the first
// segment is 2 s after the POST on a machine with nothing else to do; a busy one is
// allowed more.
func TestBrowserPublishes(t *testing.T) {
	s := start(t)
	for _, mute := range []string{"no", "yes"} {
		st := s.create("low")
		out, errOut, err := run(t, 90*time.Second, "node", "browser/whip.mjs", "--whip", s.http+"/whip", "--key", st.StreamKey,
			"--hls", s.hlsURL(st), "--seconds", "8", "--mute", mute)
		if err != nil {
			t.Fatalf("%v\n%s", err, errOut)
		}
		t.Logf("muted %s: %s", mute, strings.TrimSpace(out))
		var c camera
		if err := json.Unmarshal([]byte(out), &c); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		if c.FirstSegmentMs > 4000 {
			t.Errorf("the first segment came after %d ms", c.FirstSegmentMs)
		}
		if c.Best.Height < 720 || len(c.Resolutions) == 0 {
			t.Errorf("the browser sent %+v; the playlist has %v", c.Best, c.Resolutions)
		}
		if c.Deleted != http.StatusOK || len(c.ETag) < 3 {
			t.Errorf("DELETE was answered with %d, the script read the ETag %q", c.Deleted, c.ETag)
		}
	}
}

// TestManyWHIPSessions connects and leaves 200 times, and looks at what is left.
func TestManyWHIPSessions(t *testing.T) {
	s := start(t)
	st := s.create("low")
	goroutines := func() float64 {
		text := getText(t, s.http+"/metrics")
		for line := range strings.Lines(text) {
			var n float64
			if _, err := fmt.Sscanf(line, "go_goroutines %g", &n); err == nil {
				return n
			}
		}
		t.Fatal("the program does not tell its goroutines")
		return 0
	}
	cycle := func(i int) {
		pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
			t.Fatal(err)
		}
		offer, err := pc.CreateOffer(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := pc.SetLocalDescription(offer); err != nil {
			t.Fatal(err)
		}
		ask := func(method, url, body string) (*http.Response, string) {
			req, err := http.NewRequest(method, url, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/sdp")
			req.Header.Set("Authorization", "Bearer "+st.StreamKey)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			return resp, string(b)
		}
		resp, answer := ask(http.MethodPost, s.http+"/whip", offer.SDP)
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("cycle %d: %d %s", i, resp.StatusCode, answer)
		}
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
			t.Fatal(err)
		}
		if resp, text := ask(http.MethodDelete, s.http+resp.Header.Get("Location"), ""); resp.StatusCode != http.StatusOK {
			t.Fatalf("cycle %d: DELETE %d %s", i, resp.StatusCode, text)
		}
	}
	cycle(0)
	before := goroutines()
	for i := range 200 {
		cycle(i + 1)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		now := goroutines()
		if now <= before+20 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v goroutines, %v before", now, before)
		}
		pause(t.Context(), 200*time.Millisecond)
	}
}
