package ffmpeg

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/media"
)

// shim is what the test binary does when it is called like one of these programs, which
// all misbehave. It reports whether it did.
func shim() bool {
	name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "shim-")
	if !ok {
		return false
	}
	out := os.NewFile(firstOutput, "out")
	forever := func() { <-time.After(time.Hour) }
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGPIPE)
	switch name {
	case "sleeps": // reads nothing
		forever()
	case "swallows": // reads everything, gives nothing
		_, _ = io.Copy(io.Discard, os.Stdin)
		forever()
	case "floods": // as many complaints as it can
		line := bytes.Repeat([]byte("[h264 @ 0x1] [error] it is all wrong\n"), 4000)
		for {
			_, _ = os.Stderr.Write(line)
		}
	case "garbles":
		_, _ = out.Write(bytes.Repeat([]byte("garbage "), 1000))
		_, _ = io.Copy(io.Discard, os.Stdin)
		forever()
	case "breaks": // a header that breaks off
		_, _ = out.Write([]byte("\x00\x00\x00\x10ftypiso6\x00\x00\x00\x00\x00\x00\x10\x00moov"))
		os.Exit(0)
	case "exits":
		os.Exit(0)
	case "refuses":
		_, _ = fmt.Fprintln(os.Stderr, "[libx264 @ 0x5] [error] broken\n[error] Error while opening encoder for output stream #0:0")
		os.Exit(1)
	case "crashes":
		_, _ = io.ReadFull(os.Stdin, make([]byte, 1000))
		signal.Reset()
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		forever()
	case "spawns":
		cmd := exec.Command(filepath.Join(filepath.Dir(os.Args[0]), "shim-sleeps"))
		cmd.ExtraFiles, cmd.Stderr = []*os.File{out}, os.Stderr
		if err := cmd.Start(); err == nil {
			_, _ = fmt.Fprintf(os.Stderr, "[error] %d\n", cmd.Process.Pid)
		}
		forever()
	}
	return true
}

// shimTool is a Tool over a program that misbehaves. Its encoder counts as hardware, for
// which memory is not bounded: the race detector needs more than any ffmpeg.
func shimTool(t *testing.T, name string) *Tool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, n := range []string{name, "sleeps"} {
		if err := os.Symlink(self, filepath.Join(dir, "shim-"+n)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	cfg := DefaultConfig()
	cfg.StartTimeout, cfg.StallTimeout = time.Second, time.Second
	return &Tool{
		cfg: cfg, path: filepath.Join(dir, "shim-"+name), log: slog.New(slog.DiscardHandler), metrics: newMetrics(prometheus.NewRegistry()),
		worn:     wornOut,
		decoders: map[media.Codec]string{media.H264: "h264", media.VP8: "vp8", media.AAC: "aac"},
		encoders: []Encoder{{Name: "libx264", Codec: media.H264, Hardware: true}, {Name: "libopus", Codec: media.Opus}},
	}
}

// children are the processes whose parent we are, dead ones too.
func children(t *testing.T) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(names) == 0 {
		t.Skip("there is no /proc here")
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		var pid, parent int
		var state string
		_, _ = fmt.Sscan(string(b), &pid)
		_, _ = fmt.Sscan(string(b[bytes.LastIndexByte(b, ')')+1:]), &state, &parent)
		if parent == os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// files counts what we have open.
func files(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("there is no /proc here")
	}
	return len(names)
}
