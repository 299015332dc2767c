package mp4file

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
)

// trak is what the header says of one track. Times are in ticks of its timescale.
type trak struct {
	index     int // in what New was given
	track     *media.Track
	name      string
	init      []byte // the moov of its initialization section
	timescale int64

	entries []entry
	chunks  []trackChunk
	samples int

	// The tables of the samples, as they stand in the boxes: entries without the counts.
	durations, offsets, sizes, syncs []byte
	durationRun, offsetRun           uint32 // how often what was added last came in a row
	duration                         uint32
	offset                           int32
	allSync                          bool

	first     int64 // decode time of the first sample
	lastAt    int64 // and of the last
	presented int64 // presentation time of what is presented first
	lastEnd   int64 // where presentation ends
	end       int64 // of decoding, as the table of the last segment says
	least     int32 // the least composition offset
}

// trackChunk is a segment of the track.
type trackChunk struct {
	segment int
	samples uint32
	entry   int   // its sample entry
	start   int64 // its decode time
	size    int64 // of its payload, as it is in the file
	at      int64 // in the file's payload
}

// maxOverlap is how much later than its segment says a sample may be decoded, because the
// segment before it lasted too long.
const maxOverlap = time.Second

func newTrak(in *Track, index, room int) (*trak, error) {
	t := &trak{index: index, track: in.Track, name: in.Name, timescale: int64(in.Track.Timescale), allSync: true}
	of, err := t.describe(in)
	if err != nil {
		return nil, err
	}
	t.init = find(t.entries[0].init, "moov").body
	size := 0
	for i := range in.Segments {
		size += len(in.Segments[i].Table)
	}
	t.sizes = make([]byte, 0, min(2*size, 4*room))
	for i := range in.Segments {
		seg := &in.Segments[i]
		if len(seg.Table) == 0 {
			continue
		}
		if err := t.segment(seg, i, of[cmp.Or(seg.Track, in.Track)], room); err != nil {
			return nil, err
		}
	}
	t.finish()
	return t, nil
}

func (t *trak) invalid(segment int, cause, hint string) error {
	return fault.New(fault.Invalid, "make an MP4 file", fmt.Sprintf("of track %q, segment %d", t.name, segment), cause, hint)
}

// segment adds the samples of a segment.
func (t *trak) segment(seg *Segment, index, entry, room int) error {
	if seg.BaseTime < -maxTime || seg.BaseTime > maxTime {
		return t.invalid(index, "its decode time is out of range", "")
	}
	r, err := seg.Table.read(seg.Size)
	if err != nil {
		return t.invalid(index, err.Error(), "")
	}
	if r.left > room-t.samples {
		return fault.New(fault.TooLarge, "make an MP4 file", "", fmt.Sprintf("more than %d samples", maxSamples), "Download a part of it.")
	}
	if r.left == 0 {
		return nil
	}
	if t.samples == 0 {
		// Nothing came before the first sample.
		t.first, t.end, t.presented = seg.BaseTime, seg.BaseTime, math.MaxInt64
		t.least, t.lastEnd = math.MaxInt32, math.MinInt64
	}
	t.chunks = append(t.chunks, trackChunk{segment: index, samples: uint32(r.left), entry: entry, start: seg.BaseTime, size: r.payload})
	late := media.Rescale(int64(maxOverlap), int64(time.Second), t.timescale)
	at := seg.BaseTime // when the sample is decoded, as its segment says
	for {
		s, ok := r.next()
		if !ok {
			break
		}
		before := s.size
		if s, ok = t.entries[entry].prefixed(s); !ok {
			return t.invalid(index, "a sample is too large", "")
		}
		t.chunks[len(t.chunks)-1].size += int64(s.size - before)
		if !t.add(s, at, late) {
			return t.invalid(index, fmt.Sprintf("it begins %v after the start of the file, too far from where the segment before it ends, which is after %v",
				t.track.Duration(seg.BaseTime-t.first), t.track.Duration(t.end-t.first)), "")
		}
		at += int64(s.duration)
	}
	if r.err != nil {
		return t.invalid(index, r.err.Error(), "")
	}
	return nil
}

// add appends a sample that is decoded at that time, or, if that is past, as soon as can
// be, and presented when it should. It reports false if it is too late, or too far off.
// Durations are one sample behind, for only the next one tells how long a sample lasts.
func (t *trak) add(s sample, at, late int64) bool {
	actual := at
	if t.samples > 0 {
		if actual = max(at, t.lastAt+1); actual-at > late || actual-t.lastAt > math.MaxUint32 {
			return false
		}
		t.addDuration(uint32(actual - t.lastAt))
	}
	t.lastAt = actual
	t.end = at + int64(s.duration)
	cts := at + int64(s.cts) - actual
	if cts < math.MinInt32/2 || cts > math.MaxInt32/2 {
		return false
	}
	t.addOffset(int32(cts))
	t.least = min(t.least, int32(cts))
	t.presented = min(t.presented, actual+cts)
	t.lastEnd = max(t.lastEnd, actual+cts+int64(s.duration))
	t.sizes = binary.BigEndian.AppendUint32(t.sizes, s.size)
	t.samples++
	if s.sync {
		t.syncs = binary.BigEndian.AppendUint32(t.syncs, uint32(t.samples))
	} else {
		t.allSync = false
	}
	return true
}

// Entries of stts and ctts are added when the value changes: durationRun and offsetRun
// samples had the present one.
func (t *trak) addDuration(d uint32) {
	if t.durationRun > 0 && d != t.duration {
		t.durations = appendRun(t.durations, t.durationRun, t.duration)
		t.durationRun = 0
	}
	t.duration = d
	t.durationRun++
}

func (t *trak) addOffset(v int32) {
	if t.offsetRun > 0 && v != t.offset {
		t.offsets = appendRun(t.offsets, t.offsetRun, uint32(t.offset))
		t.offsetRun = 0
	}
	t.offset = v
	t.offsetRun++
}

func appendRun(b []byte, n, v uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, n), v)
}

// finish ends the tables. Composition offsets are moved so that none is negative, which
// not every player reads; the edit list takes it back.
func (t *trak) finish() {
	if t.samples == 0 {
		return
	}
	t.end = min(max(t.end, t.lastAt), t.lastAt+math.MaxUint32)
	t.addDuration(uint32(t.end - t.lastAt))
	t.durations = appendRun(t.durations, t.durationRun, t.duration)
	t.offsets = appendRun(t.offsets, t.offsetRun, uint32(t.offset))
	if len(t.offsets) == 8 && t.offset == 0 {
		t.offsets = nil
	}
	if shift := t.shift(); shift != 0 {
		for b := t.offsets; len(b) > 0; b = b[8:] {
			binary.BigEndian.PutUint32(b[4:], uint32(int64(int32(binary.BigEndian.Uint32(b[4:])))+shift))
		}
	}
	if t.allSync {
		t.syncs = nil
	}
}

// shift is what was added to all composition offsets.
func (t *trak) shift() int64 { return max(0, -int64(t.least)) }

// mediaTime is where in the track's own time, which begins with the first sample's
// decoding, presentation begins.
func (t *trak) mediaTime() int64 { return t.presented - t.first + t.shift() }
