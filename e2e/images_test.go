//go:build e2e

package e2e

import (
	"bytes"
	"image"
	"image/jpeg"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"onair/internal/testcard"
)

// readPicture reads the clock in a JPEG, or in a part of it.
func readPicture(t *testing.T, data []byte, part image.Rectangle) time.Time {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	picture, ok := m.(*image.YCbCr)
	if !ok {
		t.Fatalf("the picture is a %T", m)
	}
	if part.Empty() {
		part = picture.Bounds()
	}
	// ReadClock takes the black of video, which JPEG stretches; its threshold suits both.
	luma := picture.Y[picture.YOffset(part.Min.X, part.Min.Y):]
	clock, ok := testcard.ReadClock(luma, part.Dx(), part.Dy(), picture.YStride, time.Now())
	if !ok {
		t.Errorf("there is no clock in the picture at %v", part)
	}
	return clock
}

// TestImages: a thumbnail is at most 10 s old, and a storyboard shows what its index says.
func TestImages(t *testing.T) {
	s := start(t, "--transcode", "just-in-time")
	st := s.create("low")
	s.testcard(st, "--size", "640x360", "--bitrate", "800")
	s.waitPlayable(st, 15*time.Second)
	base := s.http + "/images/" + st.playbackID() + "/"
	for range 4 {
		picture := []byte(getText(t, base+"thumbnail.jpg"))
		if age := time.Since(readPicture(t, picture, image.Rectangle{})); age > 10*time.Second {
			t.Errorf("the thumbnail is %v old", age)
		}
		pause(t.Context(), 3*time.Second)
	}
	for ext, magic := range map[string]string{"webp": "RIFF", "avif": "ftypavif"} {
		res, err := http.Get(base + "thumbnail." + ext + "?width=320")
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(res.Body)
		res.Body.Close()
		switch {
		case res.StatusCode == 501: // this ffmpeg does not make it
		case res.StatusCode != 200 || !strings.Contains(body.String()[:16], magic):
			t.Errorf("%s: %s, %q", ext, res.Status, body.String()[:min(16, body.Len())])
		}
	}
	index := getText(t, base+"storyboard.vtt")
	origin, err := time.Parse(time.RFC3339, regexp.MustCompile(`X-MEDIA-ORIGIN=(\S+)`).FindStringSubmatch(index + "\nX-MEDIA-ORIGIN=-")[1])
	if err != nil {
		t.Fatalf("%v in\n%s", err, index)
	}
	cues := regexp.MustCompile(`(\d\d):(\d\d):(\d\d\.\d{3}) --> .*\n(storyboard-\d+\.jpg)#xywh=(\d+),(\d+),(\d+),(\d+)`).FindAllStringSubmatch(index, -1)
	if len(cues) < 4 {
		t.Fatalf("%d pictures in\n%s", len(cues), index)
	}
	sheet := []byte(getText(t, base+cues[0][4]))
	for _, c := range cues {
		x, y, w, h := int(seconds(t, c[5])), int(seconds(t, c[6])), int(seconds(t, c[7])), int(seconds(t, c[8]))
		at := origin.Add(time.Duration((seconds(t, c[1])*3600 + seconds(t, c[2])*60 + seconds(t, c[3])) * float64(time.Second)))
		clock := readPicture(t, sheet, image.Rect(x, y, x+w, y+h))
		// The clock is when the picture was made, the index when it had arrived.
		if late := at.Sub(clock); late < -500*time.Millisecond || late > 4*time.Second {
			t.Errorf("the picture of %v shows %v", at, clock)
		}
	}
	if pids := s.encoders(); len(pids) != 0 {
		t.Errorf("%d encoders run when nobody asks", len(pids))
	}
}
