package pack

import (
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// TestSoundBesideAHeldPicture: while a picture is held, the next one comes only half a second
// later. The sound up to it must be in a part as soon as it is there, or players run dry.
func TestSoundBesideAHeldPicture(t *testing.T) {
	s := testStream(media.LatencyLow)
	list := generate(t, mediatest.Options{Duration: 12 * time.Second, GOP: 60})
	var held *media.Packet
	for _, p := range list {
		at := p.Arrival.Sub(start)
		if video := p.Track.Kind() == media.Video; video && at > 6*time.Second {
			// The last key frame again, each half second.
			if q := *held; at >= p.Track.Duration(q.DTS+q.Track.Ticks(500*time.Millisecond)) {
				q.DTS, q.PTS, q.Duration, q.Arrival = p.DTS, p.DTS, p.Track.Ticks(500*time.Millisecond), p.Arrival
				held = &q
				s.write(held)
			}
			continue
		} else if video && (p.Key || held == nil) {
			held = p
		}
		s.write(p)
		if at < 7*time.Second || p.Track.Kind() == media.Video || at-held.Track.Duration(held.DTS) < 100*time.Millisecond {
			continue
		}
		for _, b := range s.all {
			if end := b.track.Duration(b.end); !b.video() && s.seg.frontier-end > 15*time.Millisecond {
				t.Fatalf("a picture stands at %v, and the sound that may be in parts ends at %v", s.seg.frontier, end)
			}
		}
	}
}
