package ingest

import (
	"context"
	"testing"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// encoder sends pictures and sound straight into its place on a stream, without a clock:
// packets carry their arrival.
type encoder struct {
	t            testing.TB
	s            *session
	video, audio *media.Track
	begin        time.Time
	frame, sound time.Duration // of a picture, of a packet of sound
	lastOut      map[int]int64
	// sent says when what was captured at a time is stamped and arrives.
	sent func(kind media.Kind, captured time.Duration) (stamp, arrival time.Duration, ok bool)
}

// newEncoder returns an encoder of one picture each 40 ms and AAC of a sample rate, stamped
// in ticks of a timescale.
func newEncoder(t testing.TB, timescale, rate int, sent func(media.Kind, time.Duration) (time.Duration, time.Duration, bool)) *encoder {
	g := mediatest.NewGenerator(mediatest.Options{Timescale: timescale, SampleRate: rate})
	i := New(DefaultConfig(), gate{}, hub.New(hub.DefaultConfig(), event.NewBus(), nil, nil), event.NewBus(), nil, nil)
	e := &encoder{
		t: t, video: g.Tracks()[0], audio: g.Tracks()[1], begin: time.Now(), frame: 40 * time.Millisecond, sound: 1024 * time.Second / time.Duration(rate), sent: sent, lastOut: map[int]int64{},
		s: &session{
			Ingest: i, request: &request{}, grant: Grant{StreamID: "ls_1", LatencyMode: media.LatencyLow}, id: "in_1",
			repairs: &repairs{}, cancel: func(err error) { t.Errorf("cancelled: %v", err) },
		},
	}
	t.Cleanup(func() { i.hub.Close(errReset) })
	return e
}

// packet makes the packet of a track that was captured at a time.
func (e *encoder) packet(tr *media.Track, at time.Duration) *media.Packet {
	stamp, arrival, ok := e.sent(tr.Kind(), at)
	if !ok {
		return nil
	}
	dts := tr.Ticks(stamp)
	key := tr == e.audio || int(at/e.frame)%50 == 0
	return &media.Packet{Track: tr, DTS: dts, PTS: dts, Key: key, Arrival: e.begin.Add(arrival), Data: []byte{1, 2, 3, 4}}
}

// send sends what is captured up to a time, in its order.
func (e *encoder) send(until time.Duration, check func(tr *media.Track, captured, out time.Duration)) {
	var first []*media.Packet
	video, audio := time.Duration(0), time.Duration(0)
	for video < until {
		tr, at := e.video, video
		if audio < video {
			tr, at = e.audio, audio
			audio += e.sound
		} else {
			video += e.frame
		}
		p := e.packet(tr, at)
		if p == nil {
			continue
		}
		if e.s.desk == nil {
			if first = append(first, p); len(first) < 2 {
				continue
			}
			if err := e.s.join(first); err != nil {
				e.t.Fatal(err)
			}
			e.s.arrived = p.Arrival
			continue
		}
		l := e.lane(tr)
		before := int64(-1)
		if l != nil {
			before = l.last
		}
		if err := e.s.WritePacket(context.Background(), p); err != nil {
			e.t.Fatal(err)
		}
		if l = e.lane(tr); l == nil || l.last == before {
			continue // left out
		}
		if l.last < before {
			e.t.Fatalf("%v goes back from %d to %d", tr.Kind(), before, l.last)
		}
		if check != nil {
			check(tr, at, l.track.Duration(l.last))
		}
	}
}

func (e *encoder) lane(tr *media.Track) *lane {
	for _, l := range e.s.lanes {
		if l.id == tr.ID {
			return l.lane
		}
	}
	return nil
}

// TestADayOfAWrongClock: an encoder whose clock is 0.1 % wrong.
func TestADayOfAWrongClock(t *testing.T) {
	day := 24 * time.Hour
	for name, pace := range map[string]float64{"fast": 1.001, "slow": 0.999} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Few and long packets, since a day is long.
			e := newEncoder(t, 1000, 8000, func(_ media.Kind, at time.Duration) (time.Duration, time.Duration, bool) {
				return time.Duration(float64(at) * pace), at, true
			})
			e.frame = 240 * time.Millisecond
			var offset [3]time.Duration
			e.send(day, func(tr *media.Track, captured, out time.Duration) {
				offset[tr.Kind()] = out - captured
				if captured < time.Minute {
					return
				}
				if off := offset[tr.Kind()].Abs(); off > 150*time.Millisecond {
					t.Fatalf("%v: media time is off the clock by %v after %v", tr.Kind(), off, captured)
				}
				if av := (offset[media.Video] - offset[media.Audio]).Abs(); av > 40*time.Millisecond {
					t.Fatalf("sound and pictures are %v apart after %v", av, captured)
				}
			})
			c := e.s.repairs.counts()
			if c["clock_drift"] == 0 || c["jump"]+c["outlier"]+c["audio_resync"]+c["audio_surplus"]+c["late"]+c["order"] > 0 {
				t.Errorf("repairs %v", c)
			}
		})
	}
}

// TestTracksThatDriftApart: the stamps of the sound are 0.05 % fast or slow, those of the
// pictures are right.
func TestTracksThatDriftApart(t *testing.T) {
	for name, pace := range map[string]float64{"fast": 1.0005, "slow": 0.9995} {
		t.Run(name, func(t *testing.T) {
			e := newEncoder(t, 1000, 16000, func(k media.Kind, at time.Duration) (time.Duration, time.Duration, bool) {
				if k == media.Audio {
					return time.Duration(float64(at) * pace), at, true
				}
				return at, at, true
			})
			var offset [3]time.Duration
			e.send(2*time.Hour, func(tr *media.Track, captured, out time.Duration) {
				offset[tr.Kind()] = out - captured
				if av := (offset[media.Video] - offset[media.Audio]).Abs(); av > 90*time.Millisecond {
					t.Fatalf("sound and pictures are %v apart after %v", av, captured)
				}
			})
			if c := e.s.repairs.counts(); c["track_drift"] == 0 || c["jump"]+c["audio_surplus"] > 0 {
				t.Errorf("repairs %v", c)
			}
		})
	}
}

// TestHostileStamps: whatever is wrong with time stamps, what comes out does not go back,
// sound stays with the pictures, and media time follows the clock.
func TestHostileStamps(t *testing.T) {
	wrap := func(at, limit time.Duration) time.Duration { return at % limit }
	ms32 := time.Duration(1<<32) * time.Millisecond
	ticks33 := time.Duration(media.Rescale(1<<33, 90000, int64(time.Second)))
	after := func(at, from, by time.Duration) time.Duration {
		if at >= from {
			return at + by
		}
		return at
	}
	type stamps func(k media.Kind, at time.Duration) (time.Duration, time.Duration, bool)
	for name, tt := range map[string]struct {
		timescale int
		sent      stamps
		repair    string
	}{
		"nothing": {1000, func(_ media.Kind, at time.Duration) (time.Duration, time.Duration, bool) { return at, at, true }, ""},
		"1 h ahead": {1000, func(_ media.Kind, at time.Duration) (time.Duration, time.Duration, bool) {
			return after(at, 20*time.Second, time.Hour), at, true
		}, "jump"},
		"1 h back": {1000, func(_ media.Kind, at time.Duration) (time.Duration, time.Duration, bool) {
			return after(at+2*time.Hour, 2*time.Hour+20*time.Second, -time.Hour), at, true
		}, "jump"},
		"2^32 ms": {1000, func(_ media.Kind, at time.Duration) (time.Duration, time.Duration, bool) {
			return wrap(ms32-20*time.Second+at, ms32), at, true
		}, "jump"},
		"2^33 ticks": {90000, func(_ media.Kind, at time.Duration) (time.Duration, time.Duration, bool) {
			return wrap(ticks33-20*time.Second+at, ticks33), at, true
		}, "jump"},
		"sound 2 s early": {1000, func(k media.Kind, at time.Duration) (time.Duration, time.Duration, bool) {
			return at, at, k == media.Audio || at >= 2*time.Second
		}, ""},
		"leaps of 5 s in no time": {1000, func(_ media.Kind, at time.Duration) (time.Duration, time.Duration, bool) {
			return at + at/(20*time.Second)*5*time.Second, at, true
		}, "jump"},
		"duplicates": {1000, func(k media.Kind, at time.Duration) (time.Duration, time.Duration, bool) {
			if k == media.Video && int(at/(40*time.Millisecond))%5 == 4 {
				return at - 40*time.Millisecond, at, true
			}
			return at, at, true
		}, "order"},
		"backward": {1000, func(k media.Kind, at time.Duration) (time.Duration, time.Duration, bool) {
			if k == media.Video && int(at/(40*time.Millisecond))%5 == 4 {
				return at - 90*time.Millisecond, at, true
			}
			return at, at, true
		}, "order"},
		"the network wavers": {1000, func(_ media.Kind, at time.Duration) (time.Duration, time.Duration, bool) {
			return at, at + at/time.Second%3*90*time.Millisecond, true
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEncoder(t, tt.timescale, 16000, tt.sent)
			var offset [3]time.Duration
			n, both := 0, [3]bool{}
			e.send(time.Minute, func(tr *media.Track, captured, out time.Duration) {
				n++
				offset[tr.Kind()], both[tr.Kind()] = out-captured, true
				if both[media.Video] && both[media.Audio] {
					if av := (offset[media.Video] - offset[media.Audio]).Abs(); av > 140*time.Millisecond && name == "backward" || av > 40*time.Millisecond && name != "backward" {
						t.Errorf("sound and pictures are %v apart after %v", av, captured)
					}
				}
				if off := offset[tr.Kind()].Abs(); off > 300*time.Millisecond {
					t.Errorf("%v: media time is off the clock by %v after %v", tr.Kind(), off, captured)
				}
			})
			if n < 2200 {
				t.Errorf("only %d packets came out", n)
			}
			c := e.s.repairs.counts()
			if tt.repair == "" && len(c) > 0 || tt.repair != "" && c[tt.repair] == 0 {
				t.Errorf("repairs %v, want %q", c, tt.repair)
			}
		})
	}
}

func TestParametersThatChangeAllTheTime(t *testing.T) {
	e := newEncoder(t, 1000, 16000, func(_ media.Kind, at time.Duration) (time.Duration, time.Duration, bool) { return at, at, true })
	plain := *e.video
	n := 0
	e.send(time.Minute, func(tr *media.Track, _, _ time.Duration) {
		if tr == e.video {
			n++
			v := plain
			v.Config = append([]byte{byte(n), byte(n >> 8)}, plain.Config...)
			e.video = &v
		}
	})
	if v := e.lane(e.video).track.Version; v < 5 || v > changesAtOnce+int(time.Minute/changeTime)+1 {
		t.Errorf("%d changes of parameters in a minute", v)
	}
	if e.s.repairs.counts()["parameters"] == 0 {
		t.Error("nothing was told of packets left out")
	}
}

// Publishers that come one after the other, each with tracks that nobody had before, do not
// make a stream remember more than so many.
func TestTracksOfManyPublishers(t *testing.T) {
	e := newEncoder(t, 1000, 16000, func(_ media.Kind, at time.Duration) (time.Duration, time.Duration, bool) { return at, at, true })
	e.s.grant.Linger = time.Minute
	e.s.cancel = func(error) {} // it is taken over
	e.send(2*time.Second, nil)
	d := e.s.desk
	refused := 0
	for n := range 10 {
		var first []*media.Packet
		for i := range 7 {
			tr := *e.video
			tr.ID, tr.Height = 1+2*i, 1080-100*i-n
			p := e.packet(&tr, 2*time.Second)
			p.Key = true
			first = append(first, p)
		}
		s := &session{
			Ingest: e.s.Ingest, request: &request{}, grant: e.s.grant, id: "in_2",
			repairs: &repairs{}, cancel: func(error) {},
		}
		if err := s.join(first); fault.Is(err, fault.TooMany) {
			refused++
		}
		if len(d.lanes) > maxLanes {
			t.Fatalf("the stream has %d tracks after %d publishers", len(d.lanes), n+1)
		}
	}
	if refused == 0 {
		t.Error("nobody was refused")
	}
}
