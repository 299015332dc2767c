package rtc

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"onair/internal/media"
)

// voice sends sound, a packet each 20 ms.
type voice struct {
	lane *lane
	seq  uint16
	ts   uint32
}

// sound is 20 ms of stereo, in one frame of CELT.
var sound = []byte{0xfc, 1, 2, 3}

func (v *voice) say(d *desk) {
	d.push(v.lane, &rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: v.seq, Timestamp: v.ts}, Payload: sound})
	v.seq++
	v.ts += 960
}

// checkSound checks that sound never stalls, and returns how much of it is silence.
func checkSound(t *testing.T, packets []*media.Packet, least int) (silent int) {
	t.Helper()
	if len(packets) < least {
		t.Errorf("%d packets of sound came, less than %d", len(packets), least)
	}
	for i, p := range packets {
		if len(p.Data) == len(silence) && p.Data[1] == silence[1] {
			silent++
		}
		if i > 0 {
			if step := p.DTS - packets[i-1].DTS; step < 960 || step >= 2*960 {
				t.Errorf("packet %d comes %d ticks after the one before", i, step)
			}
		}
	}
	return silent
}

func TestSilenceIsFilled(t *testing.T) {
	for _, c := range []struct {
		name string
		// pause lets the voice rest from 1 s to 6 s.
		pause  func(d *desk, v *voice)
		silent int // packets of silence at least
	}{
		{"DTX: a packet each 400 ms, time goes on", func(d *desk, v *voice) {
			for i := range 12 {
				d.until(time.Second + time.Duration(i+1)*400*time.Millisecond)
				v.ts += 19 * 960
				v.say(d)
			}
			d.until(5980 * time.Millisecond)
			v.ts += 9 * 960
		}, 200},
		{"nothing, time goes on", func(d *desk, v *voice) {
			d.until(6 * time.Second)
			v.ts += 250 * 960
		}, 240},
		{"nothing, and the sender's clock stands still", func(d *desk, _ *voice) {
			d.until(6 * time.Second)
		}, 230},
		{"nothing, and a clock from elsewhere", func(d *desk, v *voice) {
			d.until(6 * time.Second)
			v.ts += 0x30000000
		}, 230},
		{"nothing, and a clock a little behind", func(d *desk, v *voice) {
			d.until(6 * time.Second)
			v.ts += 225 * 960
		}, 230},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, 1)
			v := &voice{lane: d.lane(media.Opus, "", 9), seq: 65530, ts: 0xffffff00}
			for i := range 50 {
				d.until(time.Duration(i) * 20 * time.Millisecond)
				v.say(d)
			}
			d.until(time.Second)
			before := len(d.packets)
			c.pause(d, v)
			if n := len(d.packets) - before; n < 200 {
				t.Errorf("in 5 s of rest %d packets came", n)
			}
			for i := range 100 {
				d.until(6*time.Second + time.Duration(i)*20*time.Millisecond)
				v.say(d)
			}
			if n := checkSound(t, d.packets, 380); n < c.silent {
				t.Errorf("%d packets of silence", n)
			}
			first, last := d.packets[0], d.packets[len(d.packets)-1]
			if span := last.Track.Duration(last.DTS - first.DTS); span < 7600*time.Millisecond || span > 8200*time.Millisecond {
				t.Errorf("8 s of sound are %v long", span)
			}
		})
	}
}

func TestLostSoundIsFilled(t *testing.T) {
	d := newDesk(t, 1)
	v := &voice{lane: d.lane(media.Opus, "", 9), seq: 1, ts: 1}
	for i := range 200 {
		d.until(time.Duration(i) * 20 * time.Millisecond)
		if i%10 == 5 {
			v.seq++
			v.ts += 960
			continue
		}
		v.say(d)
	}
	d.until(5 * time.Second)
	if n := checkSound(t, d.packets, 198); n < 20 {
		t.Errorf("%d packets of silence for 20 that were lost", n)
	}
}

// TestAlignment sends a picture and a sound that were taken at the same time, the picture
// late by what encoding takes, and looks how far they are apart when they come out.
func TestAlignment(t *testing.T) {
	const late = 300 * time.Millisecond
	for _, c := range []struct {
		name string
		// reports is when the sender reports on picture and sound; negative for never.
		video, audio time.Duration
		wrong        time.Duration // by how much the picture's reports are off
		first, last  time.Duration // the picture against the sound at the beginning and at the end
	}{
		{"both report at once", 400 * time.Millisecond, 150 * time.Millisecond, 0, 0, 0},
		{"both report before the hold ends", 900 * time.Millisecond, 950 * time.Millisecond, 0, 0, 0},
		{"nobody reports", -1, -1, 0, late, late},
		{"only the picture reports", 400 * time.Millisecond, -1, 0, late, late},
		{"reports come late", 3 * time.Second, 4 * time.Second, 0, late, 0},
		{"the sound reports late", 400 * time.Millisecond, 4 * time.Second, 0, late, 0},
		{"reports are nonsense", 400 * time.Millisecond, 150 * time.Millisecond, time.Hour, late, late},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, 2)
			video, v := d.lane(media.H264, "", 7), &voice{lane: d.lane(media.Opus, "", 9), seq: 1, ts: 77777}
			sent := wire(t, media.H264, 900, 30, 1, 0xfffff000)
			frame := 0
			for i := range 1500 {
				at := time.Duration(i) * 20 * time.Millisecond
				d.until(at)
				v.say(d)
				for ; frame < len(sent) && time.Duration(frame)*time.Second/30+late <= at; frame++ {
					for _, p := range sent[frame].packets {
						d.push(video, p)
					}
				}
				report := func(ssrc uint32, from time.Duration, ts uint32, off time.Duration) {
					if from >= 0 && at >= from && (at-from)%time.Second < 20*time.Millisecond {
						d.rx.report(ssrc, ntpOf(epoch.Add(at+off)), ts, d.now)
						d.look()
					}
				}
				report(7, c.video, 0xfffff000+uint32(i*1800), c.wrong)
				report(9, c.audio, 77777+uint32(i*960), 0)
			}
			d.until(31 * time.Second)
			pictures, sounds := of(d.packets, 1), of(d.packets, 2)
			if len(pictures) < 890 || len(sounds) < 1490 {
				t.Fatalf("%d pictures and %d sounds came out", len(pictures), len(sounds))
			}
			checkSound(t, sounds, 1490)
			// Picture n was taken at n/30 s, sound n at n/50 s.
			skew := func(p int) time.Duration {
				v := pictures[p].Track.Duration(pictures[p].PTS) - time.Duration(p)*time.Second/30
				return v - sounds[0].Track.Duration(sounds[0].PTS)
			}
			near := func(what string, got, want time.Duration) {
				if d := got - want; d > 15*time.Millisecond || d < -15*time.Millisecond {
					t.Errorf("the picture is %v late %s, not %v", got, what, want)
				}
			}
			near("first", skew(0), c.first)
			near("last", skew(len(pictures)-1), c.last)
			for i := 1; i < len(pictures); i++ {
				if step := pictures[i].PTS - pictures[i-1].PTS; step < 2900 || step > 3100 {
					t.Errorf("picture %d comes %d ticks after the one before", i, step)
				}
			}
		})
	}
}

func TestLayersOfSimulcastAreTracks(t *testing.T) {
	d := newDesk(t, 2)
	lanes := []*lane{d.lane(media.H264, "f", 1), d.lane(media.H264, "h", 2), d.lane(media.H264, "q", 3)}
	v := &voice{lane: d.lane(media.Opus, "", 9), seq: 1, ts: 5}
	// Each layer has a time of its own; the last one starts late and pauses.
	sent := [][]wired{
		wire(t, media.H264, 150, 30, 1, 1000), wire(t, media.H264, 150, 30, 1, 0x40000000), wire(t, media.H264, 150, 30, 1, 0xc0000000),
	}
	for i := range 150 {
		at := time.Duration(i) * time.Second / 30
		d.until(at)
		v.ts = 5 + uint32(at*48000/time.Second)
		v.say(d)
		for n, l := range lanes {
			if n == 2 && (i < 60 || i > 90 && i < 120) {
				continue
			}
			for _, p := range sent[n][i].packets {
				d.push(l, p)
			}
			d.rx.report(l.ssrc, ntpOf(epoch.Add(at)), sent[n][i].ts, d.now)
		}
		d.rx.report(9, ntpOf(epoch.Add(at)), 5+uint32(at*48000/time.Second), d.now)
	}
	d.until(6 * time.Second)
	ids := map[int]int{}
	at := map[int]map[int64]bool{}
	for _, p := range d.packets {
		ids[p.Track.ID]++
		if p.Track.ID != 2 && p.Key {
			if at[p.Track.ID] == nil {
				at[p.Track.ID] = map[int64]bool{}
			}
			at[p.Track.ID][p.PTS] = true
		}
	}
	if ids[1] != 150 || ids[3] != 150 || ids[5] < 30 || ids[5] > 70 || len(ids) != 4 {
		t.Errorf("the tracks have %v packets", ids)
	}
	if d.rx.lane(media.H264, "x") == nil || d.rx.lane(media.H264, "y") != nil {
		t.Error("there are not four layers")
	}
	// A key frame of one layer stands where that of another does.
	for pts := range at[1] {
		ok := false
		for other := range at[3] {
			ok = ok || max(pts-other, other-pts) <= 90
		}
		if !ok {
			t.Errorf("the key frame at %d of the first layer has none beside it: %v", pts, at[3])
		}
	}
}
