//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWatchInRealTime opens the watch page of a stream with AAC, which real time needs as
// Opus: it starts over WebRTC, plays the quality that is chosen, follows the server to HLS
// and back without a black picture, and plays HLS where no media port can be reached.
func TestWatchInRealTime(t *testing.T) {
	s := start(t, "--transcode", "just-in-time", "--transcode-cores", "2")
	st := s.create("low")
	s.testcard(st)
	s.waitStatus(st, "active", 15*time.Second)
	s.waitPlayable(st, 20*time.Second)
	out, errOut, err := run(t, 6*time.Minute, "node", "browser/watch.mjs", "--base", s.http, "--token", adminToken,
		"--stream", st.ID, "--playback", st.playbackID())
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errOut)
	}
	type stats struct {
		Way, State, Codec, Connection string
		Reason                        string `json:"way_reason"`
		Code                          string `json:"way_code"`
	}
	var result struct {
		Failures       []string
		FirstPictureMs float64
		Realtime       struct {
			PictureMs, ShownMs *float64
			Frames             int
		}
		First, Moved, Back, Blocked stats
		Qualities                   []string
		Black                       int
		BlockedMs, BlockedAfterMs   float64
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	t.Log(out)
	for _, f := range result.Failures {
		t.Error(f)
	}
	if t.Failed() {
		return
	}
	if r := result.Realtime; r.PictureMs == nil || r.ShownMs == nil || *r.PictureMs > 1500 || *r.ShownMs > *r.PictureMs+500 {
		t.Errorf("in real time the picture is %v ms old, the page says %v ms (%d frames)", deref(r.PictureMs), deref(r.ShownMs), r.Frames)
	}
	if result.First.Way != "webrtc" || !strings.Contains(result.First.Connection, "connected over") {
		t.Errorf("it began with %+v", result.First)
	}
	if !strings.Contains(strings.ToLower(result.First.Codec), "opus") {
		t.Errorf("there is no sound in real time: %q", result.First.Codec)
	}
	for _, want := range []string{"720p", "480p", "360p", "Audio only"} {
		if !slices.Contains(result.Qualities, want) {
			t.Errorf("the menu has %q, without %s", result.Qualities, want)
		}
	}
	if result.Moved.Way != "hls" || result.Moved.Reason == "" || result.Back.Way != "webrtc" {
		t.Errorf("it moved to %+v and back to %+v", result.Moved, result.Back)
	}
	if result.Black > 0 {
		t.Errorf("%d pictures were black during the moves", result.Black)
	}
	// The addresses of documentation (RFC 5737) lead nowhere, as a blocked port does.
	far := start(t, "--transcode", "just-in-time", "--transcode-cores", "2", "--webrtc-hosts", "192.0.2.1")
	hidden := far.create("low")
	far.testcard(hidden)
	far.waitStatus(hidden, "active", 15*time.Second)
	far.waitPlayable(hidden, 20*time.Second)
	// The first server's encoders would go on for half a minute, beside the browser.
	s.stop()
	out, errOut, err = run(t, 2*time.Minute, "node", "browser/watch.mjs", "--blocked", far.http+"/watch/"+hidden.playbackID())
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errOut)
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, f := range result.Failures {
		t.Error(f)
	}
	// From the page's offer to the picture over HLS.
	t.Logf("without WebRTC the first picture came %.0f ms after the offer, %.0f ms after the page was opened", result.BlockedAfterMs, result.BlockedMs)
	if result.BlockedAfterMs > 4000 || !strings.HasPrefix(result.Blocked.Code, "blocked") {
		t.Errorf("without WebRTC the first picture came %.0f ms after the offer: %+v", result.BlockedAfterMs, result.Blocked)
	}
}

func deref(v *float64) any {
	if v == nil {
		return nil
	}
	return *v
}
