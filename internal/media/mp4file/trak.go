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
	in        *Track
	track     *media.Track
	name      string
	init      []byte // the moov of its initialization section
	timescale int64

	entries []entry
	of      map[*media.Track]int // which entry is a track's
	chunks  []trackChunk
	samples int

	// What there will be of it: samples, about how many entries of durations and offsets, and
	// chunks.
	room, durationRuns, offsetRuns, segments int

	// The tables of the samples, as they stand in the boxes: entries without the counts.
	durations, offsets runs
	sizes, syncs       []byte
	allSync            bool

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

// newTrak describes a track and counts its samples.
func newTrak(in *Track, index int) (*trak, error) {
	t := &trak{index: index, in: in, track: in.Track, name: in.Name, timescale: int64(in.Track.Timescale), allSync: true}
	if err := t.describe(in); err != nil {
		return nil, err
	}
	t.init = find(t.entries[0].init, "moov").body
	for i := range in.Segments {
		seg := &in.Segments[i]
		if len(seg.Table) == 0 {
			continue
		}
		r, err := seg.Table.read(seg.Size)
		if err != nil {
			return nil, t.invalid(i, err.Error(), "")
		}
		if r.left == 0 {
			continue
		}
		if t.room += r.left; t.room > maxSamples {
			break // which is refused
		}
		durations, offsets := r.runs()
		t.durationRuns += durations + 1 // the last sample lasts until the next segment
		t.offsetRuns += offsets
		t.segments++
	}
	return t, nil
}

// fill reads the samples, which newTrak counted.
func (t *trak) fill() error {
	t.chunks = make([]trackChunk, 0, t.segments)
	t.sizes = make([]byte, 0, 4*t.room)
	t.durations.b = make([]byte, 8*t.durationRuns)
	t.offsets.b = make([]byte, 8*t.offsetRuns)
	for i := range t.in.Segments {
		seg := &t.in.Segments[i]
		if len(seg.Table) == 0 {
			continue
		}
		if err := t.segment(seg, i); err != nil {
			return err
		}
	}
	t.finish()
	return nil
}

func (t *trak) invalid(segment int, cause, hint string) error {
	return fault.New(fault.Invalid, "make an MP4 file", fmt.Sprintf("of track %q, segment %d", t.name, segment), cause, hint)
}

// segment adds the samples of a segment.
func (t *trak) segment(seg *Segment, index int) error {
	if seg.BaseTime < -maxTime || seg.BaseTime > maxTime {
		return t.invalid(index, "its decode time is out of range", "")
	}
	r, err := seg.Table.read(seg.Size)
	if err != nil {
		return t.invalid(index, err.Error(), "")
	}
	if r.left == 0 {
		return nil
	}
	if t.samples == 0 {
		// Nothing came before the first sample.
		t.first, t.end, t.presented = seg.BaseTime, seg.BaseTime, math.MaxInt64
		t.least, t.lastEnd = math.MaxInt32, math.MinInt64
	}
	entry := t.of[cmp.Or(seg.Track, t.track)]
	chunk := trackChunk{segment: index, samples: uint32(r.left), entry: entry, start: seg.BaseTime, size: r.payload}
	prefix := uint32(len(t.entries[entry].prefix))
	late := media.Rescale(int64(maxOverlap), int64(time.Second), t.timescale)
	at := seg.BaseTime // when the sample is decoded, as its segment says
	for {
		s, n, ok := r.run()
		if !ok {
			break
		}
		more := uint32(0)
		if s.sync {
			more = prefix
		}
		if t.sizes = r.appendSizes(t.sizes, n, more); r.err != nil {
			break
		}
		chunk.size += int64(n) * int64(more)
		if !t.add(s, n, at, late) {
			return t.invalid(index, fmt.Sprintf("it begins %v after the start of the file, too far from where the segment before it ends, which is after %v",
				t.track.Duration(seg.BaseTime-t.first), t.track.Duration(t.end-t.first)), "")
		}
		at += int64(n) * int64(s.duration)
	}
	if r.err != nil {
		return t.invalid(index, r.err.Error(), "")
	}
	t.chunks = append(t.chunks, chunk)
	return nil
}

// add appends n samples that differ in their sizes only, the first of which is decoded at that
// time, or, if that is past, as soon as can be, and presented when it should. It reports false
// if one is too late, or too far off. Durations are one sample behind, for only the next one
// tells how long a sample lasts.
func (t *trak) add(s sample, n int, at, late int64) bool {
	duration := int64(s.duration)
	for n > 0 {
		actual, now := at, n // how many of them are at once
		if t.samples > 0 {
			actual = max(at, t.lastAt+1)
		}
		if actual > at || duration == 0 {
			now = 1 // each is late in its own way
		}
		if actual-at > late {
			return false
		}
		if t.samples > 0 {
			if actual-t.lastAt > math.MaxUint32 {
				return false
			}
			t.durations.add(uint32(actual-t.lastAt), 1)
		}
		cts := at + int64(s.cts) - actual
		if cts < math.MinInt32/2 || cts > math.MaxInt32/2 {
			return false
		}
		behind := int64(now-1) * duration // the last of them
		if now > 1 {
			t.durations.add(s.duration, uint32(now-1))
		}
		t.offsets.add(uint32(int32(cts)), uint32(now))
		t.lastAt = actual + behind
		t.end = at + behind + duration
		t.least = min(t.least, int32(cts))
		t.presented = min(t.presented, actual+cts)
		t.lastEnd = max(t.lastEnd, t.lastAt+cts+duration)
		t.addSyncs(s.sync, now)
		t.samples += now
		at += behind + duration
		n -= now
	}
	return true
}

// addSyncs notes whether the next n samples are such. While all are, there is nothing to list.
func (t *trak) addSyncs(sync bool, n int) {
	if t.allSync && !sync {
		t.allSync = false
		t.listSyncs(1, t.samples)
	}
	if !t.allSync && sync {
		t.listSyncs(t.samples+1, n)
	}
}

func (t *trak) listSyncs(first, n int) {
	for i := range n {
		t.syncs = binary.BigEndian.AppendUint32(t.syncs, uint32(first+i))
	}
}

// runs are the entries of stts or ctts: how often a value comes in a row, and the value. One
// is written when the value changes.
type runs struct {
	b            []byte
	at           int // where in b the next one is written
	value, count uint32
}

func (r *runs) add(value, n uint32) {
	if value != r.value && r.count > 0 {
		r.end()
	}
	r.value = value
	r.count += n
}

func (r *runs) end() {
	if r.at == len(r.b) {
		r.b = append(r.b, make([]byte, 8+len(r.b)/8)...)
		r.b = r.b[:len(r.b)/8*8]
	}
	binary.BigEndian.PutUint64(r.b[r.at:], uint64(r.count)<<32|uint64(r.value))
	r.at += 8
	r.count = 0
}

// finish returns all entries.
func (r *runs) finish() []byte {
	r.end()
	r.b = r.b[:r.at:r.at]
	return r.b
}

// finish ends the tables. Composition offsets are moved so that none is negative, which
// not every player reads; the edit list takes it back.
func (t *trak) finish() {
	if t.samples == 0 {
		return
	}
	t.end = min(max(t.end, t.lastAt), t.lastAt+math.MaxUint32)
	t.durations.add(uint32(t.end-t.lastAt), 1)
	t.durations.finish()
	if b := t.offsets.finish(); len(b) == 8 && t.offsets.value == 0 {
		t.offsets.b = nil
	}
	if shift := t.shift(); shift != 0 {
		for b := t.offsets.b; len(b) > 0; b = b[8:] {
			binary.BigEndian.PutUint32(b[4:], uint32(int64(int32(binary.BigEndian.Uint32(b[4:])))+shift))
		}
	}
}

// shift is what was added to all composition offsets.
func (t *trak) shift() int64 { return max(0, -int64(t.least)) }

// mediaTime is where in the track's own time, which begins with the first sample's
// decoding, presentation begins.
func (t *trak) mediaTime() int64 { return t.presented - t.first + t.shift() }
