package hls

import (
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// TestPartsAreListedLaterThanTheyBegin: Shaka resets its buffer at a part that is
// listed no later, by its timestamps, than the key frame that begins its segment, and shows
// nothing until the next.
func TestPartsAreListedLaterThanTheyBegin(t *testing.T) {
	for name, o := range map[string]mediatest.Options{
		"30": {}, "29.97": {RateNum: 30000, RateDen: 1001, BFrames: 2}, "15": {RateNum: 15, RateDen: 1},
	} {
		for _, mode := range []media.LatencyMode{media.LatencyLow, media.LatencyUltra} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				inEmptyBubble(t, mode, func(t *testing.T, r *rig) {
					r.write(newSource(t, o).take(20*time.Second), nil)
					rend := r.rendition("v0")
					snap := rend.Snapshot()
					exact := map[string]time.Duration{}
					for _, seg := range snap.Segments {
						for _, part := range seg.Parts {
							exact[part.Name] = part.Duration
						}
					}
					list := parsePlaylist(t, string(new(Handler).playlist(r.stream(), rend, snap, 0, false).bytes))
					compared := 0
					for _, seg := range list.segments {
						var begins, listed time.Duration
						for i, part := range seg.parts {
							length := time.Duration(part.duration*1e5+0.5) * 10 * time.Microsecond
							late := listed - begins
							switch {
							case part.duration > list.pt:
								t.Errorf("%s lasts %v, more than PART-TARGET", part.name, length)
							case i == 0:
							case late <= time.Microsecond || late > 20*time.Microsecond:
								t.Errorf("%s is listed %v late", part.name, late)
							default:
								compared++
							}
							if _, ok := exact[part.name]; !ok && seg.complete {
								t.Fatalf("%s is no part of the stream", part.name)
							}
							begins, listed = begins+exact[part.name], listed+length
						}
						if !seg.complete {
							break
						}
					}
					if compared < 4 {
						t.Errorf("%d parts were compared", compared)
					}
				})
			})
		}
	}
}
