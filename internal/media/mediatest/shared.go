// Package mediatest makes media for tests: deterministic audio and video that looks
// like an encoder's, and the way to shared sample files.
package mediatest

import (
	"os"
	"path/filepath"
	"testing"
)

// SharedFile returns the path of a file of the shared sample media, such as
// "flv-rtmp/bbb.flv". The folder is $ONAIR_SHARED, or "../shared" next to the
// repository, and its "media" inside. The test is skipped when the file is absent,
// and fails instead where CI is "true".
func SharedFile(t testing.TB, rel string) string {
	t.Helper()
	path := filepath.Join(sharedDir(t), "media", filepath.FromSlash(rel))
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("sample media %s is missing: %v (set ONAIR_SHARED to the folder that holds media/)", rel, err)
		}
		t.Skipf("sample media %s is not here (set ONAIR_SHARED to the folder that holds media/)", rel)
	}
	return path
}

func sharedDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("ONAIR_SHARED"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(filepath.Dir(dir), "shared")
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
}
