package pack

import (
	"slices"
	"time"

	"onair/internal/media"
)

// secondary takes a packet of another track than the leading one.
func (s *segmenter) secondary(b *builder, p *media.Packet) {
	if !s.open {
		s.drop("before_start")
		return
	}
	f := s.frame(p)
	if f.present() > s.frontier+maxAhead || len(b.queue) >= maxQueue {
		s.drop("ahead")
		return
	}
	b.queue = append(b.queue, f)
	b.heard = s.frontier
}

// drain assigns the packets of a secondary track whose segment is known.
func (s *segmenter) drain(b *builder, all bool) {
	for len(b.queue) > 0 {
		f := &b.queue[0]
		half := f.Track.Duration(b.half(f))
		at := f.present() + half
		newest := b.queue[len(b.queue)-1].present()
		if !all && at+f.slack() >= s.frontier && newest-s.frontier < holdSecondary {
			break
		}
		taken := *f
		b.queue[0] = frame{}
		b.queue = b.queue[1:]
		s.assign(b, &taken, at)
		if !s.open && !all {
			return
		}
	}
	if !all {
		s.expire(b)
		s.lasts(b)
	}
}

// lasts commits the pending frame of a track of sound once the next one has come, whose
// segment may not be known yet: while a picture is held that takes as long as a part.
func (s *segmenter) lasts(b *builder) {
	if b.pending == nil || len(b.queue) == 0 || b.video() || b.open == nil {
		return
	}
	next := &b.queue[0]
	if d := next.dts - b.pending.dts; d > 0 && d <= 2*b.usual && next.Track == b.pending.Track && !s.tooLong(b, next.dts) {
		b.commit(d)
		if b.ahead < len(s.cuts) && next.present()+next.Track.Duration(b.half(next)) >= s.cuts[b.ahead].at {
			s.skipTo(b, b.ahead+1)
		}
	}
}

// slack is by how much the key frame of another rendition may be earlier than the boundary
// and still begin the segment: encoders that are asked for key frames at the same moment
// do not stamp them alike.
func (f *frame) slack() time.Duration {
	if f.Key && f.Track.Kind() == media.Video {
		return keySlack
	}
	return 0
}

func (b *builder) half(f *frame) int64 {
	if b.usual > 0 {
		return b.usual / 2
	}
	return usual(f.Packet) / 2
}

// assign puts a frame of a secondary track into the segment its middle falls into. A
// picture's segment goes on beyond the boundary until there is a key frame to begin the next
// one with, as far as a segment may last.
func (s *segmenter) assign(b *builder, f *frame, at time.Duration) {
	if at < s.start {
		s.drop("before_start")
		return
	}
	if b.r.derived {
		if !s.admits(b, f, at) {
			return
		}
	} else if b.differs(f.Track) {
		if b.open != nil || b.pending != nil {
			s.border = true // and until the next segment, what cannot be decoded is left out
			s.drop("parameters")
			return
		}
		if err := b.adopt(f.Track); err != nil {
			s.drop("codec")
			return
		}
	}
	to := s.segmentAt(at + f.slack())
	if b.video() && b.open != nil && to == b.ahead+1 && !f.Key && f.Track.Duration(f.dts+b.usual-b.openStart) <= s.plan.limit() {
		to = b.ahead
	}
	if b.pending != nil {
		if f.dts <= b.pending.dts {
			s.drop("late")
			return
		}
		d := f.dts - b.pending.dts
		if to > b.ahead && d > 2*b.usual { // it was silent: to the end of its segment only
			d = min(d, max(b.usual, f.Track.Ticks(s.cuts[b.ahead].at-b.reorder)-b.pending.dts))
		}
		if s.tooLong(b, b.pending.dts+d) {
			s.takeOver(b, f)
			return
		}
		b.commit(d)
	} else if !s.join(b, f) {
		s.drop("late")
		return
	} else if b.open != nil && f.dts-b.end <= 2*b.usual {
		// A restart cut between two frames: the first one after it fills the hole.
		f.dts = b.end
		if !b.video() {
			f.pts = f.dts
		}
	}
	s.skipTo(b, to)
	if b.needKey && !f.Key && b.video() {
		s.drop("no_key")
		return
	}
	b.needKey = false
	if b.open == nil {
		s.backfill(b)
		b.begin(f, s.sequence(b.ahead), b.ahead == 0 && s.startTag, f.present())
	}
	b.pending = f
	if b.usual == 0 {
		b.usual = usual(f.Packet)
	}
}

// segmentAt counts the cuts up to a time: the index of its segment in terms of b.ahead.
func (s *segmenter) segmentAt(at time.Duration) int {
	n, _ := slices.BinarySearchFunc(s.cuts, at, func(c cut, at time.Duration) int {
		if c.at <= at {
			return -1
		}
		return 1
	})
	return n
}

// join makes sure that a frame does not begin before what its track has already, which
// rounding may do by a tick. It reports false if the frame is really too early.
func (s *segmenter) join(b *builder, f *frame) bool {
	if early := b.endTime - f.decode(); early > time.Millisecond {
		return false
	}
	f.dts = max(f.dts, f.Track.Ticks(b.endTime))
	return true
}

// tooLong reports whether a secondary track's segment would outgrow the limit because
// the leading track has stopped.
func (s *segmenter) tooLong(b *builder, end int64) bool {
	return b.open != nil && b.track.Duration(end-b.openStart) > s.plan.limit()
}

// takeOver makes a secondary track lead, as pictures have stopped and sound goes on.
func (s *segmenter) takeOver(b *builder, f *frame) {
	p := f.Packet
	if b.video() || b.feed != "" || !s.open {
		s.drop("no_lead")
		return
	}
	s.close(nil)
	s.lead = b
	next := s.frame(p)
	s.openDomain(b, &next)
}

// sequence is the number of the domain's segment with an index in terms of b.ahead.
func (s *segmenter) sequence(i int) int64 {
	switch {
	case i <= 0:
		return s.startSeq
	case i > len(s.cuts): // after a restart: see finishSecondary
		return s.startSeq + int64(i)
	}
	return s.cuts[i-1].sequence
}

// skipTo ends the segments of a secondary track up to the one that begins with cut number
// to (0: the start of the domain). Those without media are gaps.
func (s *segmenter) skipTo(b *builder, to int) {
	for b.ahead < to {
		s.finishSecondary(b, s.cuts[b.ahead].at)
		b.ahead++
	}
}

// finishSecondary ends a secondary track's segment at a time.
func (s *segmenter) finishSecondary(b *builder, at time.Duration) {
	if b.pending != nil {
		room := b.track.Ticks(at-b.reorder) - b.pending.dts
		b.last(max(b.usual, room))
	}
	if b.open != nil {
		b.finish()
		return
	}
	if b.ahead > len(s.cuts) {
		return // the server was killed between two segments, and the leading track has begun none yet
	}
	begin := s.start
	if b.ahead > 0 {
		begin = s.cuts[b.ahead-1].at
	}
	if n := len(b.kept); n > 0 && !s.ending {
		// It may have gone on beyond the boundary.
		last := b.kept[n-1]
		begin = max(begin, s.at(last.Start)+last.Duration)
		at = max(at, begin+time.Millisecond)
		b.needKey = true
		b.gap(s.sequence(b.ahead), b.ahead == 0 && s.startTag, begin, at-begin)
	}
}

// expire ends segments of a secondary track that has fallen silent.
func (s *segmenter) expire(b *builder) {
	if !s.open {
		return
	}
	wait := secondaryWait
	switch {
	case b.r.derived && s.frontier-b.heard < derivedWait:
		wait = derivedReach
	case b.r.derived:
		wait = derivedWait
	case b.feed != "":
		wait = feedWait
	}
	for i := b.ahead; i < len(s.cuts) && s.frontier > s.cuts[i].at+wait; i++ {
		s.skipTo(b, i+1)
	}
}
