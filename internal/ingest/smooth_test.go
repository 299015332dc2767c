package ingest

import (
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// listen puts n sound packets of 48 kHz AAC through, stamped and dropped as stamp says.
func listen(t *testing.T, n int, stamp func(i int) (ms float64, ok bool)) *rig {
	r := newRig(t)
	_, a := rtmpTracks()
	for i := range n {
		if ms, ok := stamp(i); ok {
			r.put(&media.Packet{Track: a, DTS: int64(ms), PTS: int64(ms), Key: true, Arrival: origin.Add(time.Duration(i) * time.Second * 1024 / 48000)})
		}
	}
	return r
}

const frame = 1024 * 1000 / 48000.0

func TestDriftIsFollowed(t *testing.T) {
	for name, pace := range map[string]float64{"2 % slow": 1.02, "2 % fast": 0.98, "0.1 % slow": 1.001, "0.1 % fast": 0.999} {
		t.Run(name, func(t *testing.T) {
			r := listen(t, 6000, func(i int) (float64, bool) { return float64(i) * frame * pace, true })
			want := time.Duration(5999 * frame * pace * float64(time.Millisecond))
			if got := r.end(mediatest.AudioID); !near(got, want, 125*time.Millisecond) {
				t.Errorf("ends at %v, the stamps at %v: %v", got, want, r.fixed.counts())
			}
			if c := r.fixed.counts(); c["audio_resync"]+c["audio_surplus"]+c["audio_drift"] == 0 || c["jump"]+c["outlier"] > 0 {
				t.Errorf("repairs %v", c)
			}
		})
	}
}

func TestLostSoundLeavesAGap(t *testing.T) {
	for _, lost := range []int{2, 3, 10, 40} {
		r := listen(t, 1000, func(i int) (float64, bool) { return float64(i) * frame, i < 300 || i >= 300+lost })
		want := time.Duration(999 * frame * float64(time.Millisecond))
		if got := r.end(mediatest.AudioID); !near(got, want, 22*time.Millisecond) {
			t.Errorf("%d packets lost: ends at %v, want %v", lost, got, want)
		}
		if c := r.fixed.counts(); c["audio_resync"]+c["audio_drift"] != 1 || len(c) != 1 {
			t.Errorf("%d packets lost: repairs %v", lost, c)
		}
	}
}

func TestJitterAndBurstsAreNoDrift(t *testing.T) {
	for name, stamp := range map[string]func(i int) float64{
		"milliseconds":              func(i int) float64 { return float64(i) * frame },
		"30 ms of jitter":           func(i int) float64 { return float64(i)*frame + float64(i*7919%61-30) },
		"16 packets with one stamp": func(i int) float64 { return float64(i/16*16) * frame },
	} {
		t.Run(name, func(t *testing.T) {
			r := listen(t, 3000, func(i int) (float64, bool) { return stamp(i) + 100, true })
			for i, dts := range r.of(mediatest.AudioID) {
				if dts != int64(i)*1024 {
					t.Fatalf("packet %d is at %d, want %d: %v", i, dts, i*1024, r.fixed.counts())
				}
			}
			r.wantRepairs(map[string]int64{})
		})
	}
}

func TestOpusCountsItsOwnDurations(t *testing.T) {
	g := mediatest.NewGenerator(mediatest.Options{Audio: media.Opus, NoVideo: true, Timescale: 1000})
	a := g.Tracks()[0]
	r := newRig(t)
	at, want := 0.0, int64(0)
	for i := range 400 {
		toc, samples := byte(0x78), int64(960) // CELT, fullband, 20 ms
		if i%3 == 0 {
			toc, samples = 0x70, 480 // 10 ms
		}
		q := r.put(&media.Packet{Track: a, DTS: int64(at), PTS: int64(at), Key: true, Data: []byte{toc, 0}})
		if q.DTS != want || q.Duration != samples {
			t.Fatalf("packet %d is at %d for %d, want %d for %d", i, q.DTS, q.Duration, want, samples)
		}
		want += samples
		at += float64(samples) / 48
	}
}

func TestUnknownDurationFollowsTheStamps(t *testing.T) {
	r := newRig(t)
	a := &media.Track{ID: 2, Codec: media.EAC3, Timescale: 1000}
	for i := range int64(10) {
		r.put(&media.Packet{Track: a, DTS: i * 32, PTS: i * 32, Key: true, Data: []byte{1, 2, 3}})
	}
	if got := r.of(2); got[9] != 9*32*48 {
		t.Errorf("the tenth packet is at %d", got[9])
	}
}

func TestNewSampleRateInMidStream(t *testing.T) {
	r := newRig(t)
	_, a := rtmpTracks()
	b := mediatest.NewGenerator(mediatest.Options{NoVideo: true, Timescale: 1000, SampleRate: 44100}).Tracks()[0]
	for i := range int64(100) {
		r.put(&media.Packet{Track: a, DTS: i * 1024 / 48, PTS: i * 1024 / 48, Key: true})
	}
	before := r.end(mediatest.AudioID)
	r.last = map[int]int64{}
	q := r.put(&media.Packet{Track: b, DTS: 100 * 1024 / 48, PTS: 100 * 1024 / 48, Key: true})
	if q.Track.Timescale != 44100 {
		t.Errorf("the new track's timescale is %d", q.Track.Timescale)
	}
	if got := q.Track.Duration(q.DTS) - before; !near(got, 21*time.Millisecond, 3*time.Millisecond) {
		t.Errorf("the first packet of the new rate comes %v after the last of the old", got)
	}
}
