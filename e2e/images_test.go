//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
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

// TestPlayersFindPictures: Shaka and dash.js play a stream whose playlist and manifest list
// pictures, and what they show for a moment is the picture of that moment.
func TestPlayersFindPictures(t *testing.T) {
	s := start(t, "--transcode", "just-in-time")
	st := s.create("low")
	s.testcard(st, "--size", "640x360", "--bitrate", "800", "--b-frames", "2")
	s.waitPlayable(st, 15*time.Second)
	deadline := time.Now().Add(60 * time.Second)
	for !strings.Contains(getText(t, s.hlsURL(st)), "#EXT-X-IMAGE-STREAM-INF:") { // ffmpeg is being looked for
		if time.Now().After(deadline) {
			t.Fatalf("no pictures are listed in\n%s", getText(t, s.hlsURL(st)))
		}
		pause(t.Context(), 300*time.Millisecond)
	}
	pause(t.Context(), 12*time.Second) // so that there is a while to go back to
	for _, tt := range []struct{ player, url string }{{"shaka", s.hlsURL(st)}, {"shaka", s.dashURL(st)}, {"dash", s.dashURL(st)}} {
		out, errOut, err := run(t, 90*time.Second, "node", "browser/images.mjs", "--player", tt.player, "--url", tt.url, "--seconds", "6")
		if err != nil {
			t.Fatalf("%s: %v\n%s", tt.url, err, errOut)
		}
		var got struct {
			Tracks []struct {
				Width, Height int
				Mime          string
			}
			Pictures []*struct {
				URL                         string
				X, Y, Width, Height, Status int
				Asked, Begins, Lasts        float64
				Data                        []byte
			}
			Errors    []string
			Frames    int
			MediaSpan float64
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%s: %v in %q", tt.url, err, out)
		}
		if len(got.Errors) > 0 || got.Frames < 5*6 || got.MediaSpan < 0.7*6 {
			t.Errorf("%s with %s: %d frames over %.1f s, errors %v", tt.url, tt.player, got.Frames, got.MediaSpan, got.Errors)
		}
		if len(got.Tracks) != 1 || got.Tracks[0].Width != 160 || got.Tracks[0].Height != 90 {
			t.Errorf("%s with %s: tracks %+v", tt.url, tt.player, got.Tracks)
		}
		for i, p := range got.Pictures {
			if p == nil || p.Status != 200 {
				t.Errorf("%s with %s: picture %d: %+v", tt.url, tt.player, i, p)
				continue
			}
			lasts := p.Lasts
			if lasts == 0 {
				lasts = 2500 // the player does not say; the testcard has a key frame each 2 s
			}
			clock := readPicture(t, p.Data, image.Rect(p.X, p.Y, p.X+p.Width, p.Y+p.Height))
			asked := time.UnixMilli(int64(p.Asked))
			t.Logf("%s with %s: asked for %v, lasts %v ms, shows %v before it", tt.url, tt.player, asked, lasts, asked.Sub(clock))
			// It shows the beginning of the stretch that it stands for. The clock in the picture
			// is when it was made, the player's when it had arrived.
			if late := asked.Sub(clock); late < -500*time.Millisecond || late > time.Duration(lasts)*time.Millisecond+time.Second {
				t.Errorf("%s with %s: the picture of %v shows %v", tt.url, tt.player, asked, clock)
			}
		}
	}
}
