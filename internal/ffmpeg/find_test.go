package ffmpeg

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/media"
)

func TestFindTriesEncoders(t *testing.T) {
	tool := realTool(t)
	t.Log(tool.Version(), names(tool.encoders), tool.box, fmt.Sprint(tool.decoders))
	for _, c := range []media.Codec{media.H264, media.AAC, media.Opus} {
		if len(tool.Encoders(c)) == 0 {
			t.Errorf("no encoder for %v", c)
		}
	}
	for _, e := range tool.encoders {
		if e.Hardware {
			t.Logf("%s works here", e.Name)
		}
	}
	if !tool.Decodes(media.VP8) || tool.Decodes(media.UnknownCodec) {
		t.Error("decoders are not as they should be")
	}
}

func TestNoFFmpegIsSaid(t *testing.T) {
	for _, path := range []string{"/does/not/exist/ffmpeg", "no-such-ffmpeg", filepath.Join(t.TempDir())} {
		cfg := DefaultConfig()
		cfg.Path = path
		_, err := Find(t.Context(), cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "transcode-ffmpeg") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Nice: 40}.Validate()
	for _, key := range []string{"transcode-ffmpeg", "transcode-nice", "transcode-max-memory", "transcode-start-timeout", "transcode-stall-timeout"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not in %v", key, err)
		}
	}
}

func TestVersions(t *testing.T) {
	for in, want := range map[string]string{
		"ffmpeg version 5.1.9-0+deb12u1 Copyright (c)":         "5.1.9",
		"ffmpeg version n7.1.1 Copyright":                      "7.1.1",
		"ffmpeg version N-118123-g1234567 Copyright":           "N",
		"ffmpeg version 2026-01-02-git-0123456789-full_build-": "2026",
		"something else": "unknown",
	} {
		if got := parseVersion([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestOnlyNamesAreListed(t *testing.T) {
	got := parseList([]byte("Encoders:\n V..... = Video\n ------\n V....D libx264   x\n A..X.. /i  file\n V..... a;b c\n\n V.S... h264_nvenc  y\n"))
	if len(got) != 2 || !got["libx264"] || !got["h264_nvenc"] {
		t.Errorf("%v", got)
	}
}

// TestChildIsConfined looks at a real child from outside.
func TestChildIsConfined(t *testing.T) {
	confined(t, realTool(t))
}

// confined looks at a child of a Tool.
func confined(t *testing.T, tool *Tool) {
	t.Helper()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("there is no /proc here")
	}
	t.Setenv("ONAIR_ADMIN_TOKEN", "confidential")
	c, err := tool.start(append(head(), "-protocol_whitelist", "pipe", "-f", "mp4", "-i", "pipe:0", "-f", "null", "pipe:3"), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tool.release(c)
	defer c.stop()
	proc := fmt.Sprintf("/proc/%d/", c.cmd.Process.Pid)
	read := func(name string) []byte {
		b, err := os.ReadFile(proc + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if bytes.Contains(read("environ"), []byte("confidential")) || bytes.Contains(read("environ"), []byte("HOME=")) {
		t.Errorf("its environment is %q", read("environ"))
	}
	limits := string(read("limits"))
	for what, want := range map[string]string{"Max address space": fmt.Sprint(tool.cfg.MaxMemory), "Max open files": fmt.Sprint(maxFiles), "Max file size": "0", "Max core file size": "0"} {
		for line := range strings.Lines(limits) {
			if rest, ok := strings.CutPrefix(line, what); ok && strings.Fields(rest)[0] != want {
				t.Errorf("%s, want %s", strings.TrimSpace(line), want)
			}
		}
	}
	stat := read("stat")
	if f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); string(f[16]) != fmt.Sprint(tool.cfg.Nice) {
		t.Errorf("its niceness is %s", f[16])
	}
	if os.Geteuid() != 0 {
		return
	}
	if tool.box.user && !strings.Contains(string(read("status")), fmt.Sprintf("Uid:\t%d\t%d", tool.box.uid, tool.box.uid)) {
		t.Error("it does not run as its own user")
	}
	if tool.box.network {
		ours, err1 := os.Readlink("/proc/self/ns/net")
		theirs, err2 := os.Readlink(proc + "ns/net")
		if err1 != nil || err2 != nil || ours == theirs {
			t.Errorf("it has our network: %s, %s, %v, %v", ours, theirs, err1, err2)
		}
	}
}
