package pack

import (
	"fmt"
	"time"

	"onair/internal/media"
)

// Renditions that are made of the stream's own media come and go: nobody encodes what
// nobody watches. While one is away its playlist goes on with gaps, under the same media
// sequence numbers as everywhere; it comes back at the beginning of a segment. What its
// encoder does is never a reason for a discontinuity: where its parameters change, another
// initialization section is in force from the next segment on.

// wellNamed reports whether a rendition may be called so: its name is a segment of paths.
func wellNamed(name string) bool {
	if name == "" || len(name) > 32 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// derivedBuilder finds or makes the builder of a derived feed, which has one track whatever
// its encoder calls it. made is how many there are.
func (s *segmenter) derivedBuilder(p *media.Packet, made int) (*builder, error) {
	name := p.Track.Rendition
	for _, b := range s.tracks {
		switch {
		case b.r.derived && b.feed == name && b.r.kind == p.Track.Kind():
			return b, nil
		case b.r.name == name:
			s.drop("track") // a second track, or a name that the publisher's renditions have
			return nil, nil
		}
	}
	if made == maxDerived || !wellNamed(name) || s.lead == nil {
		s.drop("track")
		return nil, nil
	}
	target, grid := s.plan.partTarget(p)
	if p.Track.Kind() == media.Video && s.lead.video() {
		target = s.lead.r.partTarget // its frames are the source's, or some of them
	}
	b := &builder{
		s: s, id: p.Track.ID, feed: name, grid: grid, hinted: -1, needKey: true,
		r: &Rendition{name: name, kind: p.Track.Kind(), derived: true, partTarget: target},
	}
	if err := b.adopt(p.Track); err != nil {
		s.drop("codec")
		return nil, fmt.Errorf("package rendition %s: %w", name, err)
	}
	s.tracks = append(s.tracks, b)
	s.of.added(b)
	return b, nil
}

// joinSlack is by how much a derived rendition's first frame may be later than the boundary
// of the segment that it comes back with.
const joinSlack = 100 * time.Millisecond

// admits decides whether a derived rendition goes on with a frame whose middle is at a time.
// Where it was away, or is coded in another way from now on, it does at the beginning of a
// segment only.
func (s *segmenter) admits(b *builder, f *frame, at time.Duration) bool {
	differs := b.differs(f.Track)
	to := s.segmentAt(at + f.slack())
	within := b.open != nil && to == b.ahead
	follows := b.open != nil && b.pending != nil && !differs && f.dts-b.pending.dts <= 2*b.usual
	why := ""
	switch {
	case (b.needKey || differs) && b.video() && !f.Key:
		why = "no_key"
	case within && differs:
		why = "parameters" // until the next segment
	case !within && !follows && f.present() > s.boundary(to)+joinSlack:
		why = "no_boundary"
	case !differs:
		return true
	}
	if why == "" {
		s.skipTo(b, to) // what is open ends, with the section that it began with
		if b.adopt(f.Track) == nil {
			return true
		}
		why = "codec"
	}
	b.needKey = true
	s.drop(why)
	return false
}

// boundary is where the domain's segment with an index in terms of builder.ahead begins.
func (s *segmenter) boundary(i int) time.Duration {
	if i <= 0 {
		return s.start
	}
	return s.cuts[i-1].at
}

// backfill gives a derived rendition that begins the segments that the source's playlist
// has before, as gaps: the playlists of all renditions have the same numbers.
func (s *segmenter) backfill(b *builder) {
	if !b.r.derived || len(b.kept) > 0 {
		return
	}
	first := s.sequence(b.ahead)
	for _, seg := range s.lead.kept[s.lead.listed:] {
		if seg.Sequence >= first {
			break
		}
		at := s.at(seg.Start)
		base := b.track.Ticks(at)
		b.close(&Segment{
			Sequence: seg.Sequence, Name: segmentName(s.epoch, seg.Sequence), Init: b.init,
			Start: seg.Start, Duration: seg.Duration, Discontinuity: seg.Discontinuity, Gap: true,
			BaseTime: base, Ticks: b.track.Ticks(at+seg.Duration) - base,
			firstPart: b.nextPart, discs: seg.discs, end: at + seg.Duration,
		})
	}
	b.endTime = 0 // nothing of it is in the way of the first frame
}
