package slate

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

// picture writes a small PNG.
func picture(t *testing.T) string {
	t.Helper()
	mediatest.Program(t, "ffmpeg")
	m := image.NewRGBA(image.Rect(0, 0, 200, 200))
	for i := range 200 {
		m.Set(i, i, color.White)
	}
	name := filepath.Join(t.TempDir(), "slate.png")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, m); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestKeyFitsTheTrack(t *testing.T) {
	s, err := New(t.Context(), Config{File: picture(t), FFmpeg: "ffmpeg"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []*media.Track{
		{Codec: media.H264, Width: 640, Height: 360},
		{Codec: media.HEVC, Width: 320, Height: 180},
	} {
		config, data, err := s.Key(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := bitstream.Describe(&media.Track{Codec: want.Codec, Config: config, Timescale: 90000})
		if err != nil {
			t.Fatal(err)
		}
		if got.Width != want.Width || got.Height != want.Height || !bitstream.IsKey(want.Codec, data) {
			t.Errorf("%v: %d × %d, key %v", want.Codec, got.Width, got.Height, bitstream.IsKey(want.Codec, data))
		}
		if again, _, err := s.Key(t.Context(), want); err != nil || &again[0] != &config[0] {
			t.Errorf("%v was encoded twice: %v", want.Codec, err)
		}
	}
	if _, _, err := s.Key(t.Context(), &media.Track{Codec: media.VP9, Width: 320, Height: 180}); !fault.Is(err, fault.Unsupported) {
		t.Errorf("VP9: %v", err)
	}
}

func TestWhatIsNoPictureIsRefused(t *testing.T) {
	picture(t)
	name := filepath.Join(t.TempDir(), "slate.png")
	if err := os.WriteFile(name, []byte("no picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{name, name + ".not"} {
		if _, err := New(t.Context(), Config{File: file, FFmpeg: "ffmpeg"}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestEnvironmentIsKept: the secrets of the server are not ffmpeg's business.
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
	if _, err := New(t.Context(), Config{File: "x.png", FFmpeg: program}); err == nil || !strings.Contains(err.Error(), "token= path="+os.Getenv("PATH")) {
		t.Error(err)
	}
}
