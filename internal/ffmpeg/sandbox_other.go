//go:build !linux

package ffmpeg

import (
	"os/exec"
	"time"
)

// sandbox is what of its surroundings is taken from a child: nothing here.
type sandbox struct{ user, network bool }

func sandboxes(Config) []sandbox { return []sandbox{{}} }

func (sandbox) confine(*exec.Cmd, bool) {}

func limit(int, Config, bool) error { return nil }

func allow(int, time.Duration) {}

func kill(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func usage(int) (cpu time.Duration, resident int64, ok bool) { return 0, 0, false }
