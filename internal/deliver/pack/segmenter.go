package pack

import (
	"fmt"
	"slices"
	"time"

	"onair/internal/media"
)

// cut is a place where a segment ends and the next one begins, within a domain.
type cut struct {
	at       time.Duration // presentation time on the output timeline
	sequence int64
}

// segmenter cuts a stream's tracks into segments with common boundaries.
//
// One track of the source's feed leads: its first video track, or its first audio track if there is none. The
// leading track decides where segments begin. The others are secondary: each of their
// packets waits until it is known which segment its time falls into.
//
// A domain is a stretch of media without a break: one initialization section a track,
// timestamps that continue. Where a domain ends, all tracks end their segment, and the
// next one begins with a discontinuity, under a part name that nobody was told before.
type segmenter struct {
	cfg   Config
	plan  *plan
	epoch string
	m     *metrics
	of    owner

	tracks []*builder
	lead   *builder
	open   bool // a domain is open

	shift  time.Duration // from the publisher's timeline to the output timeline
	anchor time.Duration // output time of wall-clock time zero point
	zero   time.Time     // wall clock at anchor
	begun  bool
	first  int64 // first media sequence number
	next   int64 // the next one to give out
	discs  int
	delay  time.Duration // PTS - DTS of the key frame that began the domain

	start    time.Duration // presentation time at which the domain began
	startSeq int64
	startTag bool
	cuts     []cut
	frontier time.Duration // all cuts before this time are known
	lastKey  time.Duration
	group    time.Duration // longest distance of key frames seen
	border   bool          // a secondary track waits for a new domain
	refused  []*media.Track
	journal  *journal // nil: nothing is kept on disk
	ending   bool     // what is missing in the last segment is no gap
}

// owner is what the segmenter works for.
type owner interface {
	added(*builder)             // tells of a new track
	isDerived(feed string) bool // whether a feed is made of the stream's own media
}

func newSegmenter(cfg Config, p *plan, epoch string, m *metrics, of owner) *segmenter {
	return &segmenter{cfg: cfg, plan: p, epoch: epoch, m: m, of: of, group: p.group}
}

// wall maps output time to the wall clock. The mapping never changes: PROGRAM-DATE-TIME
// advances exactly as media time does.
func (s *segmenter) wall(at time.Duration) time.Time { return s.zero.Add(at - s.anchor) }

// at is the output time of a moment on the wall clock.
func (s *segmenter) at(wall time.Time) time.Duration { return s.anchor + wall.Sub(s.zero) }

func (s *segmenter) drop(why string) { s.m.dropped.WithLabelValues(why).Inc() }

// frame puts a packet on the output timeline.
func (s *segmenter) frame(p *media.Packet) frame {
	shift := p.Track.Ticks(s.shift)
	if p.Track.Kind() == media.Audio {
		return frame{Packet: p, dts: p.DTS + shift, pts: p.DTS + shift}
	}
	return frame{Packet: p, dts: p.DTS + shift, pts: p.PTS + shift}
}

// write takes the next packet of the stream.
func (s *segmenter) write(p *media.Packet) error {
	b, err := s.builder(p)
	if b == nil {
		return err
	}
	switch {
	case s.lead == nil:
		if s.plan.video && !b.video() || b.feed != "" {
			s.drop("before_start") // earlier than the first picture of the source
			s.publish()
			return nil
		}
		s.lead = b
	case b != s.lead && b.feed == "" && b.video() && p.Key && !s.lead.video():
		// Pictures begin, or are back, in a stream that was led by its sound.
		s.close(nil)
		s.lead = b
	}
	if b == s.lead {
		s.leading(b, p)
	} else {
		s.secondary(b, p)
	}
	for _, b := range s.tracks {
		if b != s.lead {
			s.drain(b, false)
		}
	}
	s.forget()
	s.publish()
	return nil
}

// end closes everything: there will be no more packets.
func (s *segmenter) end() {
	s.ending = true
	s.close(nil)
	for _, b := range s.tracks {
		if b.init != nil {
			b.ended, b.dirty = true, true
		}
	}
	s.publish()
}

func (s *segmenter) publish() {
	for _, b := range s.tracks {
		b.publish()
	}
}

func (b *builder) video() bool { return b.r.kind == media.Video }

// builder finds or makes the builder of a packet's track.
func (s *segmenter) builder(p *media.Packet) (*builder, error) {
	derived := s.of.isDerived(p.Track.Rendition)
	same, sent := 0, 0
	for _, b := range s.tracks {
		if b.r.derived {
			continue
		}
		if !derived && b.id == p.Track.ID && b.feed == p.Track.Rendition && b.r.kind == p.Track.Kind() {
			return b, nil
		}
		sent++
		if b.r.kind == p.Track.Kind() {
			same++
		}
	}
	if derived {
		return s.derivedBuilder(p, len(s.tracks)-sent)
	}
	if sent == maxTracks || slices.Contains(s.refused, p.Track) {
		s.drop("track")
		return nil, nil
	}
	name := "v"
	if p.Track.Kind() == media.Audio {
		name = "a"
	}
	target, grid := s.plan.partTarget(p)
	b := &builder{
		s: s, id: p.Track.ID, feed: p.Track.Rendition, grid: grid, hinted: -1,
		r: &Rendition{name: fmt.Sprint(name, same), kind: p.Track.Kind(), partTarget: target},
	}
	if err := b.adopt(p.Track); err != nil {
		s.drop("codec")
		if b.video() && b.feed == "" {
			s.plan.video = false // nothing to wait for
		}
		if len(s.refused) == maxTracks {
			s.refused = s.refused[1:]
		}
		s.refused = append(s.refused, p.Track)
		return nil, err
	}
	b.dirty, b.needKey = true, true
	s.tracks = append(s.tracks, b)
	s.of.added(b)
	return b, nil
}

// leading takes a packet of the leading track.
func (s *segmenter) leading(b *builder, p *media.Packet) {
	f := s.frame(p)
	if s.open {
		if b.differs(p.Track) {
			if !p.Key {
				s.drop("parameters")
				return
			}
			s.close(&f)
		} else if (b.pending == nil || b.resumed) && s.resume(b, &f) {
			return
		}
	}
	if s.open {
		step := int64(-1 << 62) // after a restart, far from where the media ended
		if b.pending != nil {
			step = f.dts - b.pending.dts
		}
		switch {
		case p.Track.Duration(step) > s.plan.limit() || p.Track.Duration(step) < -time.Second:
			s.close(nil) // the time line jumped
		case step <= 0:
			f.dts = b.pending.dts + 1
			s.m.repaired.Inc()
		}
	}
	if !s.open {
		if !p.Key {
			s.drop("no_key")
			return
		}
		s.openDomain(b, &f)
		return
	}
	s.advance(b, &f)
}

// advance continues the open domain with the leading track's next frame.
func (s *segmenter) advance(b *builder, f *frame) {
	last := b.pending
	duration := f.dts - last.dts
	if b.end > b.openStart && f.Track.Duration(f.dts-b.openStart) > s.plan.limit() {
		// Too long, and no key frame came: cut before the last frame.
		s.cut(b, last)
	}
	b.commit(duration)
	switch {
	case s.border && f.Key:
		s.close(nil)
		s.openDomain(b, f)
		return
	case s.cutsAt(b, f) || s.beginsFiller(b, f):
		s.cut(b, f)
	}
	b.pending = f
	s.frontier = max(s.frontier, f.decode()+s.delay)
}

// cutsAt decides whether a segment begins at a frame.
func (s *segmenter) cutsAt(b *builder, f *frame) bool {
	at := f.decode()
	length := f.Track.Duration(f.dts - b.openStart)
	if b.openBytes+b.partBytes > maxSegmentBytes && length >= time.Second {
		return true
	}
	if !f.Key {
		return false
	}
	if !b.video() {
		return length+f.Track.Duration(b.usual)/2 >= s.plan.segment
	}
	if s.lastKey > 0 {
		s.group = max(s.group, at-s.lastKey)
	}
	s.lastKey = at
	if length >= s.plan.segment-jitter || !b.open.Independent {
		return true
	}
	if s.plan.early && s.next == s.first+1 && length >= time.Second-jitter {
		return true // viewers wait for the first segment
	}
	// A key frame before its time, as at a change of scene. If the next one may be too
	// late for this segment, the segment ends here.
	return length >= time.Second && length+s.group > s.plan.limit()
}

// beginsFiller tells whether a segment ends at a frame because the part before it broke off
// short. While a publisher is away its last key frame is repeated, each time for a whole
// part: a short part may only be the last of a segment (RFC 8216bis, section 4.4.4.9).
func (s *segmenter) beginsFiller(b *builder, f *frame) bool {
	target := f.Track.Ticks(b.r.partTarget)
	return b.video() && f.Key && target > 0 && 2*f.Duration > target && 2*b.usual < target &&
		b.partTicks > 0 && float64(b.partTicks) < minPart*float64(target) && s.mayNumber(f.Arrival)
}

// mayNumber reports whether there may be one more segment than is due. Sequence numbers
// start from the clock, and must not overtake it.
func (s *segmenter) mayNumber(now time.Time) bool {
	return s.next-s.first <= int64(now.Sub(s.zero)/time.Second)+borderBurst
}

// cut ends the leading track's segment and begins the next one at f.
func (s *segmenter) cut(b *builder, f *frame) {
	b.finish()
	b.begin(f, s.next, false, f.decode()+s.delay)
	s.cuts = append(s.cuts, cut{at: f.decode() + s.delay, sequence: s.next})
	s.next++
}

// forget removes the cuts that every track has passed.
func (s *segmenter) forget() {
	const many = 64
	if len(s.cuts) < many {
		return
	}
	n := len(s.cuts)
	for _, b := range s.tracks {
		if b != s.lead {
			n = min(n, b.ahead)
		}
	}
	if n -= 2; n <= 0 { // one before the current ones says when they began
		return
	}
	s.cuts = slices.Delete(s.cuts, 0, n)
	for _, b := range s.tracks {
		b.ahead -= n
	}
}

// openDomain begins a domain at a frame of the leading track.
func (s *segmenter) openDomain(b *builder, f *frame) {
	if !s.settle(b, f) {
		s.drop("too_many_borders")
		return
	}
	if err := b.adopt(f.Track); err != nil {
		s.drop("codec")
		return
	}
	disc := s.next > s.first
	if disc {
		s.discs++
		s.m.borders.Inc()
	}
	s.open, s.border = true, false
	s.delay = f.present() - f.decode()
	if !b.video() {
		s.delay = 0
	}
	s.start, s.startSeq, s.startTag = f.decode()+s.delay, s.next, disc
	s.cuts = s.cuts[:0]
	s.frontier = s.start
	s.lastKey = f.decode()
	for _, t := range s.tracks {
		t.ahead, t.needKey = 0, true
	}
	s.join(b, f)
	b.begin(f, s.next, disc, s.start)
	s.next++
	b.pending = f
	if b.usual == 0 {
		b.usual = usual(f.Packet)
	}
}

// usual guesses how long a frame lasts.
func usual(p *media.Packet) int64 {
	switch {
	case p.Duration > 0:
		return p.Duration
	case p.Track.FrameRate > 0:
		return max(1, int64(float64(p.Track.Timescale)/p.Track.FrameRate))
	default:
		return max(1, int64(p.Track.Timescale)/30)
	}
}

// settle places the first frame of a domain on the output timeline. Where the
// publisher's timeline went on as the clock did, the output does too; where it jumped, the
// output goes on where it ended, or where the clock stands if that is later. It reports
// false if the stream has had more segments than seconds.
func (s *segmenter) settle(b *builder, f *frame) bool {
	if !s.begun {
		s.begun = true
		if at := f.decode(); at < time.Second {
			// tfdt is unsigned, and sound may begin a little before the picture.
			s.reshift(f, s.shift-at+time.Second)
		}
		s.anchor, s.zero = f.present(), f.Arrival.Add(-s.plan.late)
		if s.zero.IsZero() {
			s.zero = time.Now()
		}
		// Not the corrected time: numbers must not fall behind those of a broadcast before.
		s.first = s.zero.Add(s.plan.late).Unix()
		s.next = s.first
		return true
	}
	if !s.mayNumber(f.Arrival) {
		return false
	}
	clock := s.at(f.Arrival)
	at, ended := f.decode(), b.endTime
	if early := ended - at; early > 0 && early <= time.Millisecond {
		ended = at // rounding: see join
	}
	if off := f.present() - clock; at < ended || off > 5*time.Second || off < -5*time.Second {
		target := ended
		if clock-ended > time.Second {
			target = clock
		}
		s.reshift(f, s.shift+target-at)
	}
	return true
}

func (s *segmenter) reshift(f *frame, shift time.Duration) {
	s.shift = shift
	*f = s.frame(f.Packet)
}

// close ends the domain: every track ends its segment with what has arrived. next is the
// leading track's frame that follows without a hole, if it is known.
func (s *segmenter) close(next *frame) {
	if !s.open {
		return
	}
	s.open = false
	if last := s.lead.pending; last != nil {
		duration := s.lead.usual
		if next != nil && next.Track.Timescale == last.Track.Timescale {
			if d := next.dts - last.dts; d > 0 && last.Track.Duration(d) < time.Second {
				duration = d
			}
		}
		s.lead.last(duration)
	}
	s.lead.finish()
	s.frontier = max(s.frontier, s.lead.endTime+s.delay)
	for _, b := range s.tracks {
		if b != s.lead {
			s.drain(b, true)
			s.skipTo(b, len(s.cuts))
			s.finishSecondary(b, s.frontier)
		}
		b.queue = nil
		b.kill()
		b.heldUntil = 0 // the state before a border must be seen: it has no hint
		b.dirty = b.dirty || b.init != nil
	}
	s.publish()
}
