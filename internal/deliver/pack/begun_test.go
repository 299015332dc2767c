package pack

import (
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// A stream has begun with its first part, where it knows how often key frames come, and says
// then what its media times mean; viewers see a rendition once it has a segment.
func TestAStreamBeginsWithItsFirstPart(t *testing.T) {
	for _, mode := range []media.LatencyMode{media.LatencyLow, media.LatencyUltra, media.LatencyStandard} {
		s := testStream(mode)
		var began, ready time.Duration
		var known *media.Track
		var origin time.Time
		for _, p := range generate(t, mediatest.Options{Duration: 8 * time.Second, GOP: 60, NoAudio: true}) {
			if known == nil {
				track := *p.Track
				track.KeyInterval = 2 * time.Second
				known = &track
			}
			p.Track = known
			changed := s.Changed()
			s.write(p)
			at := p.Track.Duration(p.DTS)
			select {
			case <-s.Begun():
			default:
				continue
			}
			if began == 0 {
				began, origin = at, s.AvailabilityStart()
				select {
				case <-changed:
				default:
					t.Errorf("%s: nobody is told", mode)
				}
				if len(s.AllRenditions()) != 1 || len(s.Renditions()) != 0 || s.TargetDuration() == 0 || origin.IsZero() {
					t.Errorf("%s: %d of all, %d to be played, target %d, origin %v", mode, len(s.AllRenditions()), len(s.Renditions()), s.TargetDuration(), origin)
				}
			}
			if len(s.Renditions()) > 0 {
				ready = at
				break
			}
		}
		if began == 0 || began > startKnown+200*time.Millisecond || ready < 1900*time.Millisecond {
			t.Errorf("%s: begun after %v, ready after %v", mode, began, ready)
		}
		if !s.AvailabilityStart().Equal(origin) || len(s.AllRenditions()) != 1 {
			t.Errorf("%s: the origin was %v and is %v", mode, origin, s.AvailabilityStart())
		}
	}
}

// One that ends without media has begun, with nothing.
func TestAStreamWithoutMediaBegins(t *testing.T) {
	s := testStream(media.LatencyLow)
	s.end()
	<-s.Begun()
	if len(s.AllRenditions()) != 0 {
		t.Error("it has renditions")
	}
}
