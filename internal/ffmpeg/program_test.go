package ffmpeg

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"testing"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// TestProgramDecodes takes the codec that was named, in the confinement of every other
// child, and nothing else.
func TestProgramDecodes(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Path = mediatest.Program(t, "ffmpeg")
	p := NewProgram(cfg, false, slog.New(slog.DiscardHandler))
	clip := func(coder string) []byte {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), cfg.Path, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x36:r=5", "-frames:v", "1",
			"-c:v", coder, "-pix_fmt", "yuv420p", "-f", "mp4", "-movflags", "empty_moov", "pipe:1").Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	grey := []string{"-frames:v", "1", "-vf", "format=gray", "-f", "rawvideo"}
	if out, err := p.Decode(t.Context(), media.H264, clip("libx264"), 1<<20, grey...); err != nil || len(out) != 64*36 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	if out, err := p.Decode(t.Context(), media.H264, clip("mpeg4"), 1<<20, grey...); !fault.Is(err, fault.Unavailable) {
		t.Errorf("MPEG-4 as H.264: %d bytes, %v", len(out), err)
	}
	if _, err := p.Decode(t.Context(), media.H264, clip("libx264"), 100, grey...); !fault.Is(err, fault.TooLarge) {
		t.Errorf("more than is taken: %v", err)
	}
	if _, err := p.Decode(t.Context(), media.Codec(0), nil, 100); !fault.Is(err, fault.Unsupported) {
		t.Errorf("no codec: %v", err)
	}
	confined(t, p.tool)
	cfg.Path = "no such program"
	if _, err := NewProgram(cfg, false, slog.New(slog.DiscardHandler)).Decode(t.Context(), media.H264, nil, 100); !fault.Is(err, fault.Unavailable) {
		t.Errorf("no program: %v", err)
	}
}

// TestProgramForOthers keeps the network where it is needed, and is confined besides.
func TestProgramForOthers(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Path, cfg.Nice = mediatest.Program(t, "ffmpeg"), 7
	p := NewProgram(cfg, true, slog.New(slog.DiscardHandler))
	if err := p.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.tool.box.network || os.Geteuid() == 0 && runtime.GOOS == "linux" && p.tool.box.user != NewProgram(cfg, false, nil).boxes[0].user {
		t.Errorf("it runs in %+v", p.tool.box)
	}
	confined(t, p.tool)
	cmd := exec.CommandContext(t.Context(), cfg.Path, "-v", "quiet", "-f", "s16le", "-i", "pipe:0", "-f", "null", "-")
	if err := p.Confine(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = in.Close(), cmd.Wait() }()
	p.Bound(cmd.Process.Pid)
	p.Renew(cmd.Process.Pid)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
	if err != nil {
		t.Skip("there is no /proc here")
	}
	for _, want := range []string{`address space +\d+ `, `open files +64 `, `cpu time +\d+ `, `file size +0 `} {
		if !regexp.MustCompile(want).Match(limits) {
			t.Errorf("no %q in %s", want, limits)
		}
	}
}
