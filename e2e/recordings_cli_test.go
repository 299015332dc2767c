//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRecordingsCommand looks at recordings beside the server that makes them, repairs one of
// which a segment is missing, and writes it into a file.
func TestRecordingsCommand(t *testing.T) {
	beside(t)
	data := t.TempDir()
	recordings := func(args ...string) (out, errOut string, err error) {
		t.Helper()
		return run(t, time.Minute, program(t), append([]string{"recordings", args[0], "--data", data}, args[1:]...)...)
	}
	s := start(t, "--data", data)
	if out, errOut, err := recordings("list"); err != nil || out != "" || !strings.Contains(errOut, "no recordings yet") {
		t.Errorf("without any: %v, %q, %q", err, out, errOut)
	}
	st := s.createWith(map[string]any{"latency_mode": "low", "record": true})
	p := s.testcard(st, "--size", "320x180", "--bitrate", "300")
	s.assetOf(st, 20*time.Second, func(a asset) bool { return a.Duration >= 9 })
	if out, errOut, err := recordings("list"); err != nil || !strings.Contains(out, st.ID) || !strings.Contains(out, "recording") {
		t.Errorf("while it is recorded: %v, %q, %q", err, out, errOut)
	}
	if out, errOut, err := recordings("verify", "--deep"); err != nil || !strings.Contains(out, "ok") {
		t.Errorf("while it is recorded: %v, %q, %q", err, out, errOut)
	}
	if out, errOut, err := recordings("repair"); err == nil || !strings.Contains(errOut, "another server") {
		t.Errorf("repair beside the server: %v, %q, %q", err, out, errOut)
	}
	p.stop()
	s.call(http.MethodPost, "/v1/live-streams/"+st.ID+"/complete", nil, nil)
	a := s.assetOf(st, 10*time.Second, recorded)
	url := fmt.Sprintf("%s/hls/%s/index.m3u8", s.http, a.PlaybackIDs[0].ID)
	whole := pictures(t, url)

	file := filepath.Join(t.TempDir(), "whole.mp4")
	if out, errOut, err := recordings("export", a.ID, file); err != nil || !strings.Contains(out, file) {
		t.Fatalf("export: %v, %q, %q", err, out, errOut)
	}
	if got := pictures(t, file); !slices.Equal(got, whole) {
		t.Errorf("the file has %d pictures, the segments %d, and they are not the same", len(got), len(whole))
	}
	if _, errOut, err := recordings("export", a.ID, file); err == nil || !strings.Contains(errOut, "there already") {
		t.Errorf("export over a file: %v, %q", err, errOut)
	}
	if _, errOut, err := recordings("export", "as_none", filepath.Join(t.TempDir(), "none.mp4")); err == nil || !strings.Contains(errOut, "as_none") {
		t.Errorf("export nothing: %v, %q", err, errOut)
	}

	segments, err := filepath.Glob(filepath.Join(data, "recordings", a.ID, "v0", "s*.m4s"))
	if err != nil || len(segments) < 4 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	slices.Sort(segments)
	if err := os.Remove(segments[1]); err != nil {
		t.Fatal(err)
	}
	// The segment is missing, and nothing else: the server goes on, and serves the others.
	out, errOut, err := recordings("verify")
	if err == nil || !strings.Contains(out, "missing") || !strings.Contains(out, filepath.Base(segments[1])) || !strings.Contains(errOut, "repair") {
		t.Errorf("verify: %v, %q, %q", err, out, errOut)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if out, errOut, err := recordings("repair", a.ID); err != nil || !strings.Contains(out, filepath.Base(segments[1])) {
		t.Fatalf("repair: %v, %q, %q", err, out, errOut)
	}
	if out, errOut, err := recordings("verify", "--deep"); err != nil {
		t.Errorf("after it was repaired: %v, %q, %q", err, out, errOut)
	}
	again := start(t, "--data", data)
	text := again.firstMedia(fmt.Sprintf("%s/hls/%s/index.m3u8", again.http, a.PlaybackIDs[0].ID))
	if strings.Count(text, "#EXT-X-GAP") != 1 || strings.Contains(text, filepath.Base(segments[1])) {
		t.Errorf("the playlist after it was repaired:\n%s", text)
	}
	if code, mp4 := again.download(a, ""); code != http.StatusOK || len(mp4) == 0 {
		t.Errorf("download after it was repaired: %d", code)
	}
}
