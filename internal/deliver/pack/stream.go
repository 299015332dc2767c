package pack

import (
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"onair/internal/media"
)

// Stream is one broadcast, packaged. Its methods may be called from several goroutines.
type Stream struct {
	name  string
	begun chan struct{}
	ready chan struct{}
	state atomic.Pointer[state]

	attached sync.Map

	cfg      Config
	m        *metrics
	log      *slog.Logger
	terms    func() (mode media.LatencyMode, announced bool) // known with the first packet
	learner  *learner
	early    early
	seg      *segmenter
	all      []*builder
	derived  map[string]bool // feeds that are made of the stream's own media
	hasBegun bool
	isReady  bool
	complain int // errors of tracks told so far
	mode     media.LatencyMode
	starts   sync.WaitGroup // the recorder's goroutine
	disk     *disk          // nil: nothing is kept on disk
	recorder *recorder      // nil until there is something to record
}

// state is what a Stream tells; it is replaced as a whole.
type state struct {
	target   int
	holdBack time.Duration
	list     []*Rendition
	all      []*Rendition // list, and after it those without a complete segment
	ended    bool
	origin   time.Time // wall clock of media time 0
	changed  chan struct{}
}

// newStream returns a stream that asks terms for the latency mode, and for whether the
// publisher has announced video, when its first packet comes: a stream can be seen in
// the hub a moment before its publisher has stated them.
func newStream(cfg Config, name string, terms func() (media.LatencyMode, bool), m *metrics, log *slog.Logger) *Stream {
	s := &Stream{name: name, cfg: cfg, m: m, log: log, begun: make(chan struct{}), ready: make(chan struct{}), terms: terms, derived: map[string]bool{}}
	s.state.Store(&state{changed: make(chan struct{})})
	return s
}

// set replaces the state.
func (s *Stream) set(next state) {
	next.changed = make(chan struct{})
	close(s.state.Swap(&next).changed)
}

// Name returns the live stream's id.
func (s *Stream) Name() string { return s.name }

// Attach returns what create made for the stream under a key, the same for all callers
// though create may be called more than once. It lives as long as the stream.
func (s *Stream) Attach(key any, create func() any) any {
	v, ok := s.attached.Load(key)
	if !ok {
		v, _ = s.attached.LoadOrStore(key, create())
	}
	return v
}

// Ready is closed when the first segment of the stream is complete, or when it ended
// before. From then on the other methods tell something.
func (s *Stream) Ready() <-chan struct{} { return s.ready }

// Begun is closed when the stream has a first part, listed or not, or when it ended before:
// up to a segment earlier than Ready. From then on AllRenditions, TargetDuration and
// AvailabilityStart tell something.
func (s *Stream) Begun() <-chan struct{} { return s.begun }

// TargetDuration is the value of EXT-X-TARGETDURATION in seconds. It is the same for all
// renditions and never changes.
func (s *Stream) TargetDuration() int { return s.state.Load().target }

// PartHoldBack is the value of PART-HOLD-BACK: three times the longest part target of
// the renditions; 0 without parts.
func (s *Stream) PartHoldBack() time.Duration { return s.state.Load().holdBack }

// AvailabilityStart is the wall clock of media time 0, presentation time as the media has
// it, in all renditions. It never changes: PROGRAM-DATE-TIME and a manifest's times advance
// exactly as media time does.
func (s *Stream) AvailabilityStart() time.Time { return s.state.Load().origin }

// Renditions returns the renditions that have media, in the order in which they began.
// The caller must not change the slice.
func (s *Stream) Renditions() []*Rendition { return s.state.Load().list }

// AllRenditions returns Renditions, and after them those that have parts and no complete
// segment yet: nobody can play these. The caller must not change the slice.
func (s *Stream) AllRenditions() []*Rendition { return s.state.Load().all }

// Changed returns a channel that is closed when there is another rendition than now, of all,
// and when the broadcast ends. Ask for it before Rendition and Ended.
func (s *Stream) Changed() <-chan struct{} { return s.state.Load().changed }

// Rendition returns the rendition of that name, if it has media.
func (s *Stream) Rendition(name string) (*Rendition, bool) {
	for _, r := range s.state.Load().list {
		if r.name == name {
			return r, true
		}
	}
	return nil, false
}

// Ended reports whether the broadcast is over.
func (s *Stream) Ended() bool { return s.state.Load().ended }

func (s *Stream) write(p *media.Packet) {
	if p.Track.Kind() == 0 || p.Track.Timescale <= 0 || len(p.Data) == 0 {
		s.m.dropped.WithLabelValues("empty").Inc()
		return
	}
	if s.seg == nil {
		l := s.learn()
		enough := l.add(p)
		if l.has(p) {
			s.keepEarly(p)
		}
		if enough {
			s.begin()
		}
		return
	}
	s.keepEarly(p)
	s.feed(p)
}

// added tells of a new track.
func (s *Stream) added(b *builder) { s.all = append(s.all, b) }

// isDerived tells whether a feed is made of the stream's own media.
func (s *Stream) isDerived(feed string) bool { return s.derived[feed] }

func (s *Stream) learn() *learner {
	if s.learner == nil {
		mode, announced := s.terms()
		s.mode = mode
		s.early.mu.Lock()
		s.early.all.LatencyMode, s.early.all.Announced = mode, announced
		s.early.mu.Unlock()
		s.learner = newLearner(s.cfg, mode, announced)
	}
	return s.learner
}

// begin cuts what was collected.
func (s *Stream) begin() {
	l := s.learn()
	s.learner = nil
	plan := l.plan()
	s.seg = newSegmenter(s.cfg, plan, newEpoch(), s.m, s)
	if s.disk != nil {
		s.record(s.disk, s.disk.recorder(s.name, nil, 0))
		s.seg.journal.fresh = true
		s.starts.Go(s.recorder.run)
	}
	s.set(state{target: plan.target, holdBack: plan.holdBack()})
	s.log.Info("stream is being packaged", "stream", s.name,
		"target_duration", plan.target, "part", plan.part, "longest_group", plan.group)
	for _, p := range l.packets {
		s.feed(p)
	}
}

// record keeps what is packaged on disk.
func (s *Stream) record(d *disk, r *recorder) {
	s.disk, s.recorder = d, r
	s.seg.journal = &journal{to: r, head: s.head}
}

// head describes the broadcast.
func (s *Stream) head() *headEntry {
	g := s.seg
	return &headEntry{
		Format: journalFormat, Stream: s.name, Mode: s.mode, Segment: g.plan.segment, Part: g.plan.part,
		Target: g.plan.target, Video: g.plan.video, Zero: g.zero, Anchor: g.anchor, First: g.first,
	}
}

func (s *Stream) feed(p *media.Packet) {
	if err := s.seg.write(p); err != nil && s.complain < maxTracks {
		s.complain++
		s.log.Warn("track left out", "stream", s.name, "track", p.Track.ID, "codec", p.Track.Codec.String(), "error", err)
	}
	s.update()
}

// gap begins a new domain with what comes next.
func (s *Stream) gap() {
	if s.seg == nil {
		s.begin()
	}
	s.seg.close(nil)
	s.update()
}

func (s *Stream) end() {
	if s.seg == nil {
		s.begin()
	}
	s.seg.end()
	s.update()
	next := *s.state.Load()
	next.ended = true
	s.set(next)
	s.hasNowBegun()
	if !s.isReady {
		s.isReady = true
		close(s.ready)
	}
}

// update shows renditions once they have a complete segment, and to those who ask for all
// once they have a part.
func (s *Stream) update() {
	now := s.state.Load()
	if len(now.list) == len(s.all) && s.isReady {
		return
	}
	var list, early []*Rendition
	waiting := false
	hold := now.holdBack
	for _, b := range s.all {
		hold = max(hold, 3*b.r.partTarget)
		if snap := b.r.Snapshot(); snap == nil || len(snap.Segments) == 0 {
			if snap != nil && (snap.Open != nil || snap.Unlisted != nil) {
				early = append(early, b.r)
			}
			// A secondary track that fell silent is not waited for.
			// Nor is another rendition, for longer than a segment; nor one that is made here.
			begins := (b.pending != nil || len(b.queue) > 0) && !b.r.derived
			late := b.feed != "" && s.seg.lead != nil && len(s.seg.lead.kept) > 1
			waiting = waiting || b == s.seg.lead || begins && !late
			continue
		}
		list = append(list, b.r)
	}
	all := len(list) + len(early)
	if len(list) != len(now.list) || all != len(now.all) || hold != now.holdBack {
		next := *now
		next.list, next.all, next.holdBack, next.origin = list, slices.Concat(list, early), hold, s.seg.wall(0)
		s.set(next)
	}
	if all > 0 {
		s.hasNowBegun()
	}
	if !s.isReady && !waiting && len(list) > 0 {
		s.isReady = true
		close(s.ready)
	}
}

// hasNowBegun tells that the stream has begun.
func (s *Stream) hasNowBegun() {
	if s.hasBegun {
		return
	}
	s.hasBegun = true
	s.early.stop()
	close(s.begun)
}

// bytes is what the stream holds in memory, as far as the metric counts it.
func (s *Stream) bytes() (n int) {
	for _, b := range s.all {
		n += b.keptBytes
	}
	return n
}

// newEpoch returns what makes the names of a broadcast's media its own: the time, and
// what another process at the same time would not choose.
func newEpoch() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails, says the package
	salt := uint32(b[0])<<16 | uint32(binary.BigEndian.Uint16(b[1:]))
	return strconv.FormatInt(time.Now().Unix(), 36) + strconv.FormatUint(uint64(salt), 36)
}
