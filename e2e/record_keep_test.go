//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestWhatIsKeptOfRecordings follows a stream that keeps next to nothing over a broadcast:
// players are told how far back they can go, then of the recording; a look tells what would
// be removed, and the next start removes it.
func TestWhatIsKeptOfRecordings(t *testing.T) {
	beside(t)
	data := t.TempDir()
	s := start(t, "--data", data)
	st := s.createWith(map[string]any{"record": true, "dvr": "whole", "reconnect_window": 0, "retention": map[string]any{"bytes": 1}})
	type playback struct {
		Status string   `json:"status"`
		DVR    *float64 `json:"dvr"`
		Replay *struct {
			PlaybackID string `json:"playback_id"`
			HLSURL     string `json:"hls_url"`
		} `json:"replay"`
	}
	// player asks as a player does until it is told what is wanted.
	player := func(what string, wanted func(playback) bool) (p playback) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; pause(t.Context(), 200*time.Millisecond) {
			if code := s.call(http.MethodGet, "/v1/playback/"+st.playbackID(), nil, &p); code != http.StatusOK {
				t.Fatalf("the player is answered %d", code)
			}
			if wanted(p) {
				return p
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: the player is told %+v", what, p)
			}
		}
	}
	card := s.testcard(st, "--size", "320x180", "--bitrate", "300")
	if p := player("on the air", func(p playback) bool { return p.DVR != nil && *p.DVR > 2 }); p.Replay != nil {
		t.Errorf("a replay during the broadcast: %+v", p)
	}
	card.stop()
	a := s.assetOf(st, 20*time.Second, recorded)
	p := player("after the broadcast", func(p playback) bool { return p.Replay != nil })
	if p.Replay.PlaybackID != a.PlaybackIDs[0].ID || p.DVR != nil {
		t.Errorf("the replay is %+v of asset %+v, dvr %v", p.Replay, a, p.DVR)
	}
	watch := func() int {
		res, err := http.Get(s.http + p.Replay.HLSURL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if code := watch(); code != http.StatusOK {
		t.Errorf("the replay answers %d", code)
	}
	var look struct {
		SizeBytes    int64 `json:"size_bytes"`
		ExpiredBytes int64 `json:"expired_bytes"`
		Expired      []struct {
			AssetID string `json:"asset_id"`
			Reason  string `json:"reason"`
		} `json:"expired"`
	}
	if code := s.call(http.MethodGet, "/v1/live-streams/"+st.ID+"/storage", nil, &look); code != http.StatusOK || len(look.Expired) != 1 ||
		look.Expired[0].AssetID != a.ID || look.Expired[0].Reason != "bytes" || look.SizeBytes != a.SizeBytes || look.ExpiredBytes != a.SizeBytes {
		t.Errorf("%d: a look tells %+v of asset %+v", code, look, a)
	}
	folder := filepath.Join(data, "recordings", a.ID)
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("a look changed something: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}

	s = start(t, "--data", data)
	s.waitAsset(a.ID, "deleted", 10*time.Second)
	for deadline := time.Now().Add(10 * time.Second); ; pause(t.Context(), 100*time.Millisecond) {
		_, err := os.Stat(folder)
		if os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the recording stays: %v", err)
		}
	}
	if code := watch(); code != http.StatusNotFound {
		t.Errorf("the replay answers %d when it is gone", code)
	}
	if p := player("when it is gone", func(playback) bool { return true }); p.Replay != nil {
		t.Errorf("the player is sent to %+v", p.Replay)
	}
}

// waitAsset waits until an asset has a status.
func (s *server) waitAsset(id, status string, limit time.Duration) {
	s.t.Helper()
	var a asset
	for deadline := time.Now().Add(limit); a.Status != status; pause(s.t.Context(), 100*time.Millisecond) {
		if code := s.call(http.MethodGet, "/v1/assets/"+id, nil, &a); code != http.StatusOK {
			s.t.Fatalf("the asset is answered %d", code)
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the asset is %s and not %s after %v", a.Status, status, limit)
		}
	}
}
