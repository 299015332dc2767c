package pack

import (
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// A publisher whose own picture has no place in CMAF may send another rendition that has:
// there is nothing to align that with, and nobody falls over it.
func TestRenditionWithoutAPictureOfTheSource(t *testing.T) {
	list := generate(t, mediatest.Options{Duration: 6 * time.Second, NoAudio: true})
	vp8 := &media.Track{ID: 9, Codec: media.VP8, Timescale: 90000, Width: 1280, Height: 720, CodecString: "vp8"}
	var source []*media.Packet
	for _, p := range list {
		q := *p
		q.Track, q.DTS, q.PTS = vp8, vp8.Ticks(p.Track.Duration(p.DTS)), vp8.Ticks(p.Track.Duration(p.PTS))
		source = append(source, &q)
	}
	s := testStream(media.LatencyLow)
	s.writeAll(source, rung(list, "360p", 0, 6*time.Second, time.Millisecond))
	if got := len(s.Renditions()); got != 0 {
		t.Errorf("there are %d renditions", got)
	}
	s.end()
}
