package hls

import (
	"slices"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// then continues with other options after a while, as another encoder would: its clock
// begins anew, and ingest maps it to where the stream stands.
func then(before, after time.Duration, jump time.Duration, change func(*mediatest.Options)) func(*rig, mediatest.Options, func()) {
	return func(r *rig, o mediatest.Options, each func()) {
		begin := time.Now()
		r.write(newSource(r.t, o).take(before), each)
		change(&o)
		elapsed := time.Since(begin).Round(time.Second) + time.Second
		time.Sleep(time.Until(begin.Add(elapsed)))
		o.Offset = elapsed + jump
		o.Start = begin.Add(-jump)
		r.write(newSource(r.t, o).take(after), each)
	}
}

// without leaves out the packets of a kind in a stretch of media.
func without(kind media.Kind, from, to, length time.Duration) func(*rig, mediatest.Options, func()) {
	return func(r *rig, o mediatest.Options, each func()) {
		list := newSource(r.t, o).take(length)
		begin := list[0].Arrival
		r.write(slices.DeleteFunc(list, func(p *media.Packet) bool {
			at := p.Arrival.Sub(begin)
			return p.Track.Kind() == kind && at >= from && at < to
		}), each)
	}
}

// scenes has key frames where scenes change besides the regular ones.
func scenes(r *rig, o mediatest.Options, each func()) {
	list := newSource(r.t, o).take(60 * time.Second)
	n := 0
	for i, p := range list {
		if p.Track.Kind() == media.Video {
			if n++; n%60 == 41 || n%180 == 17 {
				q := *p
				q.Key = true
				list[i] = &q
			}
		}
	}
	r.write(list, each)
}

func again(*mediatest.Options) {}

func bigger(o *mediatest.Options) { o.Width, o.Height = 640, 360 }

func TestEveryStateIsLegalThroughTrouble(t *testing.T) {
	const before, after = 21300 * time.Millisecond, 25 * time.Second
	for _, p := range []publisher{
		{name: "same parameters after 1 s", act: then(before, after, 0, again), longFrames: true, apart: true},
		{name: "other size", act: then(before, after, 0, bigger), discs: 1, holes: true, longFrames: true, apart: true},
		{name: "other sound", act: then(before, after, 0, func(o *mediatest.Options) { o.SampleRate = 44100 }), discs: 1, longFrames: true, holes: true, apart: true},
		{name: "other codec", act: then(before, after, 0, func(o *mediatest.Options) { o.Video = media.HEVC }), discs: 1, longFrames: true, holes: true, apart: true},
		{name: "clock jumps forward", act: then(before, after, time.Hour, again), discs: 1, longFrames: true, holes: true, apart: true},
		{name: "clock jumps back", act: then(before, after, -10*time.Second, again), discs: 1, longFrames: true, holes: true, apart: true},
		{name: "pictures dropped for 1.2 s", act: without(media.Video, before, before+1200*time.Millisecond, 60*time.Second), longFrames: true},
		{name: "no pictures for 9 s", act: without(media.Video, before, before+9*time.Second, 60*time.Second), discs: 2, longFrames: true, holes: true, apart: true},
		{name: "no pictures any more", act: without(media.Video, before, time.Hour, 60*time.Second), discs: 1, longFrames: true, holes: true, apart: true},
		{name: "no sound for 7 s", act: without(media.Audio, before, before+7*time.Second, 60*time.Second), longFrames: true, holes: true, apart: true},
		{name: "no sound any more", act: without(media.Audio, before, time.Hour, 60*time.Second), longFrames: true, holes: true, apart: true},
		{name: "sound alone for 8 s", act: without(media.Video, 0, 8*time.Second, 60*time.Second), discs: 1, holes: true, apart: true, longFrames: true},
		{name: "scenes", act: scenes, apart: false},
	} {
		for _, mode := range []media.LatencyMode{media.LatencyUltra, media.LatencyLow, media.LatencyStandard} {
			t.Run(p.name+"/"+string(mode), func(t *testing.T) { lintAll(t, mode, p, 0) })
		}
	}
}
