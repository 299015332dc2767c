package record

import (
	"os"
	"testing"
)

// copyDir copies a folder, if there is one.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	if dir == "" {
		return ""
	}
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// restoreDir puts a copy back.
func restoreDir(t *testing.T, from, dir string) {
	t.Helper()
	if dir == "" {
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
