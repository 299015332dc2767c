//go:build e2e

package e2e

import (
	"encoding/binary"
	"os/exec"
	"regexp"
	"sort"
	"strconv"
	"testing"
	"time"
)

var ptsTime = regexp.MustCompile(`pts_time:\s*([0-9.]+)`)

// syncOffsets finds in a recording of the test card, for each second, how much later
// the beep starts than the square shows.
func syncOffsets(t *testing.T, file string) []time.Duration {
	t.Helper()
	return offsetsOf(squareTimes(t, file), beepTimes(t, file))
}

// offsetsOf returns for each beep how much later it starts than the square beside it shows.
func offsetsOf(squares, beeps []float64) (offsets []time.Duration) {
	for _, b := range beeps {
		i := sort.SearchFloat64s(squares, b-0.5)
		if i < len(squares) && squares[i] < b+0.5 {
			offsets = append(offsets, time.Duration((b-squares[i])*float64(time.Second)))
		}
	}
	return offsets
}

// squareTimes returns when the square beside the clock appears, in seconds.
func squareTimes(t *testing.T, file string) []float64 {
	t.Helper()
	cmd := exec.Command("ffmpeg", "-hide_banner", "-v", "info", "-nostdin", "-copyts", "-i", file, "-map", "0:v",
		"-vf", "crop=iw/32:ih/16:iw*57/64:ih*27/32,scale=1:1,format=gray,showinfo", "-vsync", "passthrough", "-f", "rawvideo", "-")
	var info logBuffer
	cmd.Stderr = &info
	luma, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, info.String())
	}
	stamps := ptsTime.FindAllStringSubmatch(info.String(), -1)
	if len(stamps) < len(luma) {
		t.Fatalf("%d frames with %d time stamps", len(luma), len(stamps))
	}
	var times []float64
	for i := 1; i < len(luma); i++ {
		if luma[i] > 160 && luma[i-1] <= 160 {
			times = append(times, seconds(t, stamps[i][1]))
		}
	}
	return times
}

// beepTimes returns when the beep starts, in seconds.
func beepTimes(t *testing.T, file string) []float64 {
	t.Helper()
	const rate = 48000
	cmd := exec.Command("ffmpeg", "-hide_banner", "-v", "info", "-nostdin", "-copyts", "-i", file, "-map", "0:a",
		"-af", "aresample=48000,ashowinfo", "-ac", "1", "-f", "s16le", "-")
	var info logBuffer
	cmd.Stderr = &info
	pcm, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, info.String())
	}
	first := ptsTime.FindStringSubmatch(info.String())
	if first == nil {
		t.Fatal("the sound has no time stamp")
	}
	begin := seconds(t, first[1])
	var times []float64
	last := -rate
	for i := 0; i+1 < len(pcm); i += 2 {
		v := int16(binary.LittleEndian.Uint16(pcm[i:]))
		if v > 8000 || v < -8000 {
			if n := i / 2; n-last > rate/2 {
				times = append(times, begin+float64(n)/rate)
			}
			last = i / 2
		}
	}
	return times
}

func seconds(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// logBuffer keeps the error output of a command.
type logBuffer struct{ b []byte }

func (l *logBuffer) Write(b []byte) (int, error) { l.b = append(l.b, b...); return len(b), nil }
func (l *logBuffer) String() string              { return string(l.b) }
