package ingest

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

var origin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// rtmpTracks are tracks as RTMP has them, in milliseconds.
func rtmpTracks() (video, audio *media.Track) {
	g := mediatest.NewGenerator(mediatest.Options{Timescale: 1000})
	return g.Tracks()[0], g.Tracks()[1]
}

// rig puts packets through a timeline and checks what must hold whatever comes in.
type rig struct {
	t     testing.TB
	tl    *timeline
	fixed *repairs
	last  map[int]int64
	out   []*media.Packet
}

func newRig(t testing.TB) *rig {
	r := &rig{t: t, fixed: &repairs{}, last: map[int]int64{}}
	r.tl = newTimeline(DefaultConfig().MaxForwardJump, r.fixed)
	return r
}

// put returns the packet as it came out; nil if it was left out.
func (r *rig) put(p *media.Packet) *media.Packet {
	q := r.tl.put(p)
	if q == nil {
		return nil
	}
	if last, ok := r.last[q.Track.ID]; ok && q.DTS <= last {
		r.t.Fatalf("DTS %d of track %d came after %d", q.DTS, q.Track.ID, last)
	}
	floor := q.Track.Ticks(time.Duration(r.tl.start))
	if q.DTS < floor || q.PTS < floor || q.Duration < 0 {
		r.t.Fatalf("packet with DTS %d PTS %d duration %d begins before the start, %d", q.DTS, q.PTS, q.Duration, floor)
	}
	if away(q.PTS, q.DTS) > q.Track.Ticks(12*time.Second) {
		r.t.Fatalf("DTS %d and PTS %d are too far apart", q.DTS, q.PTS)
	}
	r.last[q.Track.ID] = q.DTS
	r.out = append(r.out, q)
	return q
}

// all puts everything the source has through, moved by shift.
func (r *rig) all(g *mediatest.Generator, change func(*media.Packet)) {
	for {
		p, err := g.ReadPacket(r.t.Context())
		if err != nil {
			return
		}
		if change != nil {
			change(p)
		}
		r.put(p)
	}
}

// of returns the DTS that came out on a track.
func (r *rig) of(id int) (dts []int64) {
	for _, p := range r.out {
		if p.Track.ID == id {
			dts = append(dts, p.DTS)
		}
	}
	return dts
}

func (r *rig) wantRepairs(want map[string]int64) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.fixed.counts()); diff != "" {
		r.t.Errorf("repairs (-want +got):\n%s", diff)
	}
}

// end is where a track's output ends.
func (r *rig) end(id int) time.Duration {
	for i := len(r.out) - 1; i >= 0; i-- {
		if p := r.out[i]; p.Track.ID == id {
			return p.Track.Duration(p.DTS)
		}
	}
	return -1
}

func near(a, b, tolerance time.Duration) bool { return (a - b).Abs() <= tolerance }

func TestMillisecondsBecomeExact(t *testing.T) {
	r := newRig(t)
	g := mediatest.NewGenerator(mediatest.Options{Timescale: 1000, Offset: 12345 * time.Millisecond, Duration: 60 * time.Second})
	r.all(g, nil)
	r.wantRepairs(map[string]int64{})
	for i, dts := range r.of(mediatest.AudioID) {
		if dts != int64(i)*1024 {
			t.Fatalf("audio packet %d is at %d, want %d", i, dts, i*1024)
		}
	}
	for i, dts := range r.of(mediatest.VideoID) {
		if away(dts, int64(i)*3000) > 45 { // half a millisecond
			t.Fatalf("frame %d is at %d, want about %d", i, dts, i*3000)
		}
	}
	v, a := r.out[0].Track, r.out[1].Track
	if v.Timescale != 90000 || a.Timescale != 48000 || v.ID != mediatest.VideoID || v.Width != 1280 {
		t.Errorf("tracks %+v and %+v", v, a)
	}
	for _, p := range r.out {
		if p.Track != v && p.Track != a {
			t.Fatal("a track's pointer changed although the track did not")
		}
		if p.Track == a && (p.Duration != 1024 || p.PTS != p.DTS) {
			t.Fatalf("sound packet %+v", p)
		}
	}
}

func TestExactStampsStayExact(t *testing.T) {
	r := newRig(t)
	g := mediatest.NewGenerator(mediatest.Options{RateNum: 30000, RateDen: 1001, Offset: time.Second / 3, BFrames: 2, Duration: 30 * time.Second})
	first := map[int]int64{}
	for p, err := g.ReadPacket(t.Context()); err == nil; p, err = g.ReadPacket(t.Context()) {
		if _, ok := first[p.Track.ID]; !ok {
			first[p.Track.ID] = p.DTS
		}
		q := r.put(p)
		if away(q.DTS-r.of(p.Track.ID)[0], p.DTS-first[p.Track.ID]) > 1 || q.PTS-q.DTS != p.PTS-p.DTS {
			t.Fatalf("%d/%d became %d/%d", p.DTS, p.PTS, q.DTS, q.PTS)
		}
	}
	r.wantRepairs(map[string]int64{})
}

func TestSoundKeepsItsOffset(t *testing.T) {
	for name, delay := range map[string]time.Duration{
		"2 s early": -2 * time.Second, "early": -300 * time.Millisecond, "late": 700 * time.Millisecond, "5 s late": 5 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			g := mediatest.NewGenerator(mediatest.Options{Timescale: 1000, Offset: 10 * time.Second, AudioDelay: delay, Duration: 10 * time.Second})
			var first []*media.Packet
			for p, err := g.ReadPacket(t.Context()); err == nil; p, err = g.ReadPacket(t.Context()) {
				first = append(first, p)
			}
			r.tl.begin(0, first)
			for _, p := range first {
				r.put(p)
			}
			v, a := r.of(mediatest.VideoID)[0], r.of(mediatest.AudioID)[0]
			if got := time.Duration(a)*time.Second/48000 - time.Duration(v)*time.Second/90000; !near(got, delay, 2*time.Millisecond) {
				t.Errorf("sound begins %v after the picture, want %v", got, delay)
			}
			if min(a, v) != 0 {
				t.Errorf("the stream begins at %d and %d, want 0", v, a)
			}
			r.wantRepairs(map[string]int64{})
		})
	}
}

func TestNegativePTSShiftEverything(t *testing.T) {
	v, a := rtmpTracks()
	r := newRig(t)
	first := []*media.Packet{
		{Track: v, DTS: 0, PTS: -80, Key: true}, {Track: a, DTS: 0, PTS: 0, Key: true}, {Track: v, DTS: 40, PTS: -40},
	}
	r.tl.begin(time.Second, first)
	for _, p := range first {
		r.put(p)
	}
	if p := r.out[0]; p.DTS != 90000+7200 || p.PTS != 90000 {
		t.Errorf("the first frame is at %d/%d", p.DTS, p.PTS)
	}
	if p := r.out[1]; p.DTS != 48000+3840 {
		t.Errorf("the sound is at %d", p.DTS)
	}
	// One that comes below the start anyway is moved up, and one that lies before it is left out.
	r.put(&media.Packet{Track: v, DTS: 80, PTS: -500})
	late := *a
	late.ID = 4
	if q := r.put(&media.Packet{Track: &late, DTS: -4000, PTS: -4000, Key: true}); q != nil {
		t.Errorf("a packet from before the start came out at %d", q.DTS)
	}
	r.wantRepairs(map[string]int64{"early_pts": 1, "before_start": 1})
}

// play runs an encoder in RTMP's milliseconds for 20 s and lets change spoil it; now is
// the packet's true time.
func play(t *testing.T, change func(p *media.Packet, now time.Duration)) *rig {
	r := newRig(t)
	g := mediatest.NewGenerator(mediatest.Options{Timescale: 1000, Duration: 20 * time.Second, Start: origin})
	r.all(g, func(p *media.Packet) { change(p, p.Arrival.Sub(origin)) })
	return r
}

func move(p *media.Packet, d time.Duration) {
	p.DTS += d.Milliseconds()
	p.PTS += d.Milliseconds()
}

func TestClockLeaps(t *testing.T) {
	for name, leap := range map[string]time.Duration{
		"an hour ahead":     time.Hour,
		"11 s ahead":        11 * time.Second,
		"an hour back":      -time.Hour,
		"2 s back":          -2 * time.Second,
		"half a second":     -500 * time.Millisecond,
		"32 bits wrapped":   -(1 << 32) * time.Millisecond,
		"restarted at zero": -10 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			r := play(t, func(p *media.Packet, now time.Duration) {
				if now >= 10*time.Second {
					move(p, leap)
				}
			})
			v, a := r.end(mediatest.VideoID), r.end(mediatest.AudioID)
			if !near(v, 20*time.Second, 200*time.Millisecond) || !near(a, v, 60*time.Millisecond) {
				t.Errorf("after 20 s the picture is at %v and the sound at %v", v, a)
			}
			if n := r.fixed.counts()["jump"]; n != 1 {
				t.Errorf("%d jumps counted", n)
			}
		})
	}
}

func TestPauses(t *testing.T) {
	t.Run("the encoder sends nothing for a minute", func(t *testing.T) {
		r := play(t, func(p *media.Packet, now time.Duration) {
			if now >= 10*time.Second {
				move(p, time.Minute)
				p.Arrival = p.Arrival.Add(time.Minute)
			}
		})
		if v := r.end(mediatest.VideoID); !near(v, 80*time.Second, 100*time.Millisecond) {
			t.Errorf("ends at %v", v)
		}
		if n := r.fixed.counts()["jump"]; n != 0 {
			t.Errorf("%d jumps counted", n)
		}
	})
	t.Run("the same, and its clock begins anew", func(t *testing.T) {
		r := play(t, func(p *media.Packet, now time.Duration) {
			if now >= 10*time.Second {
				move(p, -10*time.Second)
				p.Arrival = p.Arrival.Add(time.Minute)
			}
		})
		if v, a := r.end(mediatest.VideoID), r.end(mediatest.AudioID); !near(v, 80*time.Second, 100*time.Millisecond) || !near(a, v, 60*time.Millisecond) {
			t.Errorf("ends at %v and %v", v, a)
		}
	})
	t.Run("the network holds everything up for 30 s", func(t *testing.T) {
		r := play(t, func(p *media.Packet, now time.Duration) {
			if now >= 10*time.Second {
				p.Arrival = origin.Add(40 * time.Second)
			}
		})
		if v := r.end(mediatest.VideoID); !near(v, 20*time.Second, 100*time.Millisecond) {
			t.Errorf("ends at %v", v)
		}
		r.wantRepairs(map[string]int64{})
	})
	t.Run("the clock leaps by five seconds in no time", func(t *testing.T) {
		r := play(t, func(p *media.Packet, now time.Duration) {
			if now >= 10*time.Second {
				move(p, 5*time.Second)
			}
		})
		if v, a := r.end(mediatest.VideoID), r.end(mediatest.AudioID); !near(v, 20*time.Second, 100*time.Millisecond) || !near(a, v, 60*time.Millisecond) {
			t.Errorf("ends at %v and %v", v, a)
		}
		if n := r.fixed.counts()["jump"]; n != 1 {
			t.Errorf("%d jumps counted", n)
		}
	})
	t.Run("slides: a frame in 4 s, read faster than real time", func(t *testing.T) {
		r := newRig(t)
		v, _ := rtmpTracks()
		for i := range int64(50) {
			r.put(&media.Packet{Track: v, DTS: i * 4000, PTS: i * 4000, Key: true, Arrival: origin})
		}
		if got := r.end(mediatest.VideoID); !near(got, 196*time.Second, 5*time.Second) {
			t.Errorf("ends at %v", got)
		}
	})
}

func TestSingleGarbage(t *testing.T) {
	for name, wrong := range map[string]time.Duration{
		"far ahead": 7 * 24 * time.Hour, "far back": -7 * 24 * time.Hour, "3 s ahead": 3 * time.Second, "3 s back": -3 * time.Second,
	} {
		for _, id := range []int{mediatest.VideoID, mediatest.AudioID} {
			t.Run(name, func(t *testing.T) {
				var n int
				r := play(t, func(p *media.Packet, now time.Duration) {
					if p.Track.ID == id && now >= 10*time.Second && now < 15*time.Second {
						if n++; n%20 == 0 {
							move(p, wrong)
						}
					}
				})
				if got := r.fixed.counts()["outlier"]; got < 7 || r.fixed.counts()["jump"] != 0 {
					t.Errorf("repairs %v", r.fixed.counts())
				}
				for i, dts := range r.of(mediatest.VideoID) {
					if away(dts, int64(i)*3000) > 200 {
						t.Fatalf("frame %d is at %d, want about %d", i, dts, i*3000)
					}
				}
				for i, dts := range r.of(mediatest.AudioID) {
					if dts != int64(i)*1024 {
						t.Fatalf("sound packet %d is at %d, want %d", i, dts, i*1024)
					}
				}
			})
		}
	}
}

func TestStampsThatDoNotGrow(t *testing.T) {
	r := play(t, func(p *media.Packet, now time.Duration) {
		if p.Track.ID == mediatest.VideoID && now%(500*time.Millisecond) == 0 && now > 0 {
			move(p, -40*time.Millisecond) // before the frame before it
		}
	})
	if n := r.fixed.counts()["order"]; n == 0 {
		t.Errorf("repairs %v", r.fixed.counts())
	}
	if v := r.end(mediatest.VideoID); !near(v, 20*time.Second, 100*time.Millisecond) {
		t.Errorf("ends at %v", v)
	}
}

func TestAbsurdComposition(t *testing.T) {
	v, _ := rtmpTracks()
	r := newRig(t)
	for i, cts := range []int64{0, 66, -66, 11_000, -11_000, math.MaxInt64, 1 << 40} {
		dts := int64(i)*33 + 100
		r.put(&media.Packet{Track: v, DTS: dts, PTS: dts + cts, Key: i == 0})
	}
	r.wantRepairs(map[string]int64{"composition": 4})
}

func TestAbsurdNumbers(t *testing.T) {
	v, a := rtmpTracks()
	numbers := []int64{math.MinInt64, math.MaxInt64, 0, -1, 1 << 62, -(1 << 62), 1 << 32, 1<<32 - 1}
	for _, first := range numbers {
		r := newRig(t)
		for _, x := range numbers {
			for _, y := range numbers {
				r.put(&media.Packet{Track: v, DTS: first, PTS: x, Key: true, Arrival: origin})
				r.put(&media.Packet{Track: a, DTS: x, PTS: y, Key: true, Arrival: origin})
				r.put(&media.Packet{Track: v, DTS: y, PTS: x, Arrival: origin})
			}
		}
		if got := r.end(mediatest.VideoID); got > time.Hour {
			t.Errorf("128 frames last %v", got)
		}
	}
}

func TestTwoClocks(t *testing.T) {
	// Sound and pictures of one encoder that have nothing to do with each other.
	r := play(t, func(p *media.Packet, _ time.Duration) {
		if p.Track.ID == mediatest.AudioID {
			move(p, 89777*time.Second)
		}
	})
	if v, a := r.end(mediatest.VideoID), r.end(mediatest.AudioID); !near(v, 20*time.Second, 200*time.Millisecond) || !near(a, v, 200*time.Millisecond) {
		t.Errorf("after 20 s the picture is at %v and the sound at %v", v, a)
	}
	if n := r.fixed.counts()["jump"]; n > 2 {
		t.Errorf("%d jumps counted: it goes back and forth", n)
	}
}

func TestResumeStartsWhereItWasTold(t *testing.T) {
	v, a := rtmpTracks()
	r := newRig(t)
	first := []*media.Packet{{Track: a, DTS: 70, PTS: 70, Key: true}, {Track: v, DTS: 100, PTS: 166, Key: true}}
	r.tl.begin(95*time.Second, first)
	for _, p := range first {
		r.put(p)
	}
	if x, y := r.end(mediatest.AudioID), r.end(mediatest.VideoID); x != 95*time.Second || y != 95*time.Second+30*time.Millisecond {
		t.Errorf("resumed with sound at %v and pictures at %v", x, y)
	}
}
