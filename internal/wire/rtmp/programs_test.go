package rtmp

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// program returns a command that ends with the test, or skips where it is not installed.
func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path := mediatest.Program(t, name)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path, args...)
}

func ffmpeg(t *testing.T, args ...string) *exec.Cmd {
	return program(t, "ffmpeg", append([]string{"-hide_banner", "-nostdin", "-loglevel", "error"}, args...)...)
}

// run starts the command, waits, and returns what it said.
func run(t *testing.T, cmd *exec.Cmd) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// testPicture are ffmpeg's arguments for two seconds of B-frames and sound.
var testPicture = []string{
	"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2",
	"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=2",
	"-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-x264-params", "b-adapt=0", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac",
}

func count(packets []*media.Packet, k media.Kind) (n, keys int) {
	for _, p := range packets {
		if p.Track.Kind() == k {
			n++
			if p.Key {
				keys++
			}
		}
	}
	return n, keys
}

func TestFFmpegPublishes(t *testing.T) {
	st := newStation()
	srv := serve(t, testConfig(), st)
	out, err := run(t, ffmpeg(t, append(testPicture, "-f", "flv", srv.url(goodKey)+"?token=ab")...))
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	st.wait(t)
	frames, keys := count(st.packets, media.Video)
	sounds, _ := count(st.packets, media.Audio)
	if frames != 50 || keys != 2 || sounds < 90 {
		t.Errorf("%d frames with %d keys and %d sounds", frames, keys, sounds)
	}
	reordered := false
	for _, p := range st.packets {
		reordered = reordered || p.PTS != p.DTS
	}
	if !reordered {
		t.Error("no frame has a composition offset")
	}
	if !strings.HasPrefix(st.encoder, "Lavf") || st.meta["width"] != 320.0 {
		t.Errorf("encoder %q, metadata %v", st.encoder, st.meta)
	}
	if st.tracks[0].Width != 320 || st.tracks[0].Height != 180 || st.tracks[1].SampleRate != 48000 {
		t.Errorf("tracks %+v %+v", st.tracks[0], st.tracks[1])
	}
	if st.queries[0] != "token=ab" {
		t.Errorf("query %q", st.queries[0])
	}
}

func TestFFmpegIsToldWhy(t *testing.T) {
	srv := serve(t, testConfig(), newStation())
	out, err := run(t, ffmpeg(t, append(testPicture, "-f", "flv", srv.url("wrong"))...))
	if err == nil || !strings.Contains(out, "the stream key is not known. Copy it from the stream's page") {
		t.Errorf("ffmpeg: %v\n%s", err, out)
	}
}

func TestGStreamerPublishes(t *testing.T) {
	for _, sink := range []string{"rtmp2sink", "rtmpsink"} {
		t.Run(sink, func(t *testing.T) {
			st := newStation()
			srv := serve(t, testConfig(), st)
			cmd := program(t, "gst-launch-1.0", "-q", "flvmux", "name=mux", "streamable=true", "!", sink, "location="+srv.url(goodKey),
				"videotestsrc", "num-buffers=50", "!", "video/x-raw,width=320,height=180,framerate=25/1", "!",
				"x264enc", "speed-preset=ultrafast", "key-int-max=25", "!", "mux.",
				"audiotestsrc", "num-buffers=90", "!", "voaacenc", "!", "mux.")
			out, err := run(t, cmd)
			if strings.Contains(out, "no element") {
				t.Skipf("an element is not installed: %s", out)
			}
			if err != nil {
				t.Fatalf("gst-launch-1.0: %v\n%s", err, out)
			}
			st.wait(t)
			frames, keys := count(st.packets, media.Video)
			sounds, _ := count(st.packets, media.Audio)
			if frames != 50 || keys != 2 || sounds < 80 {
				t.Errorf("%d frames with %d keys and %d sounds, ended with %v\n%s", frames, keys, sounds, st.ended, out)
			}
		})
	}
}

// playable records a clip that ffmpeg encoded, by way of the server.
func playable(t *testing.T) ([]*media.Track, []*media.Packet) {
	t.Helper()
	st := newStation()
	srv := serve(t, testConfig(), st)
	if out, err := run(t, ffmpeg(t, append(testPicture, "-f", "flv", srv.url(goodKey))...)); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	st.wait(t)
	srv.stop()
	return st.tracks, st.packets
}

func TestProgramsPlay(t *testing.T) {
	program(t, "ffmpeg")
	tracks, packets := playable(t)
	for _, tt := range []struct {
		name string
		cmd  func(t *testing.T, url, file string) *exec.Cmd
	}{
		{"ffmpeg", func(t *testing.T, url, file string) *exec.Cmd {
			return ffmpeg(t, "-i", url, "-c", "copy", "-f", "flv", file)
		}},
		{"rtmpdump", func(t *testing.T, url, file string) *exec.Cmd {
			return program(t, "rtmpdump", "-q", "-v", "-r", url, "-o", file)
		}},
		{"gstreamer", func(t *testing.T, url, file string) *exec.Cmd {
			return program(t, "gst-launch-1.0", "-q", "rtmp2src", "location="+url, "!", "filesink", "location="+file)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := newStation()
			st.source = func() ([]*media.Track, media.Source) { return tracks, &slice{packets} }
			srv := serve(t, testConfig(), st)
			file := filepath.Join(t.TempDir(), "out.flv")
			cmd := tt.cmd(t, srv.url(goodKey), file)
			if out, err := run(t, cmd); err != nil {
				t.Logf("%s: %v\n%s", tt.name, err, out) // they differ in what the end of a stream is
			}
			out, err := run(t, program(t, "ffprobe", "-loglevel", "error", "-count_packets",
				"-show_entries", "stream=codec_name,nb_read_packets", "-of", "csv=p=0", file))
			if err != nil || !strings.Contains(out, "h264,50") || !strings.Contains(out, "aac,") {
				t.Errorf("ffprobe: %v\n%s", err, out)
			}
			// What the player got is decoded without a complaint.
			if out, err := run(t, ffmpeg(t, "-xerror", "-i", file, "-f", "null", "-")); err != nil || out != "" {
				t.Errorf("decoding: %v\n%s", err, out)
			}
			srv.stop()
			if !st.supports[media.H264] || st.supports[media.AV1] {
				t.Errorf("a player without capabilities supports %v", st.supports)
			}
		})
	}
}

func TestFFmpegIsToldWhyItCannotPlay(t *testing.T) {
	srv := serve(t, testConfig(), newStation())
	out, err := run(t, ffmpeg(t, "-i", srv.url("nobody"), "-f", "null", "-"))
	if err == nil || !strings.Contains(out, "the stream is not live") {
		t.Errorf("ffmpeg: %v\n%s", err, out)
	}
}

func TestPlayerThatLeavesEndsTheRequest(t *testing.T) {
	g := mediatest.NewGenerator(mediatest.Options{FrameSize: 20000})
	st := newStation()
	st.source = func() ([]*media.Track, media.Source) { return g.Tracks(), g }
	srv := serve(t, testConfig(), st)
	player, err := DialPlay(t.Context(), srv.url(goodKey))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := player.ReadPacket(t.Context()); err != nil {
		t.Fatal(err)
	}
	player.Close()
	srv.stop()
	if st.playErr == nil || errors.Is(st.playErr, context.DeadlineExceeded) {
		t.Errorf("playing ended with %v", st.playErr)
	}
}
