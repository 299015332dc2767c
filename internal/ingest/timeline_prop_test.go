package ingest

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// abuse is something that an encoder's clock can do.
type abuse struct {
	from  time.Duration // when
	kind  int
	by    time.Duration // how far
	every int           // each how many packets, for garbage
	id    int           // on which track, for garbage
}

const (
	leapAll  = iota // both tracks leap, for good
	garbage         // single packets of one track
	swap            // one track leaps and comes back after a second
	repeat          // one track's stamps stand still for half a second
	loseSome        // packets of one track are lost for half a second
	abuses
)

func drawAbuse(t *rapid.T) abuse {
	a := abuse{
		from:  time.Duration(rapid.IntRange(0, 20000).Draw(t, "from")) * time.Millisecond,
		kind:  rapid.IntRange(0, abuses-1).Draw(t, "kind"),
		every: rapid.IntRange(1, 12).Draw(t, "every"),
		id:    rapid.SampledFrom([]int{mediatest.VideoID, mediatest.AudioID}).Draw(t, "track"),
	}
	ms := rapid.OneOf(rapid.Int64Range(-2000, 2000), rapid.Int64Range(-20_000, 20_000), rapid.Int64Range(-1<<33, 1<<33), rapid.Int64()).Draw(t, "ms")
	a.by = time.Duration(min(max(ms, -1<<40), 1<<40)) * time.Millisecond
	return a
}

// Whatever happens to the clock: what comes out is strictly monotonic and goes on at
// the pace of the wall clock, and a few seconds after the last abuse sound and picture
// are together again within one packet of sound.
func TestTimelineSurvivesAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(drawAbuse), 0, 6).Draw(rt, "abuses")
		bframes := rapid.IntRange(0, 2).Draw(rt, "bframes")
		delay := time.Duration(rapid.IntRange(-1500, 1500).Draw(rt, "delay")) * time.Millisecond
		codec := rapid.SampledFrom([]media.Codec{media.AAC, media.Opus}).Draw(rt, "codec")
		r := newRig(t)
		g := mediatest.NewGenerator(mediatest.Options{
			Timescale: 1000, Duration: 40 * time.Second, Start: origin, BFrames: bframes, AudioDelay: delay,
			Audio: codec, FrameSize: 64, AudioSize: 8, Offset: 2 * time.Second,
		})
		count := map[int]int{}
		held := map[int]int64{}
		offset := map[int]time.Duration{} // by how much each track's last packet was moved
		// A leap that is not far may be a pause, and moves the stream by that much. Garbage
		// that is not far can do so again and again: no pace is asked for then.
		slack, paced := 2*time.Second, true
		for _, a := range list {
			slack += time.Second
			if a.by.Abs() <= 15*time.Second {
				slack += a.by.Abs()
				paced = paced && a.kind != garbage
			}
		}
		for p, err := g.ReadPacket(t.Context()); err == nil; p, err = g.ReadPacket(t.Context()) {
			truth := p.Track.Duration(p.DTS)
			now := p.Arrival.Sub(origin)
			id := p.Track.ID
			count[id]++
			lost, stands := false, false
			for _, a := range list {
				after := now - a.from
				stands = stands || a.kind == repeat && id == a.id && after >= 0 && after < time.Second/2
			}
			if stands {
				p.DTS = held[id]
			}
			held[id] = p.DTS
			for _, a := range list {
				after := now - a.from
				switch {
				case after < 0:
				case a.kind == leapAll:
					move(p, a.by)
				case a.kind == garbage && id == a.id && after < 2*time.Second && count[id]%a.every == 0:
					move(p, a.by)
				case a.kind == swap && id == a.id && after < time.Second:
					move(p, a.by)
				case a.kind == loseSome && id == a.id && after < time.Second/2:
					lost = true
				}
			}
			if lost {
				continue
			}
			if q := r.put(p); q != nil {
				offset[id] = q.Track.Duration(q.DTS) - truth
			}
		}
		v, a := offset[mediatest.VideoID], offset[mediatest.AudioID]
		if !near(v, a, 25*time.Millisecond) {
			rt.Fatalf("at the end the picture is moved by %v and the sound by %v: %v", v, a, r.fixed.counts())
		}
		if start := -2*time.Second - min(delay, 0); paced && !near(v, start, slack) {
			rt.Fatalf("at the end the picture is moved by %v, which began with %v: %v", v, start, r.fixed.counts())
		}
	})
}
