package mp4file

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
)

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), mediatest.Program(t, program), append([]string{"-v", "error"}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil || complaints.Len() > 0 {
		t.Fatalf("%s %v: %v\n%s", program, args, err, complaints.String())
	}
	return out.String()
}

// fragment lets ffmpeg write its output as fragmented MP4 and returns the packets, moved by a
// while: decode times of segments are never negative.
func fragment(t *testing.T, while time.Duration, args ...string) (packets []*media.Packet) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "source.mp4")
	run(t, "ffmpeg", append(args, "-f", "mp4", "-movflags", "frag_keyframe+delay_moov+default_base_moof", source)...)
	b, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	for r := fmp4.NewReader(bytes.NewReader(b)); ; {
		p, err := r.ReadPacket(context.Background())
		if errors.Is(err, io.EOF) {
			return packets
		}
		if err != nil {
			t.Fatal(err)
		}
		p.DTS, p.PTS = p.DTS+p.Track.Ticks(while), p.PTS+p.Track.Ticks(while)
		packets = append(packets, p)
	}
}

// segments writes what was recorded of a track as a player of HLS gets it.
func (r *recording) segments(t *testing.T, track int) string {
	t.Helper()
	b, err := fmp4.Init(r.tracks[track].Track)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.chunks[track] {
		b = append(b, bytes.Join(s, nil)...)
	}
	path := filepath.Join(t.TempDir(), "segments.mp4")
	write(t, path, b)
	return path
}

// frames returns the hashes of what ffmpeg decodes of a stream, of each picture in its size.
func frames(t *testing.T, path, stream string, before ...string) (hashes []string) {
	t.Helper()
	args := append(before, "-threads", "1", "-i", path, "-map", "0:"+stream)
	if strings.HasPrefix(stream, "v") {
		args = append(args, "-autoscale", "0", "-fps_mode", "passthrough")
	}
	for line := range strings.Lines(run(t, "ffmpeg", append(args, "-f", "framehash", "-hash", "md5", "-")...)) {
		if !strings.HasPrefix(line, "#") {
			fields := strings.Split(line, ",")
			hashes = append(hashes, strings.TrimSpace(fields[len(fields)-1]))
		}
	}
	return hashes
}

// begins is when the first of a stream is presented, in seconds.
func begins(t *testing.T, path, stream string) float64 {
	t.Helper()
	least := 1e300
	for line := range strings.Lines(run(t, "ffprobe", "-select_streams", stream, "-show_entries", "packet=pts_time", "-of", "csv=p=0", path)) {
		v, err := strconv.ParseFloat(strings.Trim(strings.TrimSpace(line), ","), 64)
		if err == nil {
			least = min(least, v)
		}
	}
	return least
}

// sameFrames holds the file of a recording against its segments: each frame, and how long
// after the first track each one begins.
func sameFrames(t *testing.T, r *recording) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file.mp4")
	write(t, file, whole(t, r.file(t)))
	const tick = 1.0/48000 + 1e-6 // and to what ffprobe rounds
	kinds := map[media.Kind]int{}
	var first [2]float64
	for i := range r.tracks {
		kind := r.tracks[i].Track.Kind()
		letter, n := "v", kinds[kind]
		if kind == media.Audio {
			letter = "a"
		}
		kinds[kind]++
		segments, stream := r.segments(t, i), letter+":"+strconv.Itoa(n)
		got, want := frames(t, file, stream), frames(t, segments, letter+":0")
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: %d frames of the file differ from %d of the segments", stream, len(got), len(want))
		}
		inFile, inSegments := begins(t, file, stream), begins(t, segments, letter+":0")
		if i == 0 {
			first = [2]float64{inFile, inSegments}
		}
		if d := inFile - first[0] - (inSegments - first[1]); d > tick || d < -tick {
			t.Errorf("%s begins %v s after the first track in the file, and %v s in the segments", stream, inFile-first[0], inSegments-first[1])
		}
	}
}

// What ffmpeg decodes of the file is what it decodes of the initialization section and the
// segments, frame for frame; and sound keeps its distance to the picture.
func TestFFmpegReadsTheSameFrames(t *testing.T) {
	for name, coder := range map[string][]string{
		"H.264 with B-frames, two AAC": {"-map", "1", "-map", "1", "-c:v", "libx264", "-bf", "2", "-c:a", "aac"},
		"H.264, AAC and Opus":          {"-map", "1", "-map", "1", "-c:v", "libx264", "-bf", "0", "-c:a:0", "aac", "-c:a:1", "libopus"},
		"HEVC with B-frames, MP3":      {"-map", "1", "-c:v", "libx265", "-x265-params", "log-level=none:bframes=3:pools=1", "-c:a", "libmp3lame", "-ar", "44100"},
		"AV1, Opus":                    {"-map", "1", "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-c:a", "libopus"},
		"VP9, FLAC":                    {"-map", "1", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "flac", "-strict", "-2"},
		"H.264, AC-3 and E-AC-3":       {"-map", "1", "-map", "1", "-c:v", "libx264", "-bf", "1", "-c:a:0", "ac3", "-c:a:1", "eac3"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"-f", "lavfi", "-i", "testsrc=size=160x120:rate=25:duration=5", "-f", "lavfi", "-i", "sine=sample_rate=48000:duration=5",
				"-map", "0", "-threads", "1", "-pix_fmt", "yuv420p", "-g", "25"}, coder...)
			sameFrames(t, record(t, fragment(t, 10*time.Second, args...), 2*time.Second, 8))
		})
	}
}

// So it is with what cameras and encoders made.
func TestFFmpegReadsTheSameFramesOfSamples(t *testing.T) {
	for _, name := range []string{
		"flv-rtmp/testsrc.flv",           // B-frames, a variable frame rate
		"flv-rtmp/rotations.flv",         // 16 kHz of one channel
		"mp4/ed_hevc.mp4",                // HEVC with B-frames
		"mp4/long_180p_av1.mp4",          // AV1
		"mp4/sample_opus_fragmented.mp4", // Opus alone
		"ts/hls-ts-muxed-mp3-h264_seg-2-v1-a1.ts",
		"mp4/bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4",
	} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			packets := fragment(t, 10*time.Second, "-i", mediatest.SharedFile(t, name), "-map", "0:v?", "-map", "0:a?", "-c", "copy", "-t", "6")
			sameFrames(t, record(t, packets, 2*time.Second, 8))
		})
	}
}

// Where the encoder changes its parameters the decoder follows, also from the middle.
func TestFFmpegFollowsChanges(t *testing.T) {
	for name, coder := range map[string][]string{
		"H.264": {"-c:v", "libx264"},
		"HEVC":  {"-c:v", "libx265", "-x265-params", "log-level=none:pools=1"},
		"AV1":   {"-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime"},
	} {
		t.Run(name, func(t *testing.T) {
			var r *recording
			var want []string
			for i, part := range []struct{ size, channels string }{{"320x180", "2"}, {"160x90", "1"}, {"320x180", "2"}} {
				args := append([]string{"-f", "lavfi", "-i", "testsrc=size=" + part.size + ":rate=25:duration=4", "-f", "lavfi", "-i", "sine=sample_rate=48000",
					"-threads", "1", "-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac", "-ac", part.channels, "-t", "3.9"}, coder...)
				next := record(t, fragment(t, time.Duration(10+4*i)*time.Second, args...), time.Second, 8)
				want = append(want, frames(t, next.segments(t, 0), "v:0")...)
				if r == nil {
					r = next
				} else {
					r.follow(next)
				}
			}
			file := filepath.Join(t.TempDir(), "file.mp4")
			write(t, file, whole(t, r.file(t)))
			got := frames(t, file, "v:0")
			if len(want) < 290 || !slices.Equal(got, want) {
				t.Errorf("%d pictures of the file differ from %d of the segments", len(got), len(want))
			}
			for _, at := range []string{"5", "9"} {
				if got := frames(t, file, "v:0", "-ss", at); len(got) == 0 || !slices.Contains(want, got[0]) || got[len(got)-1] != want[len(want)-1] {
					t.Errorf("from %s s on other pictures are decoded", at)
				}
			}
			layouts := map[string]bool{}
			for line := range strings.Lines(run(t, "ffprobe", "-select_streams", "a", "-show_entries", "frame=channels", "-of", "csv=p=0", file)) {
				layouts[strings.Trim(strings.TrimSpace(line), ",")] = true
			}
			if !layouts["1"] || !layouts["2"] {
				t.Errorf("the sound has channels: %v", layouts)
			}
		})
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
