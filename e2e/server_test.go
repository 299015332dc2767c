//go:build e2e

// Package e2e runs the built program against real encoders, players and databases, as
// its users do.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const adminToken = "e2e-admin-token-0123456789"

// besides bounds how many tests run at once that wait more than they work.
var besides = make(chan struct{}, 3)

// beside lets a test run beside a few others that wait more than they work, like itself. It
// is not for those that look at how late or for how long something happens.
func beside(t *testing.T) {
	t.Parallel()
	besides <- struct{}{}
	t.Cleanup(func() { <-besides })
}

// server is one running onair.
type server struct {
	t     *testing.T
	cmd   *exec.Cmd
	http  string            // "http://127.0.0.1:port"
	rtmp  string            // "127.0.0.1:port"
	ports map[string]string // of the other listeners, by the name of their flag
	log   *lines
	ended chan error
}

// stream is what the API says of a live stream.
type stream struct {
	ID          string `json:"id"`
	Status      string `json:"status"`
	StreamKey   string `json:"stream_key"`
	PlaybackIDs []struct {
		ID string `json:"id"`
	} `json:"playback_ids"`
	ActiveIngest *struct {
		Protocol string `json:"protocol"`
		Encoder  string `json:"encoder"`
		Tracks   []struct {
			Kind              string  `json:"kind"`
			Codec             string  `json:"codec"`
			CodecString       string  `json:"codec_string"`
			Width             int     `json:"width"`
			Height            int     `json:"height"`
			FrameRate         float64 `json:"frame_rate"`
			MeasuredFrameRate float64 `json:"measured_frame_rate"`
			Bitrate           float64 `json:"bitrate"`
			KeyframeInterval  float64 `json:"keyframe_interval"`
		} `json:"tracks"`
	} `json:"active_ingest"`
	Viewers int `json:"viewers"`
}

func (s stream) playbackID() string { return s.PlaybackIDs[0].ID }

// program is the built program.
func program(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../bin/onair")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("bin/onair is missing: run make e2e, which builds it")
	}
	return path
}

// start runs a server on free ports with an empty data folder. It makes no renditions
// unless the arguments say so: most tests look at what the publisher sends.
func start(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{t: t, log: newLines(), ended: make(chan error, 1)}
	base := []string{"serve", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--srt", "127.0.0.1:0", "--webrtc", "127.0.0.1:0", "--data", t.TempDir(),
		"--admin-token", adminToken, "--log-format", "json", "--log-level", "debug"}
	if !slices.Contains(args, "--transcode") {
		args = append(args, "--transcode", "off")
	}
	s.cmd = exec.Command(program(t), append(base, args...)...)
	s.cmd.Stdout = s.log
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait(); s.log.close() }()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("server log:\n%s", s.log.tail(60))
		}
	})
	var ready struct{ HTTP, RTMP, RTMPS, SRT, WebRTC string }
	line := s.log.wait(t, `"msg":"ready"`, 15*time.Second)
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		t.Fatalf("the ready line is no JSON: %v in %s", err, line)
	}
	s.http, s.rtmp = "http://"+ready.HTTP, ready.RTMP
	s.ports = make(map[string]string)
	for name, addr := range map[string]string{"rtmps": ready.RTMPS, "srt": ready.SRT, "webrtc": ready.WebRTC} {
		if _, port, err := net.SplitHostPort(addr); err == nil {
			s.ports[name] = port
		}
	}
	return s
}

// in returns the server for a subtest, which then fails by itself.
func (s *server) in(t *testing.T) *server {
	sub := *s
	sub.t = t
	return &sub
}

// stop ends the server as an operator would and returns its exit error.
func (s *server) stop() error {
	if s.cmd.ProcessState != nil {
		return nil
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.ended:
		s.ended <- err
		return err
	case <-time.After(10 * time.Second):
		s.cmd.Process.Kill()
		return fmt.Errorf("it did not stop within 10 s")
	}
}

// call asks the API and decodes its answer into out.
func (s *server) call(method, path string, body, out any) int {
	s.t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, s.http+path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if out != nil && res.StatusCode < 300 {
		if err := json.Unmarshal(data, out); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, data)
		}
	}
	return res.StatusCode
}

// create makes a live stream.
func (s *server) create(mode string) stream {
	s.t.Helper()
	return s.createWith(map[string]any{"latency_mode": mode})
}

// createWith makes a live stream with the settings given.
func (s *server) createWith(settings ...map[string]any) stream {
	s.t.Helper()
	body := map[string]any{"title": s.t.Name()}
	for _, more := range settings {
		maps.Copy(body, more)
	}
	var st stream
	if status := s.call("POST", "/v1/live-streams", body, &st); status != 201 {
		s.t.Fatalf("creating a stream: status %d", status)
	}
	return st
}

func (s *server) srtURL(id string) string {
	return "srt://127.0.0.1:" + s.ports["srt"] + "?streamid=" + id
}

func (s *server) rtmpsURL(st stream) string {
	return "rtmps://localhost:" + s.ports["rtmps"] + "/live/" + st.StreamKey
}

func (s *server) get(id string) stream {
	s.t.Helper()
	var st stream
	if status := s.call("GET", "/v1/live-streams/"+id, nil, &st); status != 200 {
		s.t.Fatalf("getting a stream: status %d", status)
	}
	return st
}

func (s *server) publishURL(st stream) string { return "rtmp://" + s.rtmp + "/live/" + st.StreamKey }
func (s *server) playURL(st stream) string    { return "rtmp://" + s.rtmp + "/play/" + st.playbackID() }
func (s *server) hlsURL(st stream) string     { return s.http + "/hls/" + st.playbackID() + "/index.m3u8" }

// waitStatus polls until the stream has the status.
func (s *server) waitStatus(st stream, status string, limit time.Duration) stream {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		got := s.get(st.ID)
		if got.Status == status {
			return got
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the stream is %s and not %s after %v", got.Status, status, limit)
		}
		pause(s.t.Context(), 100*time.Millisecond)
	}
}

// waitPlayable waits until the multivariant playlist and a media playlist are there.
func (s *server) waitPlayable(st stream, limit time.Duration) {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		res, err := http.Get(s.hlsURL(st))
		if err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == 200 {
				return
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("nothing to play after %v", limit)
		}
		pause(s.t.Context(), 100*time.Millisecond)
	}
}

// pause waits between two looks at something that only polling can tell.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// publisher is a running encoder.
type publisher struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	out  *lines
	done chan error
}

// encode starts an encoder; the test's end stops it.
func encode(t *testing.T, name string, args ...string) *publisher {
	t.Helper()
	p := &publisher{t: t, name: filepath.Base(name), cmd: exec.Command(name, args...), out: newLines(), done: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait(); p.out.close() }()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", p.name, p.out.tail(15))
		}
	})
	return p
}

// stop interrupts the encoder as its user would and waits for it.
func (p *publisher) stop() {
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-p.done:
		p.done <- err
	case <-time.After(8 * time.Second):
		p.kill()
	}
}

// kill ends the encoder without a word to the server.
func (p *publisher) kill() {
	p.cmd.Process.Kill()
	err := <-p.done
	p.done <- err
}

// wait waits for the encoder to end by itself.
func (p *publisher) wait(limit time.Duration) error {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(limit):
		p.t.Fatalf("%s goes on after %v", p.name, limit)
		return nil
	}
}

// testcard publishes the project's own test picture.
func (s *server) testcard(st stream, args ...string) *publisher {
	s.t.Helper()
	p := encode(s.t, program(s.t), append([]string{"publish", s.publishURL(st)}, args...)...)
	s.waitStatus(st, "active", 20*time.Second)
	return p
}

// run executes a program to its end and returns what it printed.
func run(t *testing.T, limit time.Duration, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("%s goes on after %v", name, limit)
	}
	return out.String(), errOut.String(), err
}

// lines keeps what a program prints, and lets tests wait for a line.
type lines struct {
	mu     sync.Mutex
	part   []byte
	all    []string
	wake   chan struct{}
	closed bool
}

func newLines() *lines { return &lines{wake: make(chan struct{})} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	scanner := bufio.NewReader(io.MultiReader(bytes.NewReader(l.part), bytes.NewReader(b)))
	for {
		line, err := scanner.ReadString('\n')
		if err != nil {
			l.part = []byte(line)
			break
		}
		l.all = append(l.all, strings.TrimRight(line, "\r\n"))
	}
	close(l.wake)
	l.wake = make(chan struct{})
	return len(b), nil
}

func (l *lines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	close(l.wake)
	l.wake = make(chan struct{})
}

// find returns the first line that contains text.
func (l *lines) find(text string) (line string, ok, closed bool, wake chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, text) {
			return line, true, l.closed, l.wake
		}
	}
	return "", false, l.closed, l.wake
}

// wait waits for a line that contains text.
func (l *lines) wait(t *testing.T, text string, limit time.Duration) string {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		line, ok, closed, wake := l.find(text)
		if ok {
			return line
		}
		if closed {
			t.Fatalf("the program ended without saying %q; it said:\n%s", text, l.tail(20))
		}
		select {
		case <-wake:
		case <-timer.C:
			t.Fatalf("no %q after %v in:\n%s", text, limit, l.tail(20))
		}
	}
}

// tail returns the last n lines.
func (l *lines) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all[max(0, len(l.all)-n):], "\n")
}
