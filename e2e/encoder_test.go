//go:build e2e

package e2e

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// decodes fails unless ffmpeg can play that many seconds of the stream without a word.
func (s *server) decodes(t *testing.T, st stream, seconds string) {
	t.Helper()
	s.waitPlayable(st, 20*time.Second)
	_, errOut, err := run(t, 60*time.Second, "ffmpeg", "-hide_banner", "-v", "warning", "-nostdin",
		"-i", s.hlsURL(st), "-t", seconds, "-f", "null", "-")
	if err != nil || complaints(errOut) != "" {
		t.Errorf("ffmpeg cannot play it: %v\n%s", err, errOut)
	}
}

// track returns the first track of a kind that is being received.
func (st stream) track(kind string) (codec string, width, height int) {
	if st.ActiveIngest == nil {
		return "", 0, 0
	}
	for _, tr := range st.ActiveIngest.Tracks {
		if tr.Kind == kind {
			return tr.Codec, tr.Width, tr.Height
		}
	}
	return "", 0, 0
}

func TestEncoders(t *testing.T) {
	s := start(t)
	ffmpeg := func(url string, args ...string) []string {
		return append(append([]string{"-hide_banner", "-v", "error", "-nostdin"}, args...), "-f", "flv", url)
	}
	picture := []string{"-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"}
	h264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50", "-c:a", "aac"}

	for _, tt := range []struct {
		name         string
		program      string
		args         func(url string) []string
		video, audio string
		onlyAudio    bool
	}{
		{name: "ffmpeg", program: "ffmpeg", video: "H.264", audio: "AAC", args: func(u string) []string {
			return ffmpeg(u, append(picture, h264...)...)
		}},
		{name: "ffmpeg with B-frames", program: "ffmpeg", video: "H.264", audio: "AAC", args: func(u string) []string {
			return ffmpeg(u, append(picture, "-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac")...)
		}},
		{name: "ffmpeg with key frames ten seconds apart", program: "ffmpeg", video: "H.264", audio: "AAC", args: func(u string) []string {
			return ffmpeg(u, append(picture, "-c:v", "libx264", "-preset", "ultrafast", "-g", "250", "-keyint_min", "250", "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-c:a", "aac")...)
		}},
		{name: "ffmpeg with a variable frame rate", program: "ffmpeg", video: "H.264", audio: "AAC", args: func(u string) []string {
			return ffmpeg(u, append(append(picture, "-vf", `select=not(eq(mod(n\,7)\,3))*not(eq(mod(n\,11)\,5))`, "-vsync", "vfr"), h264...)...)
		}},
		{name: "ffmpeg with sound only", program: "ffmpeg", audio: "AAC", onlyAudio: true, args: func(u string) []string {
			return ffmpeg(u, "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:a", "aac")
		}},
		{name: "ffmpeg with a picture only", program: "ffmpeg", video: "H.264", args: func(u string) []string {
			return ffmpeg(u, "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-pix_fmt", "yuv420p")
		}},
		{name: "ffmpeg with sound two seconds early", program: "ffmpeg", video: "H.264", audio: "AAC", args: func(u string) []string {
			return ffmpeg(u, append([]string{"-re", "-itsoffset", "2", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-map", "0:v", "-map", "1:a"}, h264...)...)
		}},
		{name: "GStreamer", program: "gst-launch-1.0", video: "H.264", audio: "AAC", args: func(u string) []string {
			return strings.Fields("-q videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1 ! " +
				"x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 ! h264parse ! flvmux streamable=true name=m ! rtmp2sink location=" + u +
				" audiotestsrc is-live=true ! audioconvert ! avenc_aac ! aacparse ! m.")
		}},
		{name: "onair publish, HEVC", program: program(t), video: "HEVC", audio: "AAC", args: func(u string) []string {
			return []string{"publish", u, "--video-codec", "hevc", "--size", "320x180", "--bitrate", "300"}
		}},
		{name: "onair publish, AV1 and Opus", program: program(t), video: "AV1", audio: "Opus", args: func(u string) []string {
			return []string{"publish", u, "--video-codec", "av1", "--audio-codec", "opus", "--size", "320x180", "--bitrate", "300"}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.program != "gst-launch-1.0" { // its muxer moves the stamps of pictures that are late, as on a busy machine
				beside(t)
			}
			s := s.in(t)
			if _, err := exec.LookPath(tt.program); err != nil {
				t.Fatal(err)
			}
			st := s.create("low")
			encode(t, tt.program, tt.args(s.publishURL(st))...)
			s.waitStatus(st, "active", 30*time.Second)
			s.decodes(t, st, "8")
			got := s.get(st.ID)
			video, width, height := got.track("video")
			audio, _, _ := got.track("audio")
			if video != tt.video || audio != tt.audio {
				t.Errorf("received %q and %q, want %q and %q", video, audio, tt.video, tt.audio)
			}
			if tt.video != "" && (width != 320 || height != 180) {
				t.Errorf("received %d × %d, want 320 × 180", width, height)
			}
			if tt.video == "HEVC" {
				return // Debian's Chromium decodes no HEVC.
			}
			args := []string(nil)
			if tt.onlyAudio {
				args = []string{"--audio-only", "yes"}
			}
			p := play(t, "hls", s.hlsURL(st), 8, args...)
			if tt.onlyAudio {
				if p.CurrentTime < 5 || len(p.Fatal) > 0 {
					t.Errorf("hls.js: the sound does not advance: %+v", p)
				}
				return
			}
			p.advances(t, "hls.js", 8)
		})
	}
}

// TestTakeover publishes the same key twice: the second encoder wins at once, and who
// watches goes on.
func TestTakeover(t *testing.T) {
	s := start(t)
	st := s.create("low")
	first := s.testcard(st, "--size", "320x180", "--bitrate", "300")
	s.waitPlayable(st, 10*time.Second)
	watched := make(chan playback, 1)
	go func() { watched <- play(t, "hls", s.hlsURL(st), 14) }()
	pause(t.Context(), 6*time.Second)
	encode(t, program(t), "publish", s.publishURL(st), "--size", "320x180", "--bitrate", "300")
	if err := first.wait(10 * time.Second); err == nil {
		t.Error("the first encoder was not told that it was replaced")
	}
	if said := first.out.tail(5); !strings.Contains(said, "another") {
		t.Errorf("the first encoder said %q", said)
	}
	if got := s.get(st.ID); got.Status != "active" {
		t.Errorf("the stream is %s after the takeover", got.Status)
	}
	(<-watched).advances(t, "hls.js", 12)
}
