//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"
	"time"
)

// postgres starts a throw-away PostgreSQL on a Unix socket and returns its URL.
func postgres(t *testing.T) string {
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
	as("pg_ctl", "-D", data, "-w", "-l", filepath.Join(dir, "log"), "-o", "-c listen_addresses='' -k "+dir, "start")
	t.Cleanup(func() { as("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop") })
	as("createdb", "-h", dir, "-U", "onair", "onair")
	return "postgres://onair@/onair?host=" + dir
}

// TestPostgreSQL runs the store's conformance suite on PostgreSQL, and a server on it.
func TestPostgreSQL(t *testing.T) {
	beside(t)
	url := postgres(t)
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
