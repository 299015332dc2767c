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
	"strconv"
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
			s.log.wait(t, "ffmpeg is ready", 40*time.Second) // encoders are tried while the server runs
			s.waitVariants(st, 2, 10*time.Second)
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
	t.Run("source", func(t *testing.T) {
		t.Parallel()
		s := start(t, "--transcode", "just-in-time", "--transcode-hardware=false")
		st := s.create("low")
		s.log.wait(t, "ffmpeg is ready", 40*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		tracks, packets := changing(t, 8*time.Second)
		p, err := rtmp.DialPublish(ctx, s.publishURL(st), tracks...)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		sent := make(chan error, 1)
		go func() { sent <- paced(ctx, p, packets) }()
		s.waitStatus(st, "active", 15*time.Second)
		s.waitVariants(st, 3, 15*time.Second)
		source, made := s.follow(st, 720), s.follow(st, 480)
		made.plays(2 * time.Second)
		if n := s.channels(st); n != 2 {
			t.Errorf("%d channels are delivered, not 2", n)
		}
		changed := func(what string, is func(codec string, height int) bool) {
			t.Helper()
			for deadline := time.Now().Add(25 * time.Second); ; pause(ctx, 200*time.Millisecond) {
				if codec, _, height := s.get(st.ID).track("video"); is(codec, height) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the change of %s did not arrive", what)
				}
			}
			made.plays(3 * time.Second)
			source.plays(time.Second)
			if r := s.waitRendition(st, "480p", []string{"running"}, 5*time.Second); r.Width != 854 && r.Width != 852 {
				t.Errorf("after the change of %s 480p is %d wide", what, r.Width)
			}
		}
		changed("size, frame rate and audio layout", func(_ string, height int) bool { return height == 540 })
		for _, r := range s.renditions(st) {
			if r.Name == "720p" && r.MadeBy == "server" {
				t.Errorf("a picture of 540 lines is offered as %s", r.Name)
			}
		}
		s.waitFinding(st, "resolution_changed", 10*time.Second)
		if f := s.waitFinding(st, "format_changed", 10*time.Second); !strings.Contains(f.Title, "25 frames/s to H.264, 30 frames/s") {
			t.Errorf("of the frame rate the health says %q", f.Title)
		}
		if f := s.waitFinding(st, "audio_changed", 10*time.Second); !strings.Contains(f.Title, "2 channels to AAC, 1 channels") {
			t.Errorf("of the sound the health says %q", f.Title)
		}
		// The sound goes on, in the layout that it has now.
		sound := s.followURL("sound", s.sound(st))
		sound.plays(3 * time.Second)
		if n := s.channels(st); n != 1 {
			t.Errorf("%d channels are delivered, not 1", n)
		}
		changed("codec", func(codec string, _ int) bool { return codec == "HEVC" })
		for deadline := time.Now().Add(10 * time.Second); ; pause(ctx, 200*time.Millisecond) {
			if f := s.waitFinding(st, "format_changed", 10*time.Second); strings.Contains(f.Title, "from H.264 to HEVC") {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("of the codec the health says %q", f.Title)
			}
		}
		sound.plays(2 * time.Second)
		sound.check(5 * time.Second)
		source.check(5 * time.Second)
		made.check(0)
		cancel()
		<-sent
	})
}

// changing returns media whose size, frame rate and audio layout change in mid-stream, and
// then the codec. Each is so for that long.
func changing(t *testing.T, each time.Duration) (tracks []*media.Track, packets []*media.Packet) {
	t.Helper()
	for i, part := range []struct {
		size, rate, channels string
		coder                []string
	}{
		{"1280x720", "25", "2", []string{"libx264", "-bf", "0", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0"}},
		{"960x540", "30", "1", []string{"libx264", "-bf", "0", "-g", "30", "-keyint_min", "30", "-sc_threshold", "0"}},
		{"960x540", "30", "1", []string{"libx265", "-x265-params", "log-level=none:bframes=0:keyint=30:min-keyint=30:scenecut=0:open-gop=0"}},
	} {
		file := filepath.Join(t.TempDir(), "part.mp4")
		args := append([]string{"-hide_banner", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=rate=" + part.rate + ":size=" + part.size, "-f", "lavfi", "-i", "sine",
			"-t", fmt.Sprint(each.Seconds()), "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-b:v", "1M", "-c:a", "aac", "-ac", part.channels, "-ar", "48000", "-c:v"}, part.coder...)
		args = append(args, "-f", "mp4", "-use_editlist", "0", "-movflags", "frag_keyframe+empty_moov+default_base_moof", file)
		if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all, of := readMP4(t, data)
		newest := map[*media.Track]*media.Track{}
		for _, track := range of {
			version := *track
			version.Version = i
			newest[track] = &version
			if i == 0 {
				tracks = append(tracks, &version)
			}
		}
		for _, p := range all {
			p.Track = newest[p.Track]
			shift := p.Track.Ticks(time.Duration(i) * each)
			p.DTS, p.PTS = p.DTS+shift, p.PTS+shift
		}
		slices.SortStableFunc(all, func(a, b *media.Packet) int { return int(a.Track.Duration(a.DTS) - b.Track.Duration(b.DTS)) })
		packets = append(packets, all...)
	}
	return tracks, packets
}

// sound is the media playlist of the stream's sound.
func (s *server) sound(st stream) string {
	s.t.Helper()
	return s.named(s.hlsURL(st), "#EXT-X-MEDIA:TYPE=AUDIO")
}

// channels is how many the newest sound that is delivered has, by its head.
func (s *server) channels(st stream) int {
	s.t.Helper()
	out, errOut, err := run(s.t, 20*time.Second, "ffprobe", "-v", "error", "-show_entries", "stream=channels", "-of", "csv=p=0", s.named(s.sound(st), "#EXT-X-MAP:"))
	n, bad := strconv.Atoi(strings.TrimSpace(out))
	if err != nil || bad != nil {
		s.t.Fatalf("ffprobe of the head of the sound: %q, %v %s", out, err, errOut)
	}
	return n
}

// named is the URI of the last line of a playlist that begins so.
func (s *server) named(playlist, begin string) (found string) {
	s.t.Helper()
	text, base, err := fetchText(s.t.Context(), playlist)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, begin); ok {
			u, err := base.Parse(attribute(rest, "URI"))
			if err != nil {
				s.t.Fatal(err)
			}
			found = u.String()
		}
	}
	if found == "" {
		s.t.Fatalf("%s is not in\n%s", begin, text)
	}
	return found
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
	return s.followURL(fmt.Sprintf("%dp", height), s.rung(st, height))
}

// followURL does so with a media playlist.
func (s *server) followURL(name, url string) *hlsViewer {
	s.t.Helper()
	v := &hlsViewer{s: s, name: name, statuses: map[int]int{}, first: make(chan struct{})}
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
