//go:build e2e

package e2e

import (
	"encoding/xml"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func (s *server) dashURL(st stream) string {
	return s.http + "/dash/" + st.playbackID() + "/manifest.mpd"
}

// manifest is what a test looks at in an MPD.
type manifest struct {
	Type    string `xml:"type,attr"`
	Periods []struct {
		ID    string `xml:"id,attr"`
		Start string `xml:"start,attr"`
		Sets  []struct {
			Representations []struct {
				ID    string `xml:"id,attr"`
				Width int    `xml:"width,attr"`
			} `xml:"Representation"`
		} `xml:"AdaptationSet"`
	} `xml:"Period"`
}

// names are the representations of the last Period.
func (m manifest) names() string {
	var names []string
	for _, s := range m.Periods[len(m.Periods)-1].Sets {
		for _, r := range s.Representations {
			names = append(names, r.ID)
		}
	}
	return strings.Join(names, " ")
}

// openDash returns the address of a viewer's manifest.
func (s *server) openDash(st stream) string {
	s.t.Helper()
	res, err := http.Get(s.dashURL(st))
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		s.t.Fatalf("the manifest: %s", res.Status)
	}
	return res.Request.URL.String()
}

func readManifest(t *testing.T, url string) manifest {
	t.Helper()
	var m manifest
	text := getText(t, url)
	if err := xml.Unmarshal([]byte(text), &m); err != nil || len(m.Periods) == 0 {
		t.Fatalf("the manifest at %s: %v in %q", url, err, text)
	}
	return m
}

// TestDASHPlayers plays a stream in dash.js and Shaka in each latency mode.
func TestDASHPlayers(t *testing.T) {
	s := start(t, "--transcode", "off")
	for _, mode := range []struct {
		name  string
		limit time.Duration
	}{{"low", 5 * time.Second}, {"ultra", 4 * time.Second}, {"standard", 25 * time.Second}} {
		t.Run(mode.name, func(t *testing.T) {
			s := s.in(t)
			st := s.create(mode.name)
			s.testcard(st, "--size", "640x360", "--bitrate", "800", "--b-frames", "2")
			s.waitPlayable(st, 15*time.Second)
			if mode.name == "standard" {
				pause(t.Context(), 12*time.Second) // until there is as much as players want to be behind
			}
			for _, player := range []string{"dash", "shaka"} {
				p := play(t, player, s.dashURL(st), 12)
				p.advances(t, player, 12)
				p.delayUnder(t, player, mode.limit)
				if len(p.Errors) > 0 {
					t.Errorf("%s: %v", player, p.Errors)
				}
			}
		})
	}
}

// TestDASHGoesOnWithAnotherPicture: the publisher comes back with another size, for which a
// Period begins.
func TestDASHGoesOnWithAnotherPicture(t *testing.T) {
	s := start(t, "--transcode", "off")
	for _, player := range []string{"dash", "shaka"} {
		t.Run(player, func(t *testing.T) {
			s := s.in(t)
			st := s.create("low")
			first := s.testcard(st, "--size", "640x360", "--bitrate", "800")
			s.waitPlayable(st, 15*time.Second)
			result := make(chan playback, 1)
			go func() { result <- play(t, player, s.dashURL(st), 24) }()
			pause(t.Context(), 9*time.Second)
			first.kill()
			s.testcard(st, "--size", "854x480", "--bitrate", "800")
			p := <-result
			if len(p.Fatal) > 0 || p.MediaSpan < 14 || p.Width != 854 {
				t.Errorf("%+v", p)
			}
		})
	}
}

// TestDASHWithoutRoomForRenditions: dash.js chooses a rendition that there is no room for,
// and plays on.
func TestDASHWithoutRoomForRenditions(t *testing.T) {
	s := start(t, "--transcode", "just-in-time", "--transcode-cores", "0.01")
	st := s.create("low")
	s.testcard(st, "--size", "1280x720", "--bitrate", "800", "--frame-rate", "15")
	s.waitPlayable(st, 15*time.Second)
	viewer := s.openDash(st)
	deadline := time.Now().Add(60 * time.Second)
	for !strings.Contains(readManifest(t, viewer).names(), "360p") {
		if time.Now().After(deadline) {
			t.Fatalf("no rendition is listed: %s", readManifest(t, viewer).names())
		}
		pause(t.Context(), 300*time.Millisecond)
	}
	p := play(t, "dash", s.dashURL(st), 15, "--start", "60")
	p.advances(t, "dash.js", 10)
	if p.Width != 1280 || len(p.Errors) > 0 {
		t.Errorf("a width of %d, errors %v", p.Width, p.Errors)
	}
	if pids := s.encoders(); len(pids) != 0 {
		t.Errorf("%d encoders run", len(pids))
	}
	if names := readManifest(t, viewer).names(); strings.Contains(names, "360p") {
		t.Errorf("what there is no room for is still listed: %s", names)
	}
}

// TestDASHEnds: viewers get the end, and who comes after it sees the last window from its
// beginning; ffmpeg decodes that.
func TestDASHEnds(t *testing.T) {
	s := start(t, "--transcode", "off")
	st := s.create("low")
	p := s.testcard(st, "--size", "640x360", "--bitrate", "800", "--duration", "14s")
	s.waitPlayable(st, 15*time.Second)
	viewer := s.openDash(st)
	if m := readManifest(t, viewer); m.Type != "dynamic" {
		t.Errorf("while it is live it is %s", m.Type)
	}
	p.wait(40 * time.Second)
	if status := s.call("POST", "/v1/live-streams/"+st.ID+"/complete", nil, nil); status >= 300 {
		t.Fatalf("completing: %d", status)
	}
	deadline := time.Now().Add(20 * time.Second)
	for readManifest(t, viewer).Type != "static" {
		if time.Now().After(deadline) {
			t.Fatal("the manifest does not end")
		}
		pause(t.Context(), 200*time.Millisecond)
	}
	replay := s.openDash(st)
	if filepath.Base(replay) != "replay.mpd" {
		t.Errorf("who comes late is sent to %s", replay)
	}
	out, errOut, err := run(t, 60*time.Second, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-i", s.dashURL(st), "-f", "null", "-progress", "-", "-")
	if err != nil || complaints(errOut) != "" {
		t.Errorf("ffmpeg: %v\n%s", err, errOut)
	}
	if !strings.Contains(out, "progress=end") || strings.Contains(out, "out_time=00:00:00.000000\nprogress=end") {
		t.Errorf("ffmpeg decoded nothing:\n%s", out)
	}
}
