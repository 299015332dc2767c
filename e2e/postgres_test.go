//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"
	"time"
)

// postgres starts a throw-away PostgreSQL on a Unix socket and returns its URL, and what stops
// and starts it, as "stop" and "start".
func postgres(t *testing.T) (url string, switched func(string)) {
	t.Helper()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	sort.Strings(bins)
	bin := func(name string) string {
		if len(bins) > 0 {
			return filepath.Join(bins[len(bins)-1], name)
		}
		return name
	}
	dir, err := os.MkdirTemp("", "onair-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// PostgreSQL refuses to run as root; its own user then does it.
	as := func(name string, args ...string) {
		t.Helper()
		if os.Getuid() == 0 {
			args = append([]string{"-u", "postgres", "--", bin(name)}, args...)
			name = "runuser"
		} else {
			name = bin(name)
		}
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	if os.Getuid() == 0 {
		if out, err := exec.Command("chown", "postgres", dir).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v\n%s", err, out)
		}
	}
	data := filepath.Join(dir, "data")
	as("initdb", "-D", data, "-U", "onair", "-A", "trust", "--no-sync", "-E", "UTF8")
	switched = func(to string) {
		if to == "start" {
			as("pg_ctl", "-D", data, "-w", "-l", filepath.Join(dir, "log"), "-o", "-c listen_addresses='' -k "+dir, "start")
			return
		}
		as("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
	}
	switched("start")
	t.Cleanup(func() { switched("stop") })
	as("createdb", "-h", dir, "-U", "onair", "onair")
	return "postgres://onair@/onair?host=" + dir, switched
}

// TestRecordingOutlivesDatabase stops the database while a broadcast is recorded, and starts it
// when the broadcast is over: viewers notice nothing, and the asset is as long as what was sent.
func TestRecordingOutlivesDatabase(t *testing.T) {
	beside(t)
	url, switched := postgres(t)
	s := start(t, "--database", url)
	st := s.createWith(map[string]any{"latency_mode": "low", "record": true, "reconnect_window": 1})
	p := s.testcard(st, "--size", "320x180", "--bitrate", "300")
	s.waitPlayable(st, 15*time.Second)
	s.assetOf(st, 15*time.Second, func(a asset) bool { return a.Status == "recording" && a.Duration >= 2 })
	before := s.firstMedia(s.hlsURL(st))
	switched("stop")
	pause(t.Context(), 6*time.Second)
	if after := s.firstMedia(s.hlsURL(st)); after == before {
		t.Error("the live stream stands still without the database")
	}
	p.stop()
	pause(t.Context(), 3*time.Second)
	switched("start")
	a := s.assetOf(st, 20*time.Second, recorded)
	if a.Duration < 8 {
		t.Errorf("the asset has %.1f s", a.Duration)
	}
	var ready struct {
		Data []asset `json:"data"`
	}
	for deadline := time.Now().Add(20 * time.Second); len(ready.Data) == 0; pause(t.Context(), 200*time.Millisecond) {
		s.call(http.MethodGet, "/v1/assets?status=ready&live_stream_id="+st.ID, nil, &ready)
		if time.Now().After(deadline) {
			t.Fatal("the database is not told that the asset is ready")
		}
	}
}

// TestPostgreSQL runs the store's conformance suite on PostgreSQL, and a server on it.
func TestPostgreSQL(t *testing.T) {
	beside(t)
	url, _ := postgres(t)
	t.Run("conformance", func(t *testing.T) {
		cmd := exec.Command("go", "test", "-count", "1", "-v", "-run", "PostgreSQL", "./internal/control/store/...")
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "ONAIR_TEST_POSTGRES="+url)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		says(t, "the suite", string(out), "--- PASS: TestPostgreSQL")
	})
	t.Run("server", func(t *testing.T) {
		s := start(t, "--database", url)
		st := s.create("low")
		s.testcard(st, "--size", "320x180", "--bitrate", "300")
		s.decodes(t, st, "4")
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		again := start(t, "--database", url)
		if got := again.get(st.ID); got.StreamKey != st.StreamKey {
			t.Error("the stream is not the same after a restart")
		}
		again.waitStatus(st, "idle", 5*time.Second)
	})
}
