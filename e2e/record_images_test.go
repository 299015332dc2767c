//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"image"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

var boardCue = regexp.MustCompile(`(\d\d):(\d\d):(\d\d\.\d{3}) --> (\d\d):(\d\d):(\d\d\.\d{3})\n(storyboard-\S+\.jpg)#xywh=(\d+),(\d+),(\d+),(\d+)`)

// TestPicturesOfRecordings: the picture of any moment of a recording shows that moment, by the
// clock in it; a poster shows something; a storyboard covers all, while it is made and after.
func TestPicturesOfRecordings(t *testing.T) {
	beside(t)
	s := start(t)
	st := s.createWith(map[string]any{"latency_mode": "low", "record": true})
	p := s.testcard(st, "--size", "640x360", "--bitrate", "800", "--b-frames", "2")
	s.waitPlayable(st, 15*time.Second)
	a := s.assetOf(st, 30*time.Second, func(a asset) bool { return a.Status == "recording" && a.Duration >= 13 })
	base := s.http + "/images/" + a.PlaybackIDs[0].ID + "/"
	s.boardShows(t, base, a.Duration, true)
	p.stop()
	s.call(http.MethodPost, "/v1/live-streams/"+st.ID+"/complete", nil, nil)
	a = s.assetOf(st, 10*time.Second, recorded)
	first := s.boardShows(t, base, a.Duration, false)
	for _, at := range []float64{0, 4.9, 8, 11.2, a.Duration} {
		clock := readPicture(t, []byte(getText(t, fmt.Sprintf("%sthumbnail.jpg?time=%.1f", base, at))), image.Rectangle{})
		// The testcard has a key frame each 2 s, and the nearest is shown.
		if off := clock.Sub(first).Seconds() - at; off < -2.2 || off > 1.2 {
			t.Errorf("the picture of second %.1f is of second %.2f", at, clock.Sub(first).Seconds())
		}
	}
	readPicture(t, []byte(getText(t, base+"poster.jpg?width=320")), image.Rectangle{})
	// Its last broadcast stands for a stream that is idle.
	live := s.http + "/images/" + st.playbackID() + "/"
	readPicture(t, []byte(getText(t, live+"poster.jpg")), image.Rectangle{})
	if code := s.call(http.MethodDelete, "/v1/assets/"+a.ID, nil, nil); code != http.StatusNoContent {
		t.Fatalf("delete: %d", code)
	}
	for _, name := range []string{"poster.jpg", "storyboard.vtt", "thumbnail.jpg?time=4"} {
		if _, err := fetch(base + name); err == nil {
			t.Errorf("%s is there after the recording was deleted", name)
		}
	}
}

// boardShows reads a storyboard, whose pictures show their moments, and returns the clock of the
// first one.
func (s *server) boardShows(t *testing.T, base string, duration float64, grows bool) (first time.Time) {
	t.Helper()
	index := getText(t, base+"storyboard.vtt")
	cues := boardCue.FindAllStringSubmatch(index, -1)
	if len(cues) < int(duration/2)-1 || strings.Count(index, "-->") != len(cues) {
		t.Fatalf("%d pictures of %.1f s in\n%s", len(cues), duration, index)
	}
	at := func(c []string, i int) float64 {
		return seconds(t, c[i])*3600 + seconds(t, c[i+1])*60 + seconds(t, c[i+2])
	}
	if end := at(cues[len(cues)-1], 4); end < duration-0.1 || !grows && end > duration+0.1 {
		t.Errorf("the storyboard ends at %.2f s of %.2f", end, duration)
	}
	sheets := map[string][]byte{}
	for i, c := range cues {
		if sheets[c[7]] == nil {
			sheets[c[7]] = []byte(getText(t, base+c[7]))
		}
		x, y, w, h := int(seconds(t, c[8])), int(seconds(t, c[9])), int(seconds(t, c[10])), int(seconds(t, c[11]))
		clock := readPicture(t, sheets[c[7]], image.Rect(x, y, x+w, y+h))
		if i == 0 {
			first = clock
		}
		if off := clock.Sub(first).Seconds() - (at(c, 1) - at(cues[0], 1)); off < -0.3 || off > 0.3 {
			t.Errorf("the picture of second %.2f is of second %.2f", at(c, 1), clock.Sub(first).Seconds())
		}
	}
	return first
}

// TestWatchRecording opens the watch page of a recording in Chromium: it plays, shows a small
// picture where the pointer is, and goes there; a live stream with a past is gone back in, from
// real time too, and is watched on when it is over.
func TestWatchRecording(t *testing.T) {
	s := start(t, "--transcode", "just-in-time")
	st := s.createWith(map[string]any{"latency_mode": "low", "record": true, "dvr": "whole", "reconnect_window": 1})
	p := s.testcard(st, "--size", "640x360", "--bitrate", "800")
	s.waitPlayable(st, 15*time.Second)
	a := s.assetOf(st, 60*time.Second, func(a asset) bool { return a.Status == "recording" && a.Duration >= 40 })
	// The script says when it has gone back, so that the broadcast can end.
	browser := encode(t, "node", "browser/recording.mjs", "--live", s.http+"/watch/"+st.playbackID(), "--recording", s.http+"/watch/"+a.PlaybackIDs[0].ID)
	browser.out.wait(t, "went back", 120*time.Second)
	p.stop()
	s.call(http.MethodPost, "/v1/live-streams/"+st.ID+"/complete", nil, nil)
	line := browser.out.wait(t, `"failures"`, 240*time.Second)
	var got struct{ Failures []string }
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	t.Log(line)
	for _, f := range got.Failures {
		t.Error(f)
	}
}
