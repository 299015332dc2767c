package hls

import (
	"strings"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// pictures are had if it is true.
type pictures bool

func (p *pictures) Picture(t *media.Track) (width, height, bits int, ok bool) {
	return 160, 160 * t.Height / max(t.Width, 1), 24_000, bool(*p)
}

// TestPicturesAreListedWhereTheyCanBeHad: not without the means to make them, and not
// of sound.
func TestPicturesAreListedWhereTheyCanBeHad(t *testing.T) {
	const want = `#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=12000,AVERAGE-BANDWIDTH=12000,RESOLUTION=160x90,CODECS="jpeg",URI="../../images/` + playbackID + "/pictures.m3u8\"\n"
	path := "/hls/" + playbackID + "/index.m3u8"
	inEmptyBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		can := new(pictures)
		r.handler.SetPictures(can)
		*can = true
		source := newSource(t, mediatest.Options{})
		r.write(source.take(20*time.Second), nil)
		text := r.get(path).Body.String()
		if !strings.HasSuffix(text, want) {
			t.Errorf("%s\nis not the end of\n%s", want, text)
		}
		secondOpinion(t, "multivariant", text, true)
		*can = false
		if text := r.get(path).Body.String(); strings.Contains(text, "IMAGE") {
			t.Errorf("without ffmpeg:\n%s", text)
		}
	})
	inEmptyBubble(t, media.LatencyLow, func(t *testing.T, r *rig) {
		can := new(pictures)
		r.handler.SetPictures(can)
		*can = true
		r.write(newSource(t, mediatest.Options{NoVideo: true}).take(20*time.Second), nil)
		if text := r.get(path).Body.String(); strings.Contains(text, "IMAGE") {
			t.Errorf("of sound:\n%s", text)
		}
	})
}
