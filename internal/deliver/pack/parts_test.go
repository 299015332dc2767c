package pack

import (
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

func TestGroupsFallIntoEvenParts(t *testing.T) {
	for _, tt := range []struct {
		fps   float64
		group time.Duration
		part  time.Duration
		want  int
	}{
		{25, 2 * time.Second, 500 * time.Millisecond, 13},       // 13, 13, 13, 11 and not 12, 12, 12, 12, 2
		{24, 2 * time.Second, 500 * time.Millisecond, 12},       // divides
		{30, 2 * time.Second, 200 * time.Millisecond, 6},        // divides
		{25, 2 * time.Second, 200 * time.Millisecond, 5},        // divides
		{25, 10 * time.Second, 500 * time.Millisecond, 13},      // 250 frames in 20 parts
		{25, 100 * time.Millisecond, 500 * time.Millisecond, 0}, // shorter than half a part
		{5, 700 * time.Millisecond, 500 * time.Millisecond, 0},  // would be twice as long
	} {
		p := &plan{part: tt.part, group: tt.group}
		if n := p.evenParts(time.Duration(float64(time.Second) / tt.fps)); n != tt.want {
			t.Errorf("%v fps in groups of %v: %d frames a part of %v, want %d", tt.fps, tt.group, n, tt.part, tt.want)
		}
	}
}

func TestEvenPartsOfStampsInMilliseconds(t *testing.T) {
	var steps []time.Duration
	for i := range 60 {
		steps = append(steps, time.Duration((i+1)*1000/30-i*1000/30)*time.Millisecond)
	}
	p := &plan{part: 500 * time.Millisecond, group: 2 * time.Second}
	if n := p.evenParts(mean(steps, 0)); n != 15 {
		t.Errorf("%d frames a part, want 15", n)
	}
	// Fifteen frames last 500 ms give or take one: they must fit, and sixteen must not.
	if target := p.videoTarget(steps, &media.Track{}); target < 501*time.Millisecond || target > 530*time.Millisecond {
		t.Errorf("part target %v", target)
	}
}

// TestShortTailsComeLate watches every state of a stream whose sound ends each segment
// with a part of a frame or two: the end of a segment is not seen sooner than shortTail
// after the part before its last one.
func TestShortTailsComeLate(t *testing.T) {
	s := testStream(media.LatencyLow)
	type seen struct {
		parts int
		at    time.Duration
	}
	open := map[string]map[int64]seen{} // by rendition and sequence: the last state before the end
	ended := map[string]int64{}
	tails := 0
	for _, p := range generate(t, mediatest.Options{Duration: 40 * time.Second, GOP: 64, RateNum: 25, SampleRate: 44100, FrameSize: 50, AudioSize: 20}) {
		s.write(p)
		now := p.Track.Duration(p.DTS)
		for _, r := range s.Renditions() {
			snap := r.Snapshot()
			if open[r.Name()] == nil {
				open[r.Name()] = map[int64]seen{}
			}
			if o := snap.Open; o != nil && open[r.Name()][o.Sequence].parts != len(o.Parts) {
				open[r.Name()][o.Sequence] = seen{len(o.Parts), now}
			}
			if len(snap.Segments) == 0 {
				continue
			}
			seg := snap.Segments[len(snap.Segments)-1]
			if ended[r.Name()] == seg.Sequence {
				continue
			}
			ended[r.Name()] = seg.Sequence
			before, ok := open[r.Name()][seg.Sequence]
			tail := seg.Parts[len(seg.Parts)-1].Duration
			if !ok || before.parts != len(seg.Parts)-1 || tail > shortTail {
				continue
			}
			tails++
			const jitter = 90 * time.Millisecond // of sound and picture, which come in turns
			if wait := now - before.at; wait < shortTail-jitter {
				t.Errorf("%s: segment %d ends with %v, %v after the part before", r.Name(), seg.Sequence, tail, wait)
			}
		}
	}
	if tails < 5 {
		t.Errorf("only %d short tails came up", tails)
	}
}

// TestDateTimeIsNotMisledByALateStart: an encoder holds its first second back and then
// sends it at once. The picture is as old as the later frames say.
func TestDateTimeIsNotMisledByALateStart(t *testing.T) {
	s := testStream(media.LatencyLow)
	const held = 1100 * time.Millisecond
	for _, p := range generate(t, mediatest.Options{Duration: 6 * time.Second, FrameSize: 50, AudioSize: 20}) {
		if release := start.Add(held); p.Arrival.Before(release) {
			p.Arrival = release
		}
		s.write(p)
	}
	r, ok := s.Rendition("v0")
	if !ok {
		t.Fatal("no v0")
	}
	if off := r.Snapshot().Segments[0].Start.Sub(start).Abs(); off > 50*time.Millisecond {
		t.Errorf("the first segment's time is %v off", off)
	}
}

// TestFirstSegmentIsNotHeldBack: all renditions have a segment from the first moment on,
// also where the sound's first one ends with a short part.
func TestFirstSegmentIsNotHeldBack(t *testing.T) {
	s := testStream(media.LatencyLow)
	for _, p := range generate(t, mediatest.Options{Duration: 6 * time.Second, GOP: 64, RateNum: 25, SampleRate: 44100, FrameSize: 50, AudioSize: 20}) {
		s.write(p)
		ready := false
		for _, r := range s.Renditions() {
			ready = ready || len(r.Snapshot().Segments) > 0
		}
		if !ready {
			continue
		}
		for _, r := range s.Renditions() {
			if len(r.Snapshot().Segments) == 0 {
				t.Fatalf("%s has no segment while another has", r.Name())
			}
		}
		return
	}
	t.Error("there was no segment")
}

// TestKnownKeyIntervalStartsAtOnce: a source that is asked for its key frames need not be
// watched for a whole group before its first part is shown.
func TestKnownKeyIntervalStartsAtOnce(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{0: 2 * time.Second, 2 * time.Second: startKnown} {
		l := newLearner(DefaultConfig(), media.LatencyLow, true)
		var known *media.Track
		for _, p := range generate(t, mediatest.Options{Duration: 10 * time.Second, GOP: 60, NoAudio: true}) {
			if known == nil {
				track := *p.Track
				track.KeyInterval = interval
				known = &track
			}
			q := *p
			q.Track = known
			if !l.add(&q) {
				continue
			}
			if at := q.Track.Duration(q.DTS); at < want || at > want+50*time.Millisecond {
				t.Errorf("key interval %v: enough is known after %v, want %v", interval, at, want)
			}
			if plan := l.plan(); plan.target != 3 || plan.group != 2*time.Second {
				t.Errorf("key interval %v: target %d, group %v", interval, plan.target, plan.group)
			}
			break
		}
	}
}

// A frame lasts as long in another timescale.
func TestTimescaleOfATrackChanges(t *testing.T) {
	track := func(rate int) *media.Track {
		return generate(t, mediatest.Options{Duration: time.Second, NoVideo: true, SampleRate: rate, AudioTimescale: rate})[0].Track
	}
	s := newSegmenter(DefaultConfig(), &plan{}, "e", newMetrics(nil), testStream(media.LatencyLow))
	b := &builder{s: s, r: &Rendition{kind: media.Audio}}
	if err := b.adopt(track(48000)); err != nil {
		t.Fatal(err)
	}
	b.usual, b.end, b.endTime = 1024, 48000, time.Second
	if err := b.adopt(track(24000)); err != nil {
		t.Fatal(err)
	}
	if b.usual != 512 || b.end != 24000 {
		t.Errorf("a frame of 1024/48000 s lasts %d/24000 s, and the last one ends at %d", b.usual, b.end)
	}
}

// What is collected before the first cut is bounded whatever the size of its packets.
func TestLearnerCountsWhatPacketsCostBesideTheirMedia(t *testing.T) {
	list := generate(t, mediatest.Options{Duration: time.Second})
	l := newLearner(DefaultConfig(), media.LatencyLow, true)
	var sound *media.Packet
	for _, p := range list {
		if p.Track.Kind() == media.Audio {
			sound = p
		} else if !l.hasVideo {
			l.add(p)
		}
	}
	tiny := *sound
	tiny.Data = tiny.Data[:1]
	const most = maxStartBytes / 100 // a packet and its place in the list take more than 100 bytes
	for n := 0; !l.add(&tiny); n++ {
		if n > most {
			t.Fatalf("%d packets of sound wait for a picture", n)
		}
	}
}
