//go:build unix

package ffmpeg

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// spent is the processor time of this process, or of its children that are gone.
func spent(b *testing.B, who int) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func rungs(tool *Tool, sizes ...int) (out []Video) {
	bits := map[int]int64{360: 800_000, 480: 1_200_000, 720: 2_800_000}
	for _, h := range sizes {
		out = append(out, Video{Encoder: tool.Encoders(media.H264)[0], Width: (h*16/9 + 1) &^ 1, Height: h, MaxBitrate: bits[h]})
	}
	return out
}

// BenchmarkPipes compares two rungs in one process, fed and read by us, with the same
// encodes of an ffmpeg that reads and writes files: processor time of everybody in it.
func BenchmarkPipes(b *testing.B) {
	tool := realTool(b)
	in := made(b, 100, "-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30,noise=alls=12:allf=t", "-t", "12", "-pix_fmt", "yuv420p",
		"-c:v", "libx264", "-preset", "veryfast", "-b:v", "3M", "-g", "60", "-bf", "2")
	file := filepath.Join(b.TempDir(), "in.mp4")
	save(b, file, in)
	videos := rungs(tool, 480, 360)
	bare := []string{"-nostdin", "-v", "error", "-threads", "1", "-filter_threads", "1", "-filter_complex_threads", "1", "-i", file, "-filter_complex", split([]string{videos[0].filter(videos[0].Encoder, in[0].Track), videos[1].filter(videos[1].Encoder, in[0].Track)})}
	for i, v := range videos {
		bare = append(append(bare, "-map", fmt.Sprintf("[o%d]", i)), v.encode(v.Encoder, in[0].Track)...)
		bare = append(bare, "-f", "mp4", "-y", filepath.Join(b.TempDir(), "out.mp4"))
	}
	var alone, pipes, own time.Duration
	for b.Loop() {
		before := spent(b, syscall.RUSAGE_CHILDREN)
		if out, err := exec.CommandContext(b.Context(), tool.path, bare...).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		between, self := spent(b, syscall.RUSAGE_CHILDREN), spent(b, syscall.RUSAGE_SELF)
		job := Job{Source: in[0].Track}
		for i := range videos {
			job.Outputs = append(job.Outputs, Output{Sink: &taker{}, Video: &videos[i]})
		}
		if err := tool.Run(b.Context(), job, &list{packets: in}, nil); err != nil {
			b.Fatal(err)
		}
		alone += between - before
		pipes += spent(b, syscall.RUSAGE_CHILDREN) - between
		own += spent(b, syscall.RUSAGE_SELF) - self
	}
	n := float64(b.N)
	b.ReportMetric(alone.Seconds()/n, "bare-cpu-s")
	b.ReportMetric(pipes.Seconds()/n, "child-cpu-s")
	b.ReportMetric(own.Seconds()/n, "own-cpu-s")
	b.ReportMetric(float64(pipes+own)/float64(alone), "×bare")
}

// save writes packets as a file.
func save(t testing.TB, name string, packets []*media.Packet) (size int) {
	t.Helper()
	var file bytes.Buffer
	f := feeder{w: &file, track: packets[0].Track}
	for i, p := range packets {
		if i == 0 {
			if err := f.header(p); err != nil {
				t.Fatal(err)
			}
		}
		size += len(p.Data)
		if err := f.packet(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return size
}

var ssimAll = regexp.MustCompile(`All:([0-9.]+)`)

// ssim compares a rung with the source in the rung's size.
func ssim(b *testing.B, rung, source string, v Video) float64 {
	b.Helper()
	graph := fmt.Sprintf("[1:v]scale=%d:%d:flags=bilinear[r];[0:v][r]ssim", v.Width, v.Height)
	out, err := exec.CommandContext(b.Context(), mediatest.Program(b, "ffmpeg"), "-nostdin", "-hide_banner", "-i", rung, "-i", source, "-filter_complex", graph, "-f", "null", "-").CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	m := ssimAll.FindSubmatch(out)
	if m == nil {
		b.Fatalf("no figure in %s", out)
	}
	value, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return value
}

// BenchmarkLadder compares what a ladder of capped constant quality sends with what one of
// fixed bit rates does, and what viewers see of it (SSIM against the source in the size
// of the rung). It prints a row of a table a rung, in kilobytes; that of the ladder has the
// largest difference of its rungs.
func BenchmarkLadder(b *testing.B) {
	tool := realTool(b)
	for _, name := range []string{"screen", "talk", "sport", "storm"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				compareLadders(b, tool, name, clips()[name])
			}
		})
	}
}

func compareLadders(b *testing.B, tool *Tool, name, graph string) {
	b.Helper()
	dir := b.TempDir()
	in := made(b, 100, "-f", "lavfi", "-i", graph, "-t", strconv.Itoa(clipSeconds), "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "16", "-g", "60", "-threads", "2")
	source := filepath.Join(dir, "source.mp4")
	save(b, source, in)
	sum, most := [2]int{}, 0.0
	for _, v := range rungs(tool, 720, 480, 360) {
		size, seen := [2]int{}, [2]float64{}
		for i, fixed := range []bool{true, false} {
			v.Fixed = fixed
			var out taker
			if err := tool.Run(b.Context(), Job{Source: in[0].Track, Outputs: []Output{{Sink: &out, Video: &v}}}, &list{packets: in}, nil); err != nil {
				b.Fatal(err)
			}
			file := filepath.Join(dir, "rung.mp4")
			size[i] = save(b, file, out.packets)
			seen[i] = ssim(b, file, source, v)
			sum[i] += size[i]
		}
		if d := seen[1] - seen[0]; math.Abs(d) > math.Abs(most) {
			most = d
		}
		fmt.Printf("| %s, %dp | %d | %.4f | %d | %.4f | %+.4f | %.0f %% |\n", name, v.Height, size[0]/1000, seen[0], size[1]/1000, seen[1], seen[1]-seen[0], 100-100*float64(size[1])/float64(size[0]))
	}
	fmt.Printf("| %s, ladder | %d | | %d | | %+.4f | %.0f %% |\n", name, sum[0]/1000, sum[1]/1000, most, 100-100*float64(sum[1])/float64(sum[0]))
}
