//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemo runs the README's first command on ports of its own: a picture is playing on
// the page it prints within ten seconds of the server being up.
func TestDemo(t *testing.T) {
	cmd := exec.Command("make", "demo")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "ONAIR_HTTP=127.0.0.1:0", "ONAIR_RTMP=127.0.0.1:0", "ONAIR_DATA="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := newLines()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait(); out.close() }()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			t.Error("make demo does not stop")
		}
		if t.Failed() {
			t.Log(out.tail(30))
		}
	})
	out.wait(t, "ready", 5*time.Minute)
	ready := time.Now()
	line := out.wait(t, "/watch/", 10*time.Second)
	page := regexp.MustCompile(`http://\S+/watch/\S+`).FindString(line)
	stdout, stderr, err := run(t, time.Minute, "node", "browser/demo.mjs", "--page", page)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	t.Logf("the picture moved %v after the server was up; %s", time.Since(ready).Round(time.Millisecond), strings.TrimSpace(stdout))
	if took := time.Since(ready); took > 10*time.Second {
		t.Errorf("the picture moved only %v after the server was up", took)
	}
}

// TestReadmeCommands sends a file with the command that the README gives.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^ffmpeg .*$`).FindString(string(readme))
	if command == "" {
		t.Fatal("the README has no ffmpeg command")
	}
	s := start(t)
	st := s.create("low")
	film := t.TempDir() + "/film.mp4"
	if _, errOut, err := run(t, time.Minute, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30",
		"-f", "lavfi", "-i", "sine", "-t", "20", "-c:v", "libx264", "-g", "60", "-pix_fmt", "yuv420p", "-c:a", "aac", film); err != nil {
		t.Fatalf("%v\n%s", err, errOut)
	}
	command = strings.NewReplacer("film.mp4", film, "rtmp://HOST/live/KEY", s.publishURL(st)).Replace(command)
	args := strings.Fields(command)
	encode(t, args[0], args[1:]...)
	s.waitStatus(st, "active", 10*time.Second)
	s.decodes(t, st, "5")
}
