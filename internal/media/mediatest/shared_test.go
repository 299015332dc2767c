package mediatest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recorder is a test that tells how it was stopped.
type recorder struct {
	testing.TB
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) { panic("skip: " + fmt.Sprintf(format, args...)) }

func (r *recorder) Fatalf(format string, args ...any) { panic("fail: " + fmt.Sprintf(format, args...)) }

func stopped(t *testing.T, rel string) (how string) {
	defer func() {
		if v := recover(); v != nil {
			how = fmt.Sprint(v)
		}
	}()
	SharedFile(&recorder{TB: t}, rel)
	return "found"
}

func TestSharedFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "media", "flv"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "media", "flv", "a.flv"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ONAIR_SHARED", dir)
	t.Setenv("CI", "")
	if how := stopped(t, "flv/a.flv"); how != "found" {
		t.Errorf("a file that is there: %s", how)
	}
	if how := stopped(t, "flv/b.flv"); !strings.HasPrefix(how, "skip: ") || !strings.Contains(how, "ONAIR_SHARED") {
		t.Errorf("a missing file: %s", how)
	}
	t.Setenv("CI", "true")
	if how := stopped(t, "flv/b.flv"); !strings.HasPrefix(how, "fail: ") {
		t.Errorf("a missing file in CI: %s", how)
	}
}
