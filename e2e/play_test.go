//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// playback is what browser/play.mjs reports.
type playback struct {
	StartupMs   int      `json:"startupMs"`
	Fatal       []string `json:"fatal"`
	Errors      []string `json:"errors"`
	Frames      int      `json:"frames"`
	Clocks      int      `json:"clocks"`
	CurrentTime float64  `json:"currentTime"`
	MediaSpan   float64  `json:"mediaSpan"`
	DelayMs     *float64 `json:"delayMs"`
	DelayMaxMs  *float64 `json:"delayMaxMs"`
	FreezeMs    float64  `json:"freezeMs"`
	Width       int      `json:"width"`
	Height      int      `json:"height"`
}

// play plays a stream in Chromium for that many seconds after the first picture.
func play(t *testing.T, player, url string, seconds int, args ...string) playback {
	t.Helper()
	out, errOut, err := run(t, time.Duration(seconds+60)*time.Second, "node",
		append([]string{"browser/play.mjs", "--player", player, "--url", url, "--seconds", strconv.Itoa(seconds)}, args...)...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", player, err, errOut)
	}
	var p playback
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatalf("%s: %v in %q", player, err, out)
	}
	t.Logf("%s: %s", player, strings.TrimSpace(out))
	return p
}

// advances fails unless the picture moved at about the pace of the clock, without an
// error that ends playback.
func (p playback) advances(t *testing.T, player string, seconds int) {
	t.Helper()
	if len(p.Fatal) > 0 {
		t.Errorf("%s: fatal: %v", player, p.Fatal)
	}
	if p.Frames < seconds*5 || p.MediaSpan < float64(seconds)*0.7 {
		t.Errorf("%s: the picture does not advance: %d frames over %.1f s of media in %d s (errors %v)", player, p.Frames, p.MediaSpan, seconds, p.Errors)
	}
}

// delayUnder fails unless the middle of the later half of the frames is younger than that.
func (p playback) delayUnder(t *testing.T, player string, limit time.Duration) {
	t.Helper()
	if p.DelayMs == nil || p.Clocks < p.Frames/2 {
		t.Errorf("%s: the clock in the picture could be read in %d of %d frames", player, p.Clocks, p.Frames)
		return
	}
	if delay := time.Duration(*p.DelayMs * float64(time.Millisecond)); delay > limit {
		t.Errorf("%s: the delay is %v, more than %v", player, delay, limit)
	}
}

func TestPlayersShowAPictureWithLittleDelay(t *testing.T) {
	s := start(t)
	for _, mode := range []struct {
		name  string
		limit time.Duration
	}{{"low", 3 * time.Second}, {"ultra", 2 * time.Second}} {
		t.Run(mode.name, func(t *testing.T) {
			s := s.in(t)
			st := s.create(mode.name)
			s.testcard(st, "--size", "640x360", "--bitrate", "800")
			s.waitPlayable(st, 10*time.Second)
			p := play(t, "hls", s.hlsURL(st), 15)
			p.advances(t, "hls.js", 15)
			p.delayUnder(t, "hls.js", mode.limit)
			q := play(t, "shaka", s.hlsURL(st), 12)
			q.advances(t, "Shaka", 12)
		})
	}
	t.Run("standard", func(t *testing.T) {
		s := s.in(t)
		st := s.create("standard")
		s.testcard(st, "--size", "640x360", "--bitrate", "800")
		s.waitPlayable(st, 15*time.Second)
		play(t, "hls", s.hlsURL(st), 12).advances(t, "hls.js", 12)
	})
}

// TestSixtySecondsDecode lets ffmpeg decode a minute of each codec, all at once.
func TestSixtySecondsDecode(t *testing.T) {
	s := start(t)
	for _, codec := range []struct {
		name string
		args []string
	}{
		{"h264", []string{"--b-frames", "2"}},
		{"hevc", []string{"--video-codec", "hevc", "--size", "320x180", "--bitrate", "300"}},
		{"av1", []string{"--video-codec", "av1", "--audio-codec", "opus", "--size", "320x180", "--bitrate", "300"}},
	} {
		t.Run(codec.name, func(t *testing.T) {
			s := s.in(t)
			t.Parallel()
			st := s.create("low")
			p := encode(t, program(t), append([]string{"publish", s.publishURL(st), "--size", "640x360", "--bitrate", "600"}, codec.args...)...)
			_ = p
			s.waitStatus(st, "active", 30*time.Second)
			s.waitPlayable(st, 15*time.Second)
			_, errOut, err := run(t, 100*time.Second, "ffmpeg", "-hide_banner", "-v", "warning", "-nostdin",
				"-i", s.hlsURL(st), "-t", "60", "-f", "null", "-")
			if err != nil || complaints(errOut) != "" {
				t.Errorf("ffmpeg: %v\n%s", err, errOut)
			}
		})
	}
}

// complaints leaves out what ffmpeg says of every live stream.
func complaints(text string) string {
	var kept []string
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.TrimSpace(line) == "",
			strings.Contains(line, "skipping"), strings.Contains(line, "Skip ('#EXT-X"),
			strings.Contains(line, "Opening '"), strings.Contains(line, "expired from playlists"),
			strings.Contains(line, "Found duplicated MOOV Atom"), strings.Contains(line, "Last message repeated"):
		default:
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// TestSoundStaysWithThePicture records what viewers get and looks for the beep and the
// square that the source shows at the same instant.
func TestSoundStaysWithThePicture(t *testing.T) {
	s := start(t)
	for _, tt := range []struct{ name, bframes string }{{"without B-frames", "0"}, {"with B-frames", "2"}} {
		t.Run(tt.name, func(t *testing.T) {
			s := s.in(t)
			st := s.create("low")
			s.testcard(st, "--size", "640x360", "--bitrate", "800", "--b-frames", tt.bframes)
			s.waitPlayable(st, 10*time.Second)
			file := filepath.Join(t.TempDir(), "viewed.mkv")
			if _, errOut, err := run(t, 60*time.Second, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-copyts",
				"-i", s.hlsURL(st), "-t", "12", "-c", "copy", file); err != nil {
				t.Fatalf("ffmpeg: %v\n%s", err, errOut)
			}
			offsets := syncOffsets(t, file)
			if len(offsets) < 5 {
				t.Fatalf("found %d beeps with a square in 12 s", len(offsets))
			}
			for _, o := range offsets {
				if o.Abs() > 40*time.Millisecond {
					t.Errorf("sound and picture are %v apart (all: %v)", o, offsets)
				}
			}
			t.Logf("offsets %v", offsets)
		})
	}
}

func TestRTMPPlay(t *testing.T) {
	s := start(t)
	t.Run("rtmpdump", func(t *testing.T) {
		s := s.in(t)
		st := s.create("low")
		s.testcard(st, "--size", "640x360", "--bitrate", "800", "--duration", "8s")
		file := filepath.Join(t.TempDir(), "out.flv")
		// It ends with the stream; what it exits with then depends on how much it saw.
		_, errOut, _ := run(t, 30*time.Second, "rtmpdump", "-q", "-v", "-r", s.playURL(st), "-o", file)
		if info, err := os.Stat(file); err != nil || info.Size() < 50_000 {
			t.Fatalf("rtmpdump wrote nothing: %v\n%s", err, errOut)
		}
		_, errOut, err := run(t, 30*time.Second, "ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-i", file, "-f", "null", "-")
		if err != nil || strings.TrimSpace(errOut) != "" {
			t.Errorf("what rtmpdump wrote does not decode: %v\n%s", err, errOut)
		}
	})
	t.Run("ffplay", func(t *testing.T) {
		s := s.in(t)
		st := s.create("low")
		s.testcard(st, "--size", "640x360", "--bitrate", "800", "--duration", "8s")
		t.Setenv("SDL_VIDEODRIVER", "dummy")
		t.Setenv("SDL_AUDIODRIVER", "dummy")
		_, errOut, err := run(t, 40*time.Second, "ffplay", "-hide_banner", "-v", "error", "-autoexit", s.playURL(st))
		if err != nil || strings.TrimSpace(errOut) != "" {
			t.Errorf("ffplay: %v\n%s", err, errOut)
		}
	})
	t.Run("a stream that is not live", func(t *testing.T) {
		s := s.in(t)
		idle := s.create("low")
		_, errOut, err := run(t, 20*time.Second, "ffprobe", "-hide_banner", s.playURL(idle))
		if err == nil || !strings.Contains(errOut, "not live") {
			t.Errorf("ffprobe does not say why: %v\n%s", err, errOut)
		}
	})
}
