package pack

import (
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"onair/internal/media"
)

// Blob is a resource that is complete and never changes: a part, a segment or an
// initialization section.
type Blob struct {
	// Chunks are its bytes, in order. Segments share them with their parts.
	Chunks [][]byte
	Size   int64
	// Length holds Size in decimal: the value of a Content-Length header, made once.
	Length []string
}

func newBlob(chunks ...[]byte) *Blob {
	b := &Blob{Chunks: chunks}
	for _, c := range chunks {
		b.Size += int64(len(c))
	}
	b.Length = []string{strconv.FormatInt(b.Size, 10)}
	return b
}

// Init is an initialization section (CMAF header).
type Init struct {
	Name  string
	Track *media.Track
	Blob  *Blob
	n     int64
}

// Part is a partial segment.
type Part struct {
	Name     string
	Duration time.Duration
	// Independent is set if decoding can start at its first sample.
	Independent bool
	Blob        *Blob
}

// Segment is a media segment. In Snapshot.Open it is the one in progress: its Name is
// that of the complete segment to come, its Duration what there is so far, its Blob nil.
type Segment struct {
	Sequence int64
	Name     string
	Init     *Init
	// Start is the wall clock of the first sample's presentation.
	Start    time.Time
	Duration time.Duration
	Parts    []Part
	Blob     *Blob
	// Discontinuity is set if the segment does not continue the one before it.
	Discontinuity bool
	// Independent is set if decoding can start at its first sample.
	Independent bool
	// Gap is set if there is no media for the time of the segment: Blob is nil.
	Gap bool
	// BaseTime is the decoding time of the first sample, as the media has it (tfdt), Ticks
	// the duration, and Offset what the first sample is presented after it is decoded; all
	// in ticks of Init.Track.Timescale. BaseTime + Offset is what Start is on the wall clock.
	BaseTime, Ticks, Offset int64
	// KeySize is how many bytes of the segment hold its first frame, from the first one:
	// the header of the fragment and the sample. 0 where it does not begin with a key
	// frame, and for sound.
	KeySize int64

	firstPart int64         // id of Parts[0]
	end       time.Duration // on the output timeline
	discs     int           // discontinuities up to and with this segment
	keepUntil time.Duration // end of the rendition up to which it stays after it left the window
}

// Snapshot is the state of a rendition after one of its parts or segments was added. It
// never changes.
type Snapshot struct {
	// Track describes the newest media.
	Track *media.Track
	// Segments are the complete segments in the playlist, oldest first.
	Segments []*Segment
	// Open is the segment in progress, and nil if it has no part yet.
	Open *Segment
	// Unlisted is the segment in progress where parts are no resources of their own: nobody
	// can ask for it, but it must not be lost.
	Unlisted *Segment
	// DiscontinuitySequence is that of the first segment (RFC 8216bis, section 4.4.3.3).
	DiscontinuitySequence int
	// Hint is the name of the part to come; empty if that cannot be known, if there are
	// no parts, and when the stream ended.
	Hint  string
	Ended bool
	// Independent is set if every segment begins with a key frame.
	Independent bool
	// Peak and Average are the bit rates of the rendition so far, in bits a second. Peak
	// is over spans of 0.5 to 1.5 target durations (RFC 8216bis, section 4.4.6.2).
	Peak, Average int64
	// FrameRate is in frames a second: what the track declares, else what was measured.
	// 0 for audio.
	FrameRate float64

	kept     []*Segment // Segments and those before them that can still be downloaded
	number   uint64     // counts the snapshots of the rendition
	nextPart int64
	listed   bool // parts are resources of their own
	next     chan struct{}
	once     sync.Once
	view     any
}

// Next is closed when a newer snapshot of the rendition exists. It is never closed after
// one that is Ended.
func (s *Snapshot) Next() <-chan struct{} { return s.next }

// View returns what render made of the snapshot, once for all callers. There is one
// view; it belongs to package hls.
func (s *Snapshot) View(render func(*Snapshot) any) any {
	s.once.Do(func() { s.view = render(s) })
	return s.view
}

// Segment returns the segment of a media sequence number: one of Segments, one before them
// that can still be downloaded, or Open. It is nil if there is no such segment, or no longer.
func (s *Snapshot) Segment(sequence int64) *Segment {
	if s.Open != nil && s.Open.Sequence == sequence {
		return s.Open
	}
	if len(s.kept) == 0 {
		return nil
	}
	if i := sequence - s.kept[0].Sequence; i >= 0 && i < int64(len(s.kept)) {
		return s.kept[i]
	}
	return nil
}

// Flows tells whether there is media at the end: nothing, if the newest segment is a gap.
func (s *Snapshot) Flows() bool {
	n := len(s.Segments)
	return s.Open != nil || n > 0 && !s.Segments[n-1].Gap
}

// LastSequence is the media sequence number of the newest complete segment, or that
// of the first one to come, minus one.
func (s *Snapshot) LastSequence() int64 {
	if n := len(s.Segments); n > 0 {
		return s.Segments[n-1].Sequence
	}
	if s.Open != nil {
		return s.Open.Sequence - 1
	}
	return -1
}

// Position is the newest media listed: a segment and the index of its last part. part
// is -1 where there are no parts.
func (s *Snapshot) Position() (sequence int64, part int) {
	if s.Open != nil {
		return s.Open.Sequence, len(s.Open.Parts) - 1
	}
	if n := len(s.Segments); n > 0 {
		if !s.listed {
			return s.Segments[n-1].Sequence, -1
		}
		return s.Segments[n-1].Sequence, len(s.Segments[n-1].Parts) - 1
	}
	return -1, -1
}

// Has reports whether the playlist has come to a segment, or to a part of it (part < 0:
// the complete segment). A part after a segment's last one is the first of the next.
func (s *Snapshot) Has(sequence int64, part int) bool {
	last := s.LastSequence()
	switch {
	case s.Ended || sequence < last:
		return true
	case sequence == last:
		if n := len(s.Segments); part >= 0 && s.listed && n > 0 && part >= len(s.Segments[n-1].Parts) {
			return s.Open != nil && len(s.Open.Parts) > 0
		}
		return true
	default:
		return part >= 0 && s.Open != nil && s.Open.Sequence == sequence && part < len(s.Open.Parts)
	}
}

// JoinAt returns the newest segment that decoding can start with and that does not begin
// after a time; nil if every segment is such a one, or none.
func (s *Snapshot) JoinAt(before time.Time) *Segment {
	if s.Independent {
		return nil
	}
	for i := len(s.Segments) - 1; i >= 0; i-- {
		if seg := s.Segments[i]; seg.Independent && !seg.Start.After(before) {
			return seg
		}
	}
	return nil
}

// Status tells what is known of a name.
type Status uint8

// The states of a resource.
const (
	// Absent: there is no such resource, or no longer, or it will never be.
	Absent Status = iota
	// Coming: it is the part that the playlist hints at.
	Coming
	// Found: it is complete.
	Found
)

// Find looks up a part, a complete segment or an initialization section by its name.
func (s *Snapshot) Find(name string) (*Blob, Status) {
	kind, id, ok := parseName(name)
	if !ok {
		return nil, Absent
	}
	switch kind {
	case 'p':
		return s.part(id, name)
	case 's':
		if len(s.kept) == 0 {
			return nil, Absent
		}
		if i := id - s.kept[0].Sequence; i >= 0 && i < int64(len(s.kept)) && s.kept[i].Blob != nil && s.kept[i].Name == name {
			return s.kept[i].Blob, Found
		}
	case 'i':
		if s.Open != nil && s.Open.Init.Name == name {
			return s.Open.Init.Blob, Found
		}
		for i := len(s.kept) - 1; i >= 0; i-- {
			if init := s.kept[i].Init; init != nil && init.Name == name {
				return init.Blob, Found
			}
		}
	}
	return nil, Absent
}

func (s *Snapshot) part(id int64, name string) (*Blob, Status) {
	if !s.listed || id > s.nextPart {
		return nil, Absent
	}
	if id == s.nextPart {
		if name == s.Hint {
			return nil, Coming
		}
		return nil, Absent
	}
	seg := s.Open
	if seg == nil || id < seg.firstPart {
		i := sort.Search(len(s.kept), func(i int) bool { return s.kept[i].firstPart > id }) - 1
		if i < 0 {
			return nil, Absent
		}
		seg = s.kept[i]
	}
	if i := id - seg.firstPart; i >= 0 && i < int64(len(seg.Parts)) && seg.Parts[i].Name == name {
		return seg.Parts[i].Blob, Found
	}
	return nil, Absent
}

// Names are a letter, what stands for the run of the server that made them, and a number:
// they never repeat, and the numbers go on where a restarted server takes a stream up again.
func partName(epoch string, id int64) string    { return "p" + epoch + "." + itoa(id) + ".m4s" }
func segmentName(epoch string, id int64) string { return "s" + epoch + "." + itoa(id) + ".m4s" }
func initName(epoch string, id int64) string    { return "i" + epoch + "." + itoa(id) + ".mp4" }

func itoa(v int64) string { return strconv.FormatInt(v, 10) }

// parseName takes a name apart. It allocates nothing, and knows exactly the names that
// the functions above make; whether the middle is right is seen by comparing.
func parseName(name string) (kind byte, id int64, ok bool) {
	dot := strings.IndexByte(name, '.')
	if dot < 2 || len(name) < dot+6 {
		return 0, 0, false
	}
	kind = name[0]
	digits, ext := name[dot+1:len(name)-4], name[len(name)-4:]
	switch {
	case len(digits) > 18:
		return 0, 0, false
	case kind == 'i' && ext == ".mp4", (kind == 'p' || kind == 's') && ext == ".m4s":
	default:
		return 0, 0, false
	}
	if digits[0] == '0' && len(digits) > 1 {
		return 0, 0, false
	}
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return 0, 0, false
		}
		id = id*10 + int64(c-'0')
	}
	return kind, id, true
}

// Rendition is one track of a stream as viewers get it.
type Rendition struct {
	name       string
	kind       media.Kind
	derived    bool
	partTarget time.Duration
	mu         sync.Mutex // of those who publish
	cur        atomic.Pointer[Snapshot]
}

// Name returns the rendition's name: v0, v1… for video, a0, a1… for audio, and what its feed
// is called for one that is Derived.
func (r *Rendition) Name() string { return r.name }

// Derived tells whether it is made of the stream's own media, rather than sent by its
// publisher. Such a rendition may stop and go on at any time: its playlist then has gaps.
func (r *Rendition) Derived() bool { return r.derived }

// Kind tells whether it is video or audio.
func (r *Rendition) Kind() media.Kind { return r.kind }

// PartTarget is the longest duration of a part, rounded up to 10 µs; 0 without parts. It
// does not change.
func (r *Rendition) PartTarget() time.Duration { return r.partTarget }

// Snapshot returns the newest state.
func (r *Rendition) Snapshot() *Snapshot { return r.cur.Load() }

// publish makes s the newest state, unless a newer one is already.
func (r *Rendition) publish(s *Snapshot) {
	s.next = make(chan struct{})
	r.mu.Lock()
	old := r.cur.Load()
	if old != nil && old.number >= s.number {
		r.mu.Unlock()
		return
	}
	r.cur.Store(s)
	r.mu.Unlock()
	if old != nil {
		close(old.next)
	}
}
