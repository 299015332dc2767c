package mp4file

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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

// What ffmpeg decodes of the file is what it decodes of the initialization section and the
// segments, frame for frame; and sound keeps its distance to the picture.
func TestFFmpegReadsTheSameFrames(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source.mp4")
	run(t, "ffmpeg", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=25:duration=6", "-f", "lavfi", "-i", "sine=duration=6",
		"-c:v", "libx264", "-threads", "1", "-bf", "2", "-g", "25", "-c:a", "aac", "-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof", source)
	b, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	var packets []*media.Packet
	for r := fmp4.NewReader(bytes.NewReader(b)); ; {
		p, err := r.ReadPacket(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		// Decode times of segments are never negative.
		p.DTS, p.PTS = p.DTS+p.Track.Ticks(10*time.Second), p.PTS+p.Track.Ticks(10*time.Second)
		packets = append(packets, p)
	}
	r := record(t, packets, 2*time.Second, 8)
	file := filepath.Join(dir, "file.mp4")
	write(t, file, whole(t, r.file(t)))
	start := func(path, stream string) float64 {
		out := run(t, "ffprobe", "-select_streams", stream, "-show_entries", "packet=pts_time", "-of", "csv=p=0", path)
		least := 1e300
		for line := range strings.Lines(out) {
			v, err := strconv.ParseFloat(strings.Trim(strings.TrimSpace(line), ","), 64)
			if err == nil {
				least = min(least, v)
			}
		}
		return least
	}
	var offsets [2][2]float64
	for i, stream := range []string{"v", "a"} {
		init, err := fmp4.Init(r.tracks[i].Track)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.chunks[i] {
			init = append(init, bytes.Join(s, nil)...)
		}
		segments := filepath.Join(dir, stream+".mp4")
		write(t, segments, init)
		frames := func(path string) string {
			return run(t, "ffmpeg", "-threads", "1", "-i", path, "-map", "0:"+stream, "-f", "framehash", "-hash", "md5", "-")
		}
		hashes := func(s string) (list []string) {
			for line := range strings.Lines(s) {
				if !strings.HasPrefix(line, "#") {
					fields := strings.Split(line, ",")
					list = append(list, strings.TrimSpace(fields[len(fields)-1]))
				}
			}
			return list
		}
		got, want := hashes(frames(file)), hashes(frames(segments))
		if len(want) < 100 || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %d frames of the file differ from %d of the segments", stream, len(got), len(want))
		}
		offsets[i] = [2]float64{start(file, stream), start(segments, stream)}
	}
	inFile, inSegments := offsets[1][0]-offsets[0][0], offsets[1][1]-offsets[0][1]
	if d := inFile - inSegments; d > 2e-5 || d < -2e-5 {
		t.Errorf("sound begins %v s after the picture in the file, and %v s in the segments", inFile, inSegments)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
