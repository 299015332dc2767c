package mediatest

import (
	"os"
	"os/exec"
	"testing"
)

// Program returns the path of a program that a test runs, such as "ffmpeg". The test is
// skipped where it is not installed, and fails instead where CI is "true": make test
// installs it.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, though make test installs it (scripts/setup.sh)", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}
