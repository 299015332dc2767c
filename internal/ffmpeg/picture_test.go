package ffmpeg

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// keys are the key packets.
func keys(packets []*media.Packet) (out []*media.Packet) {
	for _, p := range packets {
		if p.Key {
			out = append(out, p)
		}
	}
	return out
}

func TestPictures(t *testing.T) {
	tool := realTool(t)
	probe := mediatest.Program(t, "ffprobe")
	in := keys(testPicture(t, 100, "320x180", "3", "-c:v", "libx264", "-preset", "ultrafast", "-g", "15", "-bf", "2", "-sc_threshold", "0"))
	if len(in) != 6 {
		t.Fatalf("%d key frames", len(in))
	}
	for _, format := range tool.Formats() {
		for _, c := range []struct{ n, columns, width, height int }{{1, 0, 160, 90}, {6, 4, 640, 180}, {3, 0, 160, 270}} {
			out, err := tool.Picture(t.Context(), in[0].Track, in[:c.n], PictureOptions{Format: format, Width: 160, Height: 90, Columns: c.columns})
			if err != nil {
				t.Errorf("%s of %d: %v", format, c.n, err)
				continue
			}
			file := filepath.Join(t.TempDir(), "picture."+string(format))
			if err := os.WriteFile(file, out, 0o600); err != nil {
				t.Fatal(err)
			}
			said, err := exec.CommandContext(t.Context(), probe, "-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", file).CombinedOutput()
			codec := map[PictureFormat]string{JPEG: "mjpeg", WebP: "webp", AVIF: "av1"}[format]
			if want := fmt.Sprintf("%s,%d,%d", codec, c.width, c.height); err != nil || strings.TrimSpace(string(said)) != want {
				t.Errorf("%s of %d: %s, want %s (%v)", format, c.n, said, want, err)
			}
		}
	}
}

func TestPictureIsThatOfTheKeyFrame(t *testing.T) {
	tool := realTool(t)
	in := keys(made(t, 5, "-f", "lavfi", "-i", "color=red:s=320x180:r=10", "-t", "0.5", "-pix_fmt", "yuv420p", "-c:v", "libx264"))
	out, err := tool.Picture(t.Context(), in[0].Track, in, PictureOptions{Format: JPEG, Width: 64, Height: 36})
	if err != nil {
		t.Fatal(err)
	}
	m, err := jpeg.Decode(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := m.At(32, 18).RGBA(); r < 0xd000 || g > 0x3000 || b > 0x3000 {
		t.Errorf("the colour is %x %x %x", r, g, b)
	}
}

func TestPicturesAreBounded(t *testing.T) {
	tool := realTool(t)
	in := testPicture(t, 100, "320x180", "1", "-c:v", "libx264", "-preset", "ultrafast")
	key, other := in[:1], in[1:2]
	good := PictureOptions{Format: JPEG, Width: 64, Height: 36}
	for name, c := range map[string]struct {
		units []*media.Packet
		o     PictureOptions
		kind  fault.Kind
	}{
		"none":   {nil, good, fault.Invalid},
		"no key": {other, good, fault.Invalid},
		"format": {key, PictureOptions{Format: "-f", Width: 64, Height: 36}, fault.Unsupported},
		"odd":    {key, PictureOptions{Format: JPEG, Width: 63, Height: 36}, fault.TooLarge},
		"huge":   {key, PictureOptions{Format: JPEG, Width: 20000, Height: 36}, fault.TooLarge},
		"many":   {make([]*media.Packet, maxUnits+1), good, fault.Invalid},
	} {
		if _, err := tool.Picture(t.Context(), key[0].Track, c.units, c.o); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
