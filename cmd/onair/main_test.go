package main

import (
	"bytes"
	"flag"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"onair/internal/node"
)

var update = flag.Bool("update", false, "write the golden files anew")

// onair runs a command line in this process.
func onair(t *testing.T, args ...string) (status int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(t.Context(), args, &o, &e)
	return status, o.String(), e.String()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what the program says (-file +program; go test ./cmd/onair -update writes it):\n%s", file, diff)
	}
}

func TestHelp(t *testing.T) {
	for _, command := range []string{"", "publish", "serve", "key", "recordings", "config"} {
		args := []string{"--help"}
		name := "help"
		if command != "" {
			args = []string{command, "--help"}
			name = "help-" + command
		}
		status, out, errOut := onair(t, args...)
		if status != 0 || errOut != "" {
			t.Errorf("%v: status %d, %s", args, status, errOut)
		}
		if command == "serve" {
			// It lists every setting, which docs/configuration.md is the golden file of.
			if !strings.Contains(out, "--rtmp") || !strings.Contains(out, "ONAIR_RTMP") {
				t.Errorf("%v does not list the settings:\n%s", args, out)
			}
			continue
		}
		golden(t, filepath.Join("testdata", name+".txt"), out)
	}
}

func TestReferenceIsCurrent(t *testing.T) {
	status, out, errOut := onair(t, "config", "doc")
	if status != 0 {
		t.Fatalf("status %d: %s", status, errOut)
	}
	golden(t, "../../docs/configuration.md", out)
}

// TestDefaultsAreTheSame holds the defaults that a flag shows to those that a package has.
func TestDefaultsAreTheSame(t *testing.T) {
	line := newCommandLine()
	parser, _ := newParser(line, "", console{&bytes.Buffer{}, &bytes.Buffer{}})
	if _, err := parser.Parse([]string{"serve"}); err != nil {
		t.Fatal(err)
	}
	if want := node.DefaultConfig(); !reflect.DeepEqual(line.Serve.Config, want) {
		t.Errorf("parsed %+v\nwant   %+v", line.Serve.Config, want)
	}
	if err := line.Serve.Config.Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
}

func TestDefaultFileIsValid(t *testing.T) {
	status, out, errOut := onair(t, "config", "default")
	if status != 0 {
		t.Fatalf("status %d: %s", status, errOut)
	}
	// Taking the comment marks off makes every setting explicit.
	var lines []string
	for _, l := range strings.Split(out, "\n") {
		l = strings.TrimPrefix(l, "# ")
		if key, _, ok := strings.Cut(l, ": "); ok && !strings.Contains(key, " ") {
			lines = append(lines, l)
		}
	}
	if len(lines) < 20 {
		t.Fatalf("only %d settings in\n%s", len(lines), out)
	}
	file := filepath.Join(t.TempDir(), "onair.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errOut := onair(t, "config", "check", file); status != 0 {
		t.Errorf("the default file is refused: %s", errOut)
	}
}

func TestSettingsOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "onair.yaml")
	if err := os.WriteFile(file, []byte("# ports\nhttp: :1\nrtmp: :2\nlog_level: warn\nhub:\n  max-feed-bytes: 33554432\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ONAIR_RTMP", ":3")
	line := newCommandLine()
	parser, _ := newParser(line, file, console{&bytes.Buffer{}, &bytes.Buffer{}})
	if _, err := parser.Parse([]string{"serve", "--data", "d"}); err != nil {
		t.Fatal(err)
	}
	c := line.Serve.Config
	if c.HTTP != ":1" || c.RTMP.Listen != ":3" || c.Data != "d" || c.LogLevel != "warn" {
		t.Errorf("http %q (file), rtmp %q (environment), data %q (flag), log level %q (file)", c.HTTP, c.RTMP.Listen, c.Data, c.LogLevel)
	}
}

func TestMistakesAreExplained(t *testing.T) {
	write := func(text string) string {
		file := filepath.Join(t.TempDir(), "onair.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, tt := range []struct {
		name string
		args []string
		says []string
	}{
		{"unknown command", []string{"strem"}, []string{"strem", "--help"}},
		{"unknown flag", []string{"serve", "--prot", "1"}, []string{"--prot"}},
		{"unknown key", []string{"config", "check", write("rtmp: off\nrtpm: off\n")}, []string{":2:", "rtpm", "config doc"}},
		{"key set twice", []string{"config", "check", write("log-level: info\nlog_level: warn\n")}, []string{"log-level", "twice"}},
		{"no YAML", []string{"config", "check", write("a: [1\n")}, []string{"key: value"}},
		{"a list", []string{"config", "check", write("http: [1, 2]\n")}, []string{"line 1", "http"}},
		{"a lone value", []string{"config", "check", write("8080\n")}, []string{"line 1"}},
		{"wrong type", []string{"config", "check", write("http-max-connections: lots\n")}, []string{"http-max-connections", "lots"}},
		{"out of range, in the file of the flag", []string{"--config", write("http-max-connections: 0\n"), "config", "check"}, []string{"http-max-connections", "16384"}},
		{"the flag in one word", []string{"-c" + write("rtpm: off\n"), "version"}, []string{":1:", "rtpm", "config doc"}},
		{"out of range", []string{"config", "check", write("http-max-connections: 0\n")}, []string{"http-max-connections", "16384"}},
		{"bad address", []string{"config", "check", write("http: '8080'\n")}, []string{"http", ":8080"}},
		{"bad public URL", []string{"config", "check", write("public-url: live.example.com\n")}, []string{"public-url", "https://"}},
		{"missing file", []string{"config", "check", "no/such.yaml"}, []string{"no/such.yaml", "config default"}},
		{"bad size", []string{"publish", "rtmp://127.0.0.1/live/x", "--size", "7x7"}, []string{"7x7", "1280x720"}},
		{"nothing to publish", []string{"publish", "rtmp://127.0.0.1/live/x", "--video-codec", "none", "--audio-codec", "none"}, []string{"neither"}},
		{"no such stream", []string{"key", "reset", "ls_none", "--data", t.TempDir()}, []string{"ls_none"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, out, errOut := onair(t, tt.args...)
			if status == 0 {
				t.Errorf("status 0: %s", out)
			}
			for _, part := range tt.says {
				if !strings.Contains(errOut, part) {
					t.Errorf("it does not say %q:\n%s", part, errOut)
				}
			}
		})
	}
}

func TestVersion(t *testing.T) {
	status, out, _ := onair(t, "version")
	if status != 0 || !strings.HasPrefix(out, "onair ") || strings.Count(out, "\n") != 1 {
		t.Errorf("status %d: %q", status, out)
	}
}

func TestDoctor(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	status, out, _ := onair(t, "doctor", "--http", "127.0.0.1:0", "--rtmp", busy.Addr().String(), "--srt", "127.0.0.1:0", "--webrtc", "127.0.0.1:0", "--data", t.TempDir())
	if status != 1 {
		t.Errorf("status %d with a busy port", status)
	}
	for _, part := range []string{"ok    http", "fail  rtmp", "--rtmp", "ffmpeg", "clock", "disk", "files"} {
		if !strings.Contains(out, part) {
			t.Errorf("the doctor does not say %q:\n%s", part, out)
		}
	}
	status, out, _ = onair(t, "doctor", "--json", "--http", "127.0.0.1:0", "--rtmp", "off", "--srt", "off", "--webrtc", "off", "--data", "/proc/none")
	if status != 1 || !strings.Contains(out, `"ok":false`) || !strings.Contains(out, "--data") {
		t.Errorf("status %d with an unwritable folder: %s", status, out)
	}
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	status, _, errOut := onair(t, "key", "list", "--data", dir)
	if status != 0 || !strings.Contains(errOut, "no streams yet") {
		t.Errorf("an empty list: status %d, %s", status, errOut)
	}
	cfg := node.DefaultConfig()
	cfg.Data, cfg.HTTP, cfg.RTMP.Listen = dir, "127.0.0.1:0", "127.0.0.1:0"
	cfg.SRT.Listen, cfg.RTC.Listen = "off", "off"
	n, err := node.New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	demo, err := n.DemoStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, out, _ := onair(t, "key", "list", "--data", dir)
	if !strings.Contains(out, demo.StreamKey) {
		t.Fatalf("the list lacks the key:\n%s", out)
	}
	id, _, _ := strings.Cut(out, " ")
	status, renewed, errOut := onair(t, "key", "reset", id, "--data", dir)
	if status != 0 || strings.TrimSpace(renewed) == demo.StreamKey || !strings.HasPrefix(renewed, "sk_") {
		t.Errorf("reset: status %d, %q, %s", status, renewed, errOut)
	}
	status, token, errOut := onair(t, "key", "admin", "--data", dir)
	if status != 0 || len(strings.TrimSpace(token)) < 20 {
		t.Errorf("admin: status %d, %q, %s", status, token, errOut)
	}
}
