package record_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"onair/internal/fault"
	"onair/internal/record"
	"onair/internal/record/recordtest"
)

func folder(t testing.TB, dir string) *record.Folder {
	t.Helper()
	f, err := record.NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // twice in some tests
	return f
}

func TestFolderIsAStorage(t *testing.T) {
	recordtest.Storage(t, func(t *testing.T) record.Storage { return folder(t, t.TempDir()) })
}

// Two servers by mistake on one folder.
func TestFolderIsOneServers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	f := folder(t, dir)
	_, err := record.NewFolder(dir)
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a second one opens it: %v", err)
	}
	if err := f.Put(t.Context(), "a/b", nil); err != nil {
		t.Errorf("the first one is disturbed: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	folder(t, dir)
}

func TestFolderThatIsMissing(t *testing.T) {
	if _, err := record.NewFolder(filepath.Join(t.TempDir(), "a", "b")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a folder without a parent: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "recordings")
	f := folder(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(t.Context(), "a/b", [][]byte{[]byte("x")}); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("put: %v", err)
	}
	if _, err := f.Append("a/index.log"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("append: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made, on whatever disk is there now")
	}
}

func TestFolderRemovesWhatWasNotWhole(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".tmp-1-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder(t, dir)
	if _, err := os.Stat(filepath.Join(dir, ".tmp-1-1")); err == nil {
		t.Error("it is still there")
	}
}
