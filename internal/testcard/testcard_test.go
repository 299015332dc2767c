package testcard

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

func TestClockIsReadBack(t *testing.T) {
	at := time.Date(2026, 11, 24, 21, 35, 2, 123e6, time.UTC)
	for _, size := range [][2]int{{1280, 720}, {640, 360}, {320, 180}, {96, 54}} {
		p := newPicture(size[0], size[1])
		for _, moment := range []time.Time{at, at.Add(time.Millisecond), at.Add(23 * time.Hour)} {
			frame := p.draw(moment, 1234*time.Millisecond)
			got, ok := ReadClock(frame, size[0], size[1], size[0], at)
			if !ok || !got.Equal(moment) {
				t.Errorf("%v: read %v, %v; want %v", size, got, ok, moment)
			}
		}
	}
}

func TestPictureWithoutClockIsNotRead(t *testing.T) {
	for name, luma := range map[string]byte{"black": 0, "white": 255} {
		frame := make([]byte, 640*360)
		paint(frame, luma)
		if at, ok := ReadClock(frame, 640, 360, 640, time.Now()); ok {
			t.Errorf("read %v from a %s picture", at, name)
		}
	}
	if _, ok := ReadClock(nil, 640, 360, 640, time.Now()); ok {
		t.Error("read a clock from nothing")
	}
}

func TestBeepAndSquareStartTogether(t *testing.T) {
	loud := func(first int64) bool {
		for _, b := range chunkPeaks(tone(nil, first, first+480)) {
			if b > 8000 {
				return true
			}
		}
		return false
	}
	if !loud(0) || !loud(sampleRate) || loud(sampleRate/2) {
		t.Error("the beep does not sound at the start of a second only")
	}
	p := newPicture(640, 360)
	corner := 360*7/8*640 + 640*29/32
	if p.draw(time.Now(), 2*time.Second)[corner] != lumaWhite {
		t.Error("the square does not show at the start of a second")
	}
	if p.draw(time.Now(), 2500*time.Millisecond)[corner] == lumaWhite {
		t.Error("the square shows in the middle of a second")
	}
}

// chunkPeaks returns the absolute values of the left channel.
func chunkPeaks(b []byte) []int {
	var peaks []int
	for i := 0; i+1 < len(b); i += 4 {
		v := int(int16(uint16(b[i]) | uint16(b[i+1])<<8))
		peaks = append(peaks, max(v, -v))
	}
	return peaks
}

func TestSourceYieldsBothTracks(t *testing.T) {
	mediatest.Program(t, "ffmpeg")
	s, err := Open(t.Context(), Options{Width: 320, Height: 180, KeyInterval: time.Second, BFrames: 0})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	packets, keys := map[media.Kind]int{}, 0
	for packets[media.Video] < 45 || packets[media.Audio] < 45 {
		p, err := s.ReadPacket(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		packets[p.Track.Kind()]++
		if p.Key && p.Track.Kind() == media.Video {
			keys++
		}
	}
	if keys < 2 {
		t.Errorf("saw %d key frames in %d frames with one a second", keys, packets[media.Video])
	}
}

// libx265 opens only if it looks further ahead than it has B-frames in a row, and the test
// picture waits for none that it does not have.
func TestBFramesOfHEVC(t *testing.T) {
	for bframes, want := range map[int]string{0: "rc-lookahead=0:", 2: "rc-lookahead=3:", 4: "rc-lookahead=5:"} {
		args, err := arguments(Options{VideoCodec: media.HEVC, BFrames: bframes}.withDefaults())
		if said := strings.Join(args, " "); err != nil || !strings.Contains(said, want) || !strings.HasSuffix(strings.Fields(said[strings.Index(said, "bframes="):])[0], strconv.Itoa(bframes)) {
			t.Errorf("%d B-frames: %v, %q", bframes, err, said)
		}
	}
	mediatest.Program(t, "ffmpeg")
	s, err := Open(t.Context(), Options{Width: 320, Height: 180, VideoBitrate: 300_000, VideoCodec: media.HEVC, BFrames: 2, NoAudio: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n, reordered := 0, false; !reordered; n++ {
		p, err := s.ReadPacket(t.Context())
		if err != nil || n == 60 {
			t.Fatalf("after %d pictures, none of them a B-frame: %v", n, err)
		}
		reordered = n > 0 && p.PTS-p.DTS == 0
	}
}

func TestSourceErrorsSayWhatToDo(t *testing.T) {
	_, err := Open(t.Context(), Options{FFmpeg: "no-such-program"})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "apt-get install ffmpeg") {
		t.Errorf("without ffmpeg: %v", err)
	}
	_, err = Open(t.Context(), Options{VideoCodec: media.VP9})
	if !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "H.264, HEVC or AV1") {
		t.Errorf("with VP9: %v", err)
	}
	if _, err := exec.LookPath("false"); err != nil {
		return
	}
	s, err := Open(t.Context(), Options{FFmpeg: "false"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.ReadPacket(context.Background()); err == nil {
		t.Error("a child that ends at once yields no error")
	}
}

// TestLastWords: what ffmpeg says at its end is in the error.
func TestLastWords(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell")
	}
	program := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(program, []byte("#!"+shell+"\necho the encoder is broken >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{FFmpeg: program})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.ReadPacket(t.Context()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "the encoder is broken") {
		t.Error(err)
	}
}

// TestEnvironmentIsKept: the secrets of who runs the test picture are not ffmpeg's business.
func TestEnvironmentIsKept(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell")
	}
	t.Setenv("ONAIR_ADMIN_TOKEN", "hunter2")
	program := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(program, []byte("#!"+shell+"\necho \"token=$ONAIR_ADMIN_TOKEN path=$PATH\" >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{FFmpeg: program})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.ReadPacket(t.Context()); err == nil || !strings.Contains(err.Error(), "token= path="+os.Getenv("PATH")) {
		t.Error(err)
	}
}

// TestCloseLeavesNothing: the child is gone with all that belongs to it.
func TestCloseLeavesNothing(t *testing.T) {
	mediatest.Program(t, "ffmpeg")
	ignore := goleak.IgnoreCurrent()
	files := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("open files cannot be counted here: ", err)
		}
		return len(list)
	}
	before := files()
	for range 2 {
		s, err := Open(t.Context(), Options{Width: 64, Height: 64})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.ReadPacket(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if after := files(); after > before {
		t.Errorf("%d files stay open", after-before)
	}
	goleak.VerifyNone(t, ignore)
}
