//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
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

	"onair/internal/media"
	"onair/internal/wire/rtmp"
)

// garbageEncoder passes every trial of the start, and prints garbage where it is to encode.
const garbageEncoder = `#!/bin/sh
case " $* " in
*" -version "* | *coders* | *" rawvideo "* | *" s16le "*) exec ffmpeg "$@" ;;
esac
exec head -c 400000 /dev/zero >&3
`

// TestEncoderTrouble watches a made rendition and the source while the encoder is ill in
// every way: no playlist is ever missing, the source plays on, and the health and the list
// of renditions say what is wrong.
func TestEncoderTrouble(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(garbage, []byte(garbageEncoder), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, trouble := range []struct {
		name string
		args []string
		// hurt is called once the rendition plays; nil if the encoder never works.
		hurt func(t *testing.T, s *server)
		// code is what the health finds, states are those that the list may tell in the end.
		code   string
		states []string
		// unlisted: the rendition cannot be made, so that nobody is offered it.
		unlisted bool
	}{
		{name: "killed", code: "transcode_restarted", states: []string{"running"}, hurt: func(t *testing.T, s *server) {
			s.signalEncoder(syscall.SIGKILL)
		}},
		{name: "stopped", args: []string{"--transcode-stall-timeout", "2s"}, code: "transcode_restarted", states: []string{"running"}, hurt: func(t *testing.T, s *server) {
			s.signalEncoder(syscall.SIGSTOP)
		}},
		{name: "missing", args: []string{"--transcode-ffmpeg", "/nonexistent/ffmpeg"}, code: "transcode_no_encoder", states: []string{"failed"}, unlisted: true},
		{name: "garbage", args: []string{"--transcode-ffmpeg", garbage}, code: "transcode_failed", states: []string{"failed"}},
		{name: "budget", args: []string{"--transcode-cores", "0.1"}, code: "transcode_budget", states: []string{"refused"}},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, append([]string{"--transcode", "just-in-time", "--transcode-hardware=false"}, trouble.args...)...)
			st := s.create("low")
			s.testcard(st, "--size", "854x480", "--bitrate", "800", "--frame-rate", "25")
			s.waitPlayable(st, 20*time.Second)
			if trouble.unlisted {
				s.waitFinding(st, trouble.code, 20*time.Second)
				s.waitRendition(st, "360p", trouble.states, 5*time.Second)
				for _, v := range s.variants(st) {
					if v.height == 360 {
						t.Errorf("it is offered although it cannot be made: %s", v.url)
					}
				}
				s.follow(st, 480).plays(5 * time.Second)
				return
			}
			s.waitVariants(st, 3, 20*time.Second) // the encoders are tried while the server runs
			source, made := s.follow(st, 480), s.follow(st, 360)
			if trouble.hurt != nil {
				made.plays(3 * time.Second)
				trouble.hurt(t, s)
			}
			found := s.waitFinding(st, trouble.code, 30*time.Second)
			t.Logf("%s: %s", trouble.code, found.Title)
			s.waitRendition(st, "360p", trouble.states, 15*time.Second)
			if slices.Contains(trouble.states, "running") {
				made.plays(3 * time.Second)
			}
			source.plays(3 * time.Second)
			source.check(5 * time.Second)
			made.check(0)
		})
	}
	t.Run("resolution", func(t *testing.T) {
		t.Parallel()
		s := start(t, "--transcode", "just-in-time", "--transcode-hardware=false")
		st := s.create("low")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		tracks, packets := changing(t, 8*time.Second, "1280x720", "960x540")
		p, err := rtmp.DialPublish(ctx, s.publishURL(st), tracks...)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		sent := make(chan error, 1)
		go func() { sent <- paced(ctx, p, packets) }()
		s.waitStatus(st, "active", 15*time.Second)
		s.waitPlayable(st, 15*time.Second)
		s.waitVariants(st, 3, 20*time.Second)
		source, made := s.follow(st, 720), s.follow(st, 480)
		made.plays(3 * time.Second)
		for deadline := time.Now().Add(20 * time.Second); ; pause(ctx, 200*time.Millisecond) {
			if _, _, height := s.get(st.ID).track("video"); height == 540 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the change did not arrive")
			}
		}
		made.plays(3 * time.Second)
		source.plays(2 * time.Second)
		if size := s.waitRendition(st, "480p", []string{"running"}, 5*time.Second); size.Width != 854 && size.Width != 852 {
			t.Errorf("480p is %d wide", size.Width)
		}
		for _, r := range s.renditions(st) {
			if r.Name == "720p" && r.MadeBy == "server" {
				t.Errorf("a picture of 540 lines is offered as %s", r.Name)
			}
		}
		source.check(5 * time.Second)
		made.check(0)
		cancel()
		<-sent
	})
}

// changing returns a picture whose size changes in mid-stream, each size for that long.
func changing(t *testing.T, each time.Duration, sizes ...string) (tracks []*media.Track, packets []*media.Packet) {
	t.Helper()
	for i, size := range sizes {
		file := filepath.Join(t.TempDir(), "part.mp4")
		cmd := exec.Command("ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=rate=25:size="+size, "-t", fmt.Sprint(each.Seconds()),
			"-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-b:v", "1M",
			"-f", "mp4", "-use_editlist", "0", "-movflags", "frag_keyframe+empty_moov+default_base_moof", file)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		part, of := readMP4(t, data)
		track := *of[0]
		track.Version = i
		for _, p := range part {
			shift := track.Ticks(time.Duration(i) * each)
			p.Track, p.DTS, p.PTS = &track, p.DTS+shift, p.PTS+shift
		}
		if i == 0 {
			tracks = []*media.Track{&track}
		}
		packets = append(packets, part...)
	}
	return tracks, packets
}

// signalEncoder sends a signal to the only encoder that runs.
func (s *server) signalEncoder(sig syscall.Signal) {
	s.t.Helper()
	pid := s.waitEncoders(1, 5*time.Second)[0]
	if err := syscall.Kill(pid, sig); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) })
}

// rendition is what the API says of a rendition.
type rendition struct {
	Name   string `json:"name"`
	MadeBy string `json:"made_by"`
	State  string `json:"state"`
	Reason string `json:"reason"`
	Width  int    `json:"width"`
}

func (s *server) renditions(st stream) []rendition {
	s.t.Helper()
	var list struct{ Data []rendition }
	if status := s.call("GET", "/v1/live-streams/"+st.ID+"/renditions", nil, &list); status != 200 {
		s.t.Fatalf("the renditions: status %d", status)
	}
	return list.Data
}

// waitRendition polls until the rendition is in one of the states, with a reason where it
// does not run.
func (s *server) waitRendition(st stream, name string, states []string, limit time.Duration) rendition {
	s.t.Helper()
	for deadline := time.Now().Add(limit); ; pause(s.t.Context(), 200*time.Millisecond) {
		list := s.renditions(st)
		for _, r := range list {
			if r.Name == name && slices.Contains(states, r.State) && (r.Reason != "" || r.State == "running") {
				return r
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is not %v after %v: %+v", name, states, limit, list)
		}
	}
}

// hlsViewer asks for a media playlist again and again, as a player does.
type hlsViewer struct {
	s    *server
	name string
	mu   sync.Mutex
	// statuses counts the answers, newest is the last segment or part that was listed,
	// changed when it came, longest the longest time in which none came.
	statuses map[int]int
	newest   string
	changed  time.Time
	longest  time.Duration
	first    chan struct{}
}

// follow begins to watch the variant of that height until the test ends.
func (s *server) follow(st stream, height int) *hlsViewer {
	s.t.Helper()
	v := &hlsViewer{s: s, name: fmt.Sprintf("%dp", height), statuses: map[int]int{}, first: make(chan struct{})}
	url := s.rung(st, height)
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			v.ask(ctx, url)
			pause(ctx, 200*time.Millisecond)
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	return v
}

func (v *hlsViewer) ask(ctx context.Context, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return // the test ended
	}
	defer res.Body.Close()
	newest := ""
	if res.StatusCode == http.StatusOK {
		newest = lastMedia(res)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.statuses[res.StatusCode]++
	if now := time.Now(); newest != "" && newest != v.newest {
		if v.newest == "" {
			close(v.first)
		} else {
			v.longest = max(v.longest, now.Sub(v.changed))
		}
		v.newest, v.changed = newest, now
	}
}

// plays waits until new media has come for that long.
func (v *hlsViewer) plays(d time.Duration) {
	v.s.t.Helper()
	select {
	case <-v.first:
	case <-time.After(20 * time.Second):
		v.s.t.Fatalf("%s has no media: %v", v.name, v.statuses)
	}
	for seen, last, deadline := time.Duration(0), v.last(), time.Now().Add(30*time.Second); seen < d; {
		pause(v.s.t.Context(), time.Second)
		if now := v.last(); now != last {
			seen, last = seen+time.Second, now
		}
		if time.Now().After(deadline) {
			v.s.t.Fatalf("%s stands at %s", v.name, v.last())
		}
	}
}

func (v *hlsViewer) last() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.newest
}

// check looks at what was seen: no playlist was missing, and new media came within the
// limit, if that is not 0.
func (v *hlsViewer) check(limit time.Duration) {
	v.s.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.s.t.Logf("%s: answers %v, at most %v without new media", v.name, v.statuses, v.longest.Round(time.Millisecond))
	if v.statuses[http.StatusNotFound] > 0 {
		v.s.t.Errorf("%s: the playlist was not found: %v", v.name, v.statuses)
	}
	if limit > 0 && (v.longest > limit || len(v.statuses) != 1 || v.statuses[http.StatusOK] == 0) {
		v.s.t.Errorf("%s: answers %v, %v without new media", v.name, v.statuses, v.longest)
	}
}

// lastMedia is the newest segment or part that a playlist lists.
func lastMedia(res *http.Response) string {
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return ""
	}
	last := ""
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#EXT-X-PART:") && !strings.Contains(line, "GAP=YES") || strings.HasSuffix(line, ".m4s") {
			last = line
		}
	}
	return last
}
