package ingest

import (
	"slices"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// Sound that is interleaved 300 ms late still follows the old clock when the picture
// has leapt: the stream must not be moved twice.
func TestLateInterleavingAcrossALeap(t *testing.T) {
	for _, leap := range []time.Duration{-400 * time.Millisecond, -5 * time.Second, time.Hour} {
		g := mediatest.NewGenerator(mediatest.Options{Timescale: 1000, Duration: 20 * time.Second, Start: origin})
		var in []*media.Packet
		for p, err := g.ReadPacket(t.Context()); err == nil; p, err = g.ReadPacket(t.Context()) {
			if p.Arrival.Sub(origin) >= 10*time.Second {
				move(p, leap)
			}
			if p.Track.ID == mediatest.AudioID {
				p.Arrival = p.Arrival.Add(300 * time.Millisecond)
			}
			in = append(in, p)
		}
		slices.SortStableFunc(in, func(a, b *media.Packet) int { return a.Arrival.Compare(b.Arrival) })
		r := newRig(t)
		for _, p := range in {
			r.put(p)
		}
		v, a := r.end(mediatest.VideoID), r.end(mediatest.AudioID)
		if !near(v, 20*time.Second, 100*time.Millisecond) || !near(a, v, 60*time.Millisecond) || r.fixed.counts()["jump"] != 1 {
			t.Errorf("leap of %v: after 20 s the picture is at %v and the sound at %v: %v", leap, v, a, r.fixed.counts())
		}
	}
}

func TestJitterDoesNotMoveTheStream(t *testing.T) {
	var n int
	r := play(t, func(p *media.Packet, _ time.Duration) {
		if p.Track.ID == mediatest.VideoID {
			if n++; n%3 == 0 {
				move(p, 167*time.Millisecond)
			}
		}
	})
	if v := r.end(mediatest.VideoID); !near(v, 20*time.Second, 250*time.Millisecond) {
		t.Errorf("ends at %v", v)
	}
	if c := r.fixed.counts(); c["jump"]+c["outlier"] > 0 || c["order"] == 0 {
		t.Errorf("repairs %v", c)
	}
}

// Two wrong stamps in a row look like a new clock; when the old one is back, all is
// where it would have been.
func TestClockLeapsAndComesBack(t *testing.T) {
	var n int
	r := play(t, func(p *media.Packet, now time.Duration) {
		if p.Track.ID == mediatest.VideoID && now >= 10*time.Second {
			if n++; n <= 2 {
				move(p, time.Hour)
			}
		}
	})
	for i, dts := range r.of(mediatest.VideoID) {
		if away(dts, int64(i)*3000) > 200 {
			t.Fatalf("frame %d is at %d, want about %d", i, dts, i*3000)
		}
	}
	for i, dts := range r.of(mediatest.AudioID) {
		if away(dts, int64(i)*1024) > 1024 {
			t.Fatalf("sound packet %d is at %d, want %d", i, dts, i*1024)
		}
	}
}

// One pause is not the pace: what is wrong after it is put a frame further on.
func TestOutlierAfterAPause(t *testing.T) {
	v, _ := rtmpTracks()
	r := newRig(t)
	put := func(ms int64, wrong time.Duration, now int64) *media.Packet {
		p := &media.Packet{Track: v, DTS: ms, PTS: ms, Key: true, Arrival: origin.Add(time.Duration(now) * time.Millisecond)}
		move(p, wrong)
		return r.put(p)
	}
	for ms := int64(0); ms <= 1000; ms += 40 {
		put(ms, 0, ms)
	}
	put(6000, 0, 6000)
	q := put(6040, time.Hour, 6040)
	if got := q.Track.Duration(q.DTS); got != 6040*time.Millisecond {
		t.Errorf("the packet was put at %v", got)
	}
}

// A first frame with a wrong stamp, and later a leap that happens to lead from the new
// clock to the old one: sound and picture must not stay apart.
func TestTracksComeTogetherAgain(t *testing.T) {
	for _, leap := range []time.Duration{time.Second, 1050 * time.Millisecond} {
		first := true
		r := play(t, func(p *media.Packet, now time.Duration) {
			if p.Track.ID == mediatest.VideoID && first {
				move(p, 168*time.Millisecond)
				first = false
			}
			if now >= 4*time.Second {
				move(p, leap)
			}
		})
		v, a := r.end(mediatest.VideoID), r.end(mediatest.AudioID)
		if !near(a, v, 60*time.Millisecond) {
			t.Errorf("leap of %v: the picture is at %v and the sound at %v: %v", leap, v, a, r.fixed.counts())
		}
	}
}
