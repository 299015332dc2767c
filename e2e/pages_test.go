//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestPages clicks through the pages. The screenshots are kept in .cache/shots, to be
// looked at.
func TestPages(t *testing.T) {
	shots, err := filepath.Abs("../.cache/shots")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(shots, 0o755); err != nil {
		t.Fatal(err)
	}
	s := start(t)
	out, errOut, err := run(t, 5*time.Minute, "node", "browser/pages.mjs", "--base", s.http, "--token", adminToken,
		"--publish", program(t), "--rtmp", s.rtmp, "--shots", shots)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errOut)
	}
	var result struct {
		Failures []string
		Delays   map[string]struct {
			PictureMs, ShownMs *float64
			Frames             int
		}
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	t.Log(out)
	for _, f := range result.Failures {
		t.Error(f)
	}
	for look, d := range result.Delays {
		switch {
		case d.PictureMs == nil || d.ShownMs == nil:
			t.Errorf("%s: no delay was measured (%d frames)", look, d.Frames)
		case *d.PictureMs > 3000:
			t.Errorf("%s: the picture is %.0f ms old", look, *d.PictureMs)
		case *d.ShownMs < *d.PictureMs-1000 || *d.ShownMs > *d.PictureMs+1000:
			t.Errorf("%s: the page says %.0f ms, the picture %.0f ms", look, *d.ShownMs, *d.PictureMs)
		}
	}
}
