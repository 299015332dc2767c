package pack

import (
	"slices"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// rung is what an encoder makes of a stream between two moments: packets of another feed,
// that come a while after those that they are made of.
func rung(list []*media.Packet, name string, from, to, late time.Duration) (out []*media.Packet) {
	tracks := map[*media.Track]*media.Track{}
	for _, p := range list {
		at := p.Arrival.Sub(start)
		if at < from || at >= to {
			continue
		}
		t := tracks[p.Track]
		if t == nil {
			made := *p.Track
			made.Rendition = name
			t = &made
			tracks[p.Track] = t
		}
		q := *p
		q.Track = t
		q.Arrival = p.Arrival.Add(late)
		out = append(out, &q)
	}
	return out
}

func (s *Stream) writeAll(lists ...[]*media.Packet) {
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b *media.Packet) int { return a.Arrival.Compare(b.Arrival) })
	for _, p := range all {
		s.write(p)
	}
}

func deriving(mode media.LatencyMode, names ...string) *Stream {
	s := testStream(mode)
	for _, n := range names {
		s.derived[n] = true
	}
	return s
}

func mustRendition(t *testing.T, s *Stream, name string) *Rendition {
	t.Helper()
	r, ok := s.Rendition(name)
	if !ok {
		t.Fatalf("there is no rendition %s", name)
	}
	return r
}

// aligned checks that what a derived rendition has is at the place of what the source has, and
// returns a letter for each listed segment: m for media, g for a gap.
func aligned(t *testing.T, s *Stream, name string) string {
	t.Helper()
	source, r := mustRendition(t, s, "v0").Snapshot(), mustRendition(t, s, name).Snapshot()
	shape := ""
	for i, seg := range r.Segments {
		if i > 0 && seg.Sequence != r.Segments[i-1].Sequence+1 {
			t.Fatalf("segment %d after %d", seg.Sequence, r.Segments[i-1].Sequence)
		}
		if i > 0 && seg.Start.Sub(r.Segments[i-1].Start.Add(r.Segments[i-1].Duration)).Abs() > time.Microsecond {
			t.Errorf("segment %d does not begin where the one before it ends", seg.Sequence)
		}
		other := source.Segment(seg.Sequence)
		if other == nil || other.Start.Sub(seg.Start).Abs() > 50*time.Microsecond || (other.Duration-seg.Duration).Abs() > 50*time.Microsecond {
			t.Fatalf("segment %d begins at %v and lasts %v, the source's is %+v", seg.Sequence, seg.Start, seg.Duration, other)
		}
		if seg.Discontinuity != other.Discontinuity || seg.discs != other.discs {
			t.Errorf("segment %d: discontinuity %v (%d), the source's %v (%d)", seg.Sequence, seg.Discontinuity, seg.discs, other.Discontinuity, other.discs)
		}
		if seg.Gap {
			shape += "g"
			continue
		}
		shape += "m"
		if len(seg.Parts) != len(other.Parts) {
			t.Errorf("segment %d has %d parts, the source's %d", seg.Sequence, len(seg.Parts), len(other.Parts))
			continue
		}
		for j := range seg.Parts {
			if d := seg.Parts[j].Duration - other.Parts[j].Duration; d.Abs() > 50*time.Microsecond {
				t.Errorf("segment %d, part %d lasts %v, the source's %v", seg.Sequence, j, seg.Parts[j].Duration, other.Parts[j].Duration)
			}
		}
	}
	if source.DiscontinuitySequence != r.DiscontinuitySequence {
		t.Errorf("discontinuity sequence %d, the source's %d", r.DiscontinuitySequence, source.DiscontinuitySequence)
	}
	return shape
}

// A rendition that is made of the source begins, stops and goes on under the source's
// numbers, at its boundaries, with gaps while it is away.
func TestDerivedRenditionComesAndGoes(t *testing.T) {
	const late = 700 * time.Millisecond
	for _, o := range []mediatest.Options{{}, {BFrames: 2}, {GOP: 30}} {
		small := o
		small.Width, small.Height, small.NoAudio, small.Duration = 640, 360, true, 39*time.Second
		o.Duration = 39 * time.Second
		source, made := generate(t, o), generate(t, small)
		s := deriving(media.LatencyLow, "360p")
		s.writeAll(source, rung(made, "360p", 12*time.Second, 17900*time.Millisecond, late), rung(made, "360p", 28*time.Second, 39*time.Second, late))
		r := mustRendition(t, s, "360p")
		if !r.Derived() || mustRendition(t, s, "v0").Derived() {
			t.Error("what is derived is not told apart")
		}
		snap := r.Snapshot()
		if !snap.Flows() || snap.Hint == "" {
			t.Error("a running rendition has no next part")
		}
		inits := map[*Init]bool{}
		for _, seg := range snap.Segments {
			inits[seg.Init] = true
		}
		if len(inits) != 1 {
			t.Errorf("%d initialization sections of one encoder's settings", len(inits))
		}
		const want = "ggmmmgggggmmmmm" // from 8 s, and from 12 to 18 and 28 on
		if shape := aligned(t, s, "360p"); !endsWith(shape, want) {
			t.Errorf("%+v: %s, want …%s", o, shape, want)
		}
		s.end()
		if shape := aligned(t, s, "360p"); !endsWith(shape, "mm") || !r.Snapshot().Ended {
			t.Errorf("at the end: %s", shape)
		}
	}
}

// A rendition that begins some seconds back, where players of others are, and comes faster than
// time passes until it has caught up, has all of it, although the source's segments of then
// were complete long before.
func TestDerivedRenditionBeginsInThePast(t *testing.T) {
	source := generate(t, mediatest.Options{Duration: 30 * time.Second})
	made := rung(generate(t, mediatest.Options{Duration: 30 * time.Second, NoAudio: true, Width: 640, Height: 360}), "360p", 14*time.Second, 30*time.Second, 300*time.Millisecond)
	const begun = 20500 * time.Millisecond
	first := made[0].Arrival
	for i, p := range made { // six seconds in two
		if caught := start.Add(begun + p.Arrival.Sub(first)/3); caught.After(p.Arrival) {
			q := *p
			q.Arrival = caught
			made[i] = &q
		}
	}
	s := deriving(media.LatencyLow, "360p")
	s.writeAll(source, made)
	if shape := aligned(t, s, "360p"); !endsWith(shape, "gmmmmmmm") {
		t.Errorf("%s: the segments from 14 s on are not all there", shape)
	}
	for _, seg := range mustRendition(t, s, "360p").Snapshot().Segments {
		if at := seg.Start.Sub(start); seg.Gap != (at < 13900*time.Millisecond) {
			t.Errorf("the segment at %v: gap %v", at, seg.Gap)
		}
	}
}

func endsWith(s, end string) bool { return len(s) >= len(end) && s[len(s)-len(end):] == end }

// What is there before a derived rendition does not change by it, nor does anybody wait.
func TestSourceIsNotHeldUpByDerivedRenditions(t *testing.T) {
	source := generate(t, mediatest.Options{Duration: 20 * time.Second})
	made := generate(t, mediatest.Options{Duration: 20 * time.Second, NoAudio: true, Width: 320, Height: 180})
	s := deriving(media.LatencyLow, "180p")
	first := rung(made, "180p", 0, 100*time.Millisecond, 0) // and no more
	for _, p := range source {
		s.writeAll(first, []*media.Packet{p})
		first = nil
		if p.Arrival.Sub(start) > 2200*time.Millisecond {
			select {
			case <-s.Ready():
			default:
				t.Fatal("the stream is not ready though its source is")
			}
		}
	}
	if n := len(mustRendition(t, s, "v0").Snapshot().Segments); n != 9 {
		t.Errorf("%d segments", n)
	}
}

// An encoder that begins anew with other parameters gives its own rendition another
// initialization section at the next boundary, and nobody a discontinuity.
func TestDerivedRenditionChangesItsParameters(t *testing.T) {
	const late = 400 * time.Millisecond
	source := generate(t, mediatest.Options{Duration: 30 * time.Second, GOP: 30})
	one := generate(t, mediatest.Options{Duration: 30 * time.Second, GOP: 30, NoAudio: true, Width: 640, Height: 360})
	two := generate(t, mediatest.Options{Duration: 30 * time.Second, GOP: 30, NoAudio: true, Width: 640, Height: 368})
	s := deriving(media.LatencyLow, "360p")
	s.writeAll(source, rung(one, "360p", 4*time.Second, 13*time.Second, late), rung(two, "360p", 13*time.Second, 30*time.Second, late))
	snap := mustRendition(t, s, "360p").Snapshot()
	changed := 0
	for i, seg := range snap.Segments {
		if i > 0 && seg.Init != snap.Segments[i-1].Init {
			changed++
		}
		if seg.Gap {
			continue
		}
		for _, p := range readBlob(t, seg.Init, seg.Blob) {
			if p.Track.Height != seg.Init.Track.Height {
				t.Errorf("segment %d holds pictures of another size than its section says", seg.Sequence)
			}
		}
	}
	if changed != 1 {
		t.Errorf("%d changes of the initialization section, want 1", changed)
	}
	for _, r := range s.Renditions() {
		for _, seg := range r.Snapshot().Segments {
			if seg.Discontinuity {
				t.Errorf("%s: segment %d has a discontinuity", r.Name(), seg.Sequence)
			}
		}
	}
}

// The source changes its parameters: everybody has a discontinuity there, rungs too.
func TestDerivedRenditionThroughABorder(t *testing.T) {
	const late = 600 * time.Millisecond
	a := generate(t, mediatest.Options{Duration: 30 * time.Second})
	b := generate(t, mediatest.Options{Duration: 30 * time.Second, Width: 960, Height: 540})
	made := generate(t, mediatest.Options{Duration: 30 * time.Second, NoAudio: true, Width: 640, Height: 360})
	s := deriving(media.LatencyLow, "360p")
	cut := func(list []*media.Packet, from, to time.Duration) []*media.Packet { return rung(list, "", from, to, 0) }
	s.writeAll(cut(a, 0, 16*time.Second), cut(b, 16*time.Second, 30*time.Second), rung(made, "360p", 4*time.Second, 30*time.Second, late))
	source, r := mustRendition(t, s, "v0").Snapshot(), mustRendition(t, s, "360p").Snapshot()
	discs := 0
	for _, seg := range r.Segments {
		other := source.Segment(seg.Sequence)
		if other == nil || other.Discontinuity != seg.Discontinuity {
			t.Errorf("segment %d: discontinuity %v, the source's is %+v", seg.Sequence, seg.Discontinuity, other)
		}
		if seg.Discontinuity {
			discs++
			if seg.Gap {
				t.Errorf("segment %d, which begins after the border, is a gap", seg.Sequence)
			}
		}
	}
	if discs != 1 {
		t.Errorf("%d discontinuities, want 1", discs)
	}
}

// Names come from configuration and from publishers; what cannot stand in a path, or is a
// publisher's rendition already, is left out.
func TestDerivedNamesAreGuarded(t *testing.T) {
	names := []string{"v0", "../x", "", "720p", "a b", "720p-hevc"}
	s := deriving(media.LatencyLow, names...)
	s.derived[""] = false // the source
	made := generate(t, mediatest.Options{Duration: 20 * time.Second, NoAudio: true, Width: 320, Height: 180})
	lists := [][]*media.Packet{generate(t, mediatest.Options{Duration: 20 * time.Second})}
	for _, n := range names {
		if n != "" {
			lists = append(lists, rung(made, n, 6*time.Second, 20*time.Second, 500*time.Millisecond))
		}
	}
	s.writeAll(lists...)
	var got []string
	for _, r := range s.Renditions() {
		got = append(got, r.Name())
	}
	if want := []string{"v0", "a0", "720p", "720p-hevc"}; !slices.Equal(got, want) {
		t.Errorf("renditions %q, want %q", got, want)
	}
}

// A publisher that begins to send what was made before has a rendition of its own.
func TestPublisherSendsWhatWasMade(t *testing.T) {
	source := generate(t, mediatest.Options{Duration: 30 * time.Second})
	small := generate(t, mediatest.Options{Duration: 30 * time.Second, NoAudio: true, Width: 640, Height: 360})
	s := deriving(media.LatencyLow, "360p")
	cut := func(list []*media.Packet, from, to time.Duration) []*media.Packet { return rung(list, "", from, to, 0) }
	s.writeAll(cut(source, 0, 15*time.Second), rung(small, "360p", 4*time.Second, 15*time.Second, 0))
	s.derived["360p"] = false
	s.writeAll(cut(source, 15*time.Second, 30*time.Second), rung(small, "360p", 15*time.Second, 30*time.Second, 0))
	made, sent := mustRendition(t, s, "360p"), mustRendition(t, s, "v1")
	if made.Snapshot().Flows() || !made.Derived() {
		t.Error("what was made goes on")
	}
	if !sent.Snapshot().Flows() || sent.Derived() {
		t.Error("what is sent is not there")
	}
}

// Sound that is made of other sound is a rendition as well.
func TestDerivedSound(t *testing.T) {
	source := generate(t, mediatest.Options{Duration: 30 * time.Second})
	var sound []*media.Packet
	for _, p := range rung(source, "aac", 7*time.Second, 30*time.Second, 300*time.Millisecond) {
		if p.Track.Kind() == media.Audio {
			sound = append(sound, p)
		}
	}
	s := deriving(media.LatencyLow, "aac")
	s.writeAll(source, sound)
	made, own := mustRendition(t, s, "aac").Snapshot(), mustRendition(t, s, "a0").Snapshot()
	if made.Segments[0].Sequence > own.Segments[0].Sequence || made.LastSequence() < own.LastSequence()-1 {
		t.Errorf("segments %d to %d, of the source %d to %d", made.Segments[0].Sequence, made.LastSequence(), own.Segments[0].Sequence, own.LastSequence())
	}
	for _, seg := range made.Segments {
		other := own.Segment(seg.Sequence)
		if other == nil || other.Start.Sub(seg.Start).Abs() > 25*time.Millisecond {
			t.Errorf("segment %d at %v, the source's %+v", seg.Sequence, seg.Start, other)
		}
		if at := seg.Start.Sub(start); seg.Gap != (at < 7900*time.Millisecond) {
			t.Errorf("segment %d at %v: gap %v", seg.Sequence, at, seg.Gap)
		}
	}
}
