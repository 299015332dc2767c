package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"onair/internal/node"
)

type doctorCommand struct {
	node.Config `embed:""`

	JSON bool `name:"json" help:"Print JSON."`
}

// finding is one line of the doctor.
type finding struct {
	Status string `json:"status"` // ok, warn or fail
	Check  string `json:"check"`
	Found  string `json:"found"`
	// Fix says what to do; empty when all is well.
	Fix string `json:"fix,omitempty"`
}

const (
	statusOK   = "ok"
	statusWarn = "warn"
	statusFail = "fail"
)

// Run checks everything and fails when something would keep the server from working.
func (cmd doctorCommand) Run(ctx context.Context, c console) error {
	var findings []finding
	findings = append(findings,
		checkPort(ctx, "tcp", "http", "--http", cmd.HTTP),
		checkPort(ctx, "tcp", "rtmp", "--rtmp", cmd.RTMP.Listen),
		checkPort(ctx, "tcp", "rtmps", "--rtmps", cmd.RTMP.ListenTLS),
		checkPort(ctx, "udp", "srt", "--srt", cmd.SRT.Listen),
		checkPort(ctx, "udp", "webrtc", "--webrtc", cmd.RTC.Listen))
	findings = append(findings, checkFFmpeg(ctx)...)
	findings = append(findings, checkClock(time.Now()), checkData(cmd.Data), checkFiles())

	failed := false
	for _, f := range findings {
		failed = failed || f.Status == statusFail
	}
	if cmd.JSON {
		if err := json.NewEncoder(c.out).Encode(map[string]any{"ok": !failed, "checks": findings}); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			fmt.Fprintf(c.out, "%-4s  %-8s %s\n", f.Status, f.Check, f.Found)
			if f.Fix != "" {
				fmt.Fprintf(c.out, "      %-8s → %s\n", "", f.Fix)
			}
		}
	}
	if failed {
		return errReported
	}
	return nil
}

// checkPort tries to listen where the server would.
func checkPort(ctx context.Context, network, name, flag, address string) finding {
	f := finding{Status: statusOK, Check: name}
	if address == "off" {
		f.Found = "switched off"
		return f
	}
	if err := tryListen(ctx, network, address); err != nil {
		f.Status = statusFail
		f.Found = fmt.Sprintf("cannot listen on %s: %v", address, err)
		f.Fix = fmt.Sprintf("If onair is running already, this is fine. Else stop what uses the port (ss -lntup shows it), or choose another with %s.", flag)
		return f
	}
	f.Found = "can listen on " + address
	return f
}

func tryListen(ctx context.Context, network, address string) error {
	var l net.ListenConfig
	if network == "udp" {
		c, err := l.ListenPacket(ctx, network, address)
		if err != nil {
			return err
		}
		return c.Close()
	}
	c, err := l.Listen(ctx, network, address)
	if err != nil {
		return err
	}
	return c.Close()
}

// encoders are those that the server and the test picture can make use of.
var encoders = []string{
	"libx264", "libx265", "libsvtav1", "aac", "libopus",
	"h264_nvenc", "h264_vaapi", "h264_qsv", "h264_videotoolbox", "h264_v4l2m2m",
}

func checkFFmpeg(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	f := finding{Status: statusOK, Check: "ffmpeg"}
	out, err := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-version").Output()
	if err != nil {
		f.Status = statusWarn
		f.Found = "not found; the test picture (onair publish), sources over HLS and RTSP, and the loudness of streams need it"
		f.Fix = "apt-get install ffmpeg, or brew install ffmpeg."
		return []finding{f}
	}
	first, _, _ := strings.Cut(string(out), "\n")
	f.Found, _, _ = strings.Cut(first, " Copyright")

	e := finding{Status: statusOK, Check: "encoders"}
	list, err := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-encoders").Output()
	if err != nil {
		e.Status, e.Found, e.Fix = statusWarn, "ffmpeg does not list its encoders: "+err.Error(), "Install a complete ffmpeg."
		return []finding{f, e}
	}
	var found []string
	for _, name := range encoders {
		if strings.Contains(string(list), " "+name+" ") {
			found = append(found, name)
		}
	}
	e.Found = strings.Join(found, " ")
	if !strings.Contains(e.Found, "libx264") || !strings.Contains(e.Found, "aac") {
		e.Status, e.Fix = statusWarn, "The test picture needs libx264 and aac: install an ffmpeg that has them."
	}
	return []finding{f, e}
}

// released is earlier than any moment this program can run at.
var released = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func checkClock(now time.Time) finding {
	f := finding{Status: statusOK, Check: "clock", Found: now.UTC().Format(time.RFC3339)}
	if now.Before(released) {
		f.Status = statusFail
		f.Fix = "The clock is wrong. Switch time synchronisation on: timedatectl set-ntp true."
	} else if !clockSynchronised() {
		f.Status = statusWarn
		f.Found += ", not synchronised as far as the kernel knows"
		f.Fix = "Delays shown to viewers and signed links need a right clock: timedatectl set-ntp true."
	}
	return f
}

// lowDisk is the free space below which the doctor warns.
const lowDisk = 1 << 30

// checkData writes a file where the server keeps its data.
func checkData(dir string) finding {
	f := finding{Status: statusOK, Check: "disk"}
	fail := func(err error) finding {
		f.Status = statusFail
		f.Found = fmt.Sprintf("cannot write to %s: %v", dir, err)
		f.Fix = "Give the user that runs onair the right to write there, or choose another folder with --data."
		return f
	}
	existing := dir
	for {
		if _, err := os.Stat(existing); err == nil || existing == filepath.Dir(existing) {
			break
		}
		existing = filepath.Dir(existing)
	}
	probe, err := os.CreateTemp(existing, ".onair-doctor-*")
	if err != nil {
		return fail(err)
	}
	probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return fail(err)
	}
	free, err := freeBytes(existing)
	if err != nil {
		return fail(err)
	}
	f.Found = fmt.Sprintf("%s can be written to, %.1f GB free", dir, float64(free)/1e9)
	if free < lowDisk {
		f.Status, f.Fix = statusWarn, "Make room: the database and recordings stop when the disk is full."
	}
	return f
}

// fewFiles is the limit of open files below which many viewers would be turned away.
const fewFiles = 8192

func checkFiles() finding {
	f := finding{Status: statusOK, Check: "files"}
	limit, err := fileLimit()
	if err != nil {
		f.Status, f.Found = statusWarn, "the limit of open files is not known: "+err.Error()
		return f
	}
	f.Found = fmt.Sprintf("%d files and connections may be open", limit)
	if limit < fewFiles {
		f.Status, f.Fix = statusWarn, "Each viewer takes up to four connections: raise it with ulimit -n 65536, or LimitNOFILE= in the unit."
	}
	return f
}
