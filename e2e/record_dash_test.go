//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRecordingOverDASH plays a recording in dash.js and Shaka while it is made and when it is
// over. In between the publisher comes back with another picture, for which a Period begins.
func TestRecordingOverDASH(t *testing.T) {
	beside(t)
	s := start(t)
	st := s.createWith(map[string]any{"latency_mode": "low", "record": true})
	first := s.testcard(st, "--size", "640x360", "--bitrate", "600", "--b-frames", "2")
	s.waitPlayable(st, 15*time.Second)
	a := s.assetOf(st, 30*time.Second, func(a asset) bool { return a.Status == "recording" && a.Duration >= 12 })
	url := fmt.Sprintf("%s/dash/%s/manifest.mpd", s.http, a.PlaybackIDs[0].ID)
	if m := readManifest(t, url); m.Type != "dynamic" {
		t.Errorf("while it is recorded the manifest is %s", m.Type)
	}
	for _, player := range []string{"dash", "shaka"} {
		p := play(t, player, url, 6)
		p.advances(t, player+" while it is recorded", 6)
	}
	first.kill()
	killed := s.assetOf(st, time.Second, func(b asset) bool { return b.ID == a.ID }).Duration
	second := s.testcard(st, "--size", "854x480", "--bitrate", "600")
	s.assetOf(st, time.Minute, func(b asset) bool { return b.ID == a.ID && b.Duration >= killed+16 })
	second.stop()
	s.call(http.MethodPost, "/v1/live-streams/"+st.ID+"/complete", nil, nil)
	a = s.assetOf(st, 10*time.Second, recorded)
	m := readManifest(t, url)
	last := m.Periods[len(m.Periods)-1]
	if m.Type != "static" || len(m.Periods) < 2 || last.Sets[0].Representations[0].Width != 854 {
		t.Fatalf("when it is over it is %+v", m)
	}
	border := seconds(t, strings.TrimSuffix(strings.TrimPrefix(last.Start, "PT"), "S"))
	for _, player := range []string{"dash", "shaka"} {
		p := play(t, player, url, 5)
		p.advances(t, player+" from the beginning", 5)
		if p.Width != 640 || len(p.Errors) > 0 {
			t.Errorf("%s begins with a width of %d, errors %v", player, p.Width, p.Errors)
		}
		p = play(t, player, fmt.Sprintf("%s?start=%.2f", url, border-5), 12)
		if len(p.Fatal) > 0 || p.MediaSpan < 9 || p.Width != 854 {
			t.Errorf("%s over the border, at %.2f s of %.2f: %+v", player, border, a.Duration, p)
		}
	}
}

// contains reports whether a run of pictures is in a longer one.
func contains(all, run []string) bool {
	for i := range all {
		if len(all)-i >= len(run) && len(run) > 0 && slices.Equal(all[i:i+len(run)], run) {
			return true
		}
	}
	return false
}

// TestPartsOfRecordings cuts what is live and what is recorded by an address alone: what comes
// is a run of the pictures that there are, as long as asked for, and the same later.
func TestPartsOfRecordings(t *testing.T) {
	beside(t)
	s := start(t)
	st := s.createWith(map[string]any{"latency_mode": "low", "record": true})
	p := s.testcard(st, "--size", "320x180", "--bitrate", "300", "--b-frames", "2")
	s.waitPlayable(st, 15*time.Second)
	a := s.assetOf(st, 30*time.Second, func(a asset) bool { return a.Status == "recording" && a.Duration >= 14 })
	recording := fmt.Sprintf("%s/hls/%s/index.m3u8", s.http, a.PlaybackIDs[0].ID)
	// The first one is asked for while it goes on, at the live stream's own address, and both
	// by the wall clock, which stays the same.
	child := s.firstMedia(s.hlsURL(st) + "?start=4&end=8.5")
	if !strings.Contains(child, "#EXT-X-PLAYLIST-TYPE:VOD") || !strings.Contains(child, "#EXT-X-ENDLIST") {
		t.Fatalf("a part of what is live:\n%s", child)
	}
	live := pictures(t, s.hlsURL(st)+"?start=4&end=8.5")
	if open := s.firstMedia(s.hlsURL(st) + "?start=-4"); !strings.Contains(open, "#EXT-X-PLAYLIST-TYPE:EVENT") || strings.Contains(open, "#EXT-X-ENDLIST") {
		t.Errorf("a part without an end:\n%s", open)
	}
	play(t, "hls", s.hlsURL(st)+"?start=2", 5).advances(t, "a part that grows", 5)
	for query, words := range map[string]string{
		"?start=x": "neither a number of seconds nor a time", "?start=5&end=4": "is not after the start", "?start=9:00:00": "still to come",
	} {
		if code, text := answerOf(t, s.hlsURL(st)+query); code != http.StatusBadRequest || !strings.Contains(text, words) {
			t.Errorf("%s: %d %s", query, code, text)
		}
	}
	if code, text := answerOf(t, s.hlsURL(s.create("low"))+"?start=0"); code != http.StatusNotFound || !strings.Contains(text, "nothing of the live stream is recorded") {
		t.Errorf("of what is not recorded: %d %s", code, text)
	}
	p.stop()
	s.call(http.MethodPost, "/v1/live-streams/"+st.ID+"/complete", nil, nil)
	a = s.assetOf(st, 10*time.Second, recorded)
	whole := pictures(t, recording)
	if got := pictures(t, recording+"?start=4&end=8.5"); !slices.Equal(got, live) {
		t.Errorf("there were %d pictures, and later %d others", len(live), len(got))
	}
	for _, cut := range []struct {
		query    string
		from, to float64
	}{{"?start=4&end=8.5", 4, 8.5}, {"?start=-3", a.Duration - 3, a.Duration}, {"?end=2.5", 0, 2.5}} {
		got := pictures(t, recording+cut.query)
		// Snapped to segments: it has all that was asked for, and at most two segments more.
		n := float64(len(got)) / 30
		if !contains(whole, got) || n < cut.to-cut.from-0.1 || n > cut.to-cut.from+2*2.5 {
			t.Errorf("%s: %d pictures", cut.query, len(got))
			continue
		}
		at := slices.Index(whole, got[0])
		if begin := float64(at) / 30; begin > cut.from+0.1 || begin+n < cut.to-0.1 {
			t.Errorf("%s: %.2f s from %.2f s on", cut.query, n, begin)
		}
	}
	// The same over DASH.
	dash := strings.ReplaceAll(strings.ReplaceAll(recording, "/hls/", "/dash/"), "index.m3u8", "manifest.mpd")
	for _, query := range []string{"", "?start=4&end=8.5"} {
		if got, want := pictures(t, dash+query), pictures(t, recording+query); !slices.Equal(got, want) {
			t.Errorf("over DASH %q has %d pictures, over HLS %d", query, len(got), len(want))
		}
	}
	play(t, "hls", recording+"?start=4&end=12", 4).advances(t, "a part of what is over", 4)
}

// TestHolesOfRecordings: a smaller picture that was made for a while has the source's
// everywhere else, and hls.js and ffmpeg go from one to the other.
func TestHolesOfRecordings(t *testing.T) {
	s := start(t, "--transcode", "just-in-time", "--transcode-hardware=false", "--transcode-idle", "4s")
	st := s.createWith(map[string]any{"latency_mode": "low", "record": true})
	p := s.testcard(st, "--size", "1280x720", "--bitrate", "800", "--frame-rate", "15")
	s.waitPlayable(st, 15*time.Second)
	rung := s.rung(st, 360)
	name := strings.Split(strings.TrimPrefix(rung, s.http+"/hls/"), "/")[2]
	for begun := time.Now(); time.Since(begun) < 7*time.Second; pause(t.Context(), 500*time.Millisecond) {
		_, _ = fetch(rung) // somebody watches
	}
	s.waitEncoders(0, 20*time.Second)
	pause(t.Context(), 8*time.Second)
	p.stop()
	s.call(http.MethodPost, "/v1/live-streams/"+st.ID+"/complete", nil, nil)
	a := s.assetOf(st, 10*time.Second, recorded)
	url := fmt.Sprintf("%s/hls/%s/0123456789abcdef/%s/index.m3u8", s.http, a.PlaybackIDs[0].ID, name)
	text := getText(t, url)
	own, source := 0, 0
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "../v0/"):
			source++
		default:
			own++
		}
	}
	if own < 2 || source < 3 || strings.Contains(text, "#EXT-X-GAP") || strings.Count(text, "#EXT-X-MAP") < 2 {
		t.Fatalf("%d segments are its own, %d the source's:\n%s", own, source, text)
	}
	w := play(t, "hls", url, int(a.Duration)+2)
	if len(w.Fatal) > 0 || w.MediaSpan < a.Duration-2 || w.FreezeMs > 1500 {
		t.Errorf("hls.js: %+v", w)
	}
	out, errOut, err := run(t, time.Minute, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", url)
	if err != nil || complaints(errOut) != "" {
		t.Errorf("ffprobe: %v\n%s", err, errOut)
	} else if d := seconds(t, strings.TrimSpace(out)); d < a.Duration-0.3 || d > a.Duration+0.3 {
		t.Errorf("it is %.2f s long, and the asset %.2f s", d, a.Duration)
	}
}

// answerOf fetches what may be an error.
func answerOf(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}
