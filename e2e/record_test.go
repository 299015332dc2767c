//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// asset is what the tests read of one.
type asset struct {
	ID          string  `json:"id"`
	Status      string  `json:"status"`
	Duration    float64 `json:"duration"`
	SizeBytes   int64   `json:"size_bytes"`
	Error       string  `json:"error"`
	DownloadURL string  `json:"download_url"`
	PlaybackIDs []struct {
		ID string `json:"id"`
	} `json:"playback_ids"`
	Tracks []struct {
		Kind  string `json:"kind"`
		Codec string `json:"codec"`
	} `json:"tracks"`
}

// assetOf waits for an asset of a stream that is so far.
func (s *server) assetOf(st stream, limit time.Duration, far func(asset) bool) asset {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	var list struct {
		Data []asset `json:"data"`
	}
	for {
		if code := s.call(http.MethodGet, "/v1/assets?live_stream_id="+st.ID, nil, &list); code != http.StatusOK {
			s.t.Fatalf("list the assets: %d", code)
		}
		for _, a := range list.Data {
			if far(a) {
				return a
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no such asset after %v: %+v", limit, list.Data)
		}
		pause(s.t.Context(), 100*time.Millisecond)
	}
}

func recorded(a asset) bool { return a.Status == "ready" }

// download fetches an asset's file, with the administrator's token.
func (s *server) download(a asset, spec string) (int, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.http+"/v1/assets/"+a.ID+"/download.mp4", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	if spec != "" {
		req.Header.Set("Range", spec)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, b
}

var frameHash = regexp.MustCompile(`(?m)^0,.*, ([0-9a-f]{32})$`)

// pictures returns the hashes of all decoded pictures, in order.
func pictures(t *testing.T, input string) []string {
	t.Helper()
	out, errOut, err := run(t, time.Minute, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-i", input, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-")
	if err != nil || strings.TrimSpace(errOut) != "" {
		t.Fatalf("decode %s: %v\n%s", input, err, errOut)
	}
	var hashes []string
	for _, m := range frameHash.FindAllStringSubmatch(out, -1) {
		hashes = append(hashes, m[1])
	}
	return hashes
}

// TestRecording records a broadcast: it can be watched while it runs and when it is over, and
// its file has the frames of its segments.
func TestRecording(t *testing.T) {
	beside(t)
	s := start(t)
	st := s.createWith(map[string]any{"latency_mode": "low", "record": true})
	p := s.testcard(st, "--size", "640x360", "--bitrate", "600", "--b-frames", "2")
	s.waitPlayable(st, 15*time.Second)
	a := s.assetOf(st, 15*time.Second, func(a asset) bool { return a.Status == "recording" && a.Duration >= 4 })
	url := fmt.Sprintf("%s/hls/%s/index.m3u8", s.http, a.PlaybackIDs[0].ID)
	text := getText(t, url)
	if !strings.Contains(text, "#EXT-X-STREAM-INF") {
		t.Fatalf("while it is recorded:\n%s", text)
	}
	if text = s.firstMedia(url); !strings.Contains(text, "#EXT-X-PLAYLIST-TYPE:EVENT") || strings.Contains(text, "#EXT-X-ENDLIST") {
		t.Errorf("while it is recorded:\n%s", text)
	}
	p.stop()
	s.call(http.MethodPost, "/v1/live-streams/"+st.ID+"/complete", nil, nil)
	a = s.assetOf(st, 10*time.Second, recorded)
	if text = s.firstMedia(url); !strings.Contains(text, "#EXT-X-PLAYLIST-TYPE:VOD") || !strings.Contains(text, "#EXT-X-ENDLIST") {
		t.Errorf("when it is over:\n%s", text)
	}
	want := pictures(t, url)
	if n := float64(len(want)) / 30; n < a.Duration-1 || n > a.Duration+1 {
		t.Errorf("%d pictures, and the asset has %.2f s", len(want), a.Duration)
	}
	code, file := s.download(a, "")
	if code != http.StatusOK {
		t.Fatalf("download: %d %s", code, file)
	}
	name := filepath.Join(t.TempDir(), "download.mp4")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := pictures(t, name); !slices.Equal(got, want) {
		t.Errorf("the file has %d pictures, the segments %d, and they are not the same", len(got), len(want))
	}
	for range 20 {
		from := rand.IntN(len(file))
		to := from + rand.IntN(len(file)-from)
		code, part := s.download(a, fmt.Sprintf("bytes=%d-%d", from, to))
		if code != http.StatusPartialContent || !bytes.Equal(part, file[from:to+1]) {
			t.Errorf("bytes %d to %d: %d, %d bytes", from, to, code, len(part))
		}
	}
	// A player begins at the beginning, and its picture moves.
	w := play(t, "hls", url, 4)
	w.advances(t, "hls.js", 4)
	// It is gone for everybody when it is deleted.
	if code := s.call(http.MethodDelete, "/v1/assets/"+a.ID, nil, nil); code != http.StatusNoContent {
		t.Errorf("delete: %d", code)
	}
	if _, err := fetch(url); err == nil {
		t.Error("it can be watched after it was deleted")
	}
}

// firstMedia returns the first rendition's playlist.
func (s *server) firstMedia(url string) string {
	s.t.Helper()
	lines := strings.Split(getText(s.t, url), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "#EXT-X-STREAM-INF:") {
			return getText(s.t, url[:strings.LastIndexByte(url, '/')+1]+lines[i+1])
		}
	}
	s.t.Fatalf("no rendition is listed: %v", lines)
	return ""
}
