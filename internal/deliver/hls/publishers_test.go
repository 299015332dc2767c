package hls

import (
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// publisher is a way to publish that has to play.
type publisher struct {
	name    string
	options mediatest.Options
	// act publishes; without it the options are published for the test's length.
	act func(r *rig, o mediatest.Options, each func())
	// longFrames: the rules for parts cannot hold where a frame is longer than 15 % of one.
	longFrames bool
	// holes: a track falls silent, so that media time has a hole.
	holes bool
	// apart: audio and video segments need not begin at the same time.
	apart bool
	// renditions is how many there are in the end; 0 is 2.
	renditions int
	discs      int64
}

func lintAll(t *testing.T, mode media.LatencyMode, p publisher, length time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, DefaultConfig())
		defer r.close()
		r.publish(mode)
		linters := map[string]*linter{}
		each := func() {
			s, ok := r.packer.Stream(streamID)
			if !ok || !ready(s) {
				return
			}
			for _, rend := range s.Renditions() {
				l := linters[rend.Name()]
				if l == nil {
					l = newLinter(t, rend)
					l.longParts, l.holes = p.longFrames, p.holes
					linters[rend.Name()] = l
				}
				l.check(s)
			}
		}
		if p.act != nil {
			p.act(r, p.options, each)
		} else {
			r.write(newSource(t, p.options).take(length), each)
		}
		r.end()
		each()
		if p.renditions == 0 {
			p.renditions = 2
		}
		if len(linters) != p.renditions {
			t.Fatalf("%d renditions, want %d", len(linters), p.renditions)
		}
		for _, l := range linters {
			if !l.last.end {
				t.Errorf("%s has no ENDLIST", l.r.Name())
			}
			if l.states < 3 {
				t.Errorf("%s had %d states only", l.r.Name(), l.states)
			}
			var discs int64
			for _, s := range l.all {
				if s.disc {
					discs++
				}
			}
			if discs != p.discs {
				t.Errorf("%s had %d discontinuities, want %d\n%s", l.r.Name(), discs, p.discs, l.last.text)
			}
		}
		if v, a := linters["v0"], linters["a0"]; v != nil && a != nil {
			aligned(t, p, v, a)
		}
	})
}

func ready(s *pack.Stream) bool {
	select {
	case <-s.Ready():
		return true
	default:
		return false
	}
}

// aligned checks that two renditions have the same boundaries.
func aligned(t *testing.T, p publisher, v, a *linter) {
	if v.last.target != a.last.target {
		t.Errorf("target durations differ")
	}
	common := 0
	for msn, s := range v.all {
		other, ok := a.all[msn]
		if !ok {
			continue
		}
		common++
		if s.disc != other.disc {
			t.Errorf("segment %d is discontinuous in one rendition only", msn)
		}
		if d := s.pdt.Sub(other.pdt).Abs(); d > 15*time.Millisecond && !p.apart {
			t.Errorf("segment %d begins %v apart in the renditions", msn, d)
		}
	}
	missing := 1
	if p.apart {
		missing = 2
	}
	if common < len(v.all)-missing || common < 3 {
		t.Errorf("%d of %d segments have a counterpart", common, len(v.all))
	}
}

var odd = []publisher{
	{name: "group of 10 s", options: mediatest.Options{GOP: 300}},
	{name: "group of 5 min", options: mediatest.Options{GOP: 9000}},
	{name: "group of 0.5 s", options: mediatest.Options{GOP: 15}},
	{name: "group of 1.9 s", options: mediatest.Options{GOP: 57}},
	{name: "B-frames", options: mediatest.Options{BFrames: 2}},
	{name: "variable frame rate", options: mediatest.Options{VariableRate: true}},
	{name: "audio only", options: mediatest.Options{NoVideo: true}, renditions: 1},
	{name: "video only", options: mediatest.Options{NoAudio: true}, renditions: 1},
	{name: "audio 2 s early", options: mediatest.Options{AudioDelay: -2 * time.Second}},
	{name: "audio 2 s late", options: mediatest.Options{AudioDelay: 2 * time.Second}, apart: true},
	{name: "29.97 in milliseconds", options: mediatest.Options{RateNum: 30000, RateDen: 1001, Timescale: 1000}},
	{name: "24 frames", options: mediatest.Options{RateNum: 24, GOP: 48}},
	{name: "12.5 frames", options: mediatest.Options{RateNum: 25, RateDen: 2, GOP: 25}},
	{name: "60 frames HEVC Opus", options: mediatest.Options{RateNum: 60, GOP: 120, Video: media.HEVC, Audio: media.Opus}},
	{name: "AV1", options: mediatest.Options{Video: media.AV1}},
	{name: "44.1 kHz", options: mediatest.Options{SampleRate: 44100}},
	{name: "8 kHz", options: mediatest.Options{SampleRate: 8000}, apart: true},
	{name: "26 h", options: mediatest.Options{Offset: 26 * time.Hour, BFrames: 2}},
	{name: "negative", options: mediatest.Options{Offset: -5 * time.Second}},
}

func TestEveryStateIsLegal(t *testing.T) {
	length := 36 * time.Second
	for _, mode := range []media.LatencyMode{media.LatencyUltra, media.LatencyLow, media.LatencyStandard} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			t.Run("ten minutes", func(t *testing.T) {
				lintAll(t, mode, publisher{}, 10*time.Minute)
			})
			for _, p := range odd {
				t.Run(p.name, func(t *testing.T) { lintAll(t, mode, p, length) })
			}
		})
	}
}
