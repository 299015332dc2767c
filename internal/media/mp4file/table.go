package mp4file

import (
	"encoding/binary"
	"errors"
	"math"
)

// Table is the compact index of the samples of one segment, as Scan makes it: two to four
// bytes for a sample of variable size. It can be stored and compared. What reads it trusts
// nothing in it.
//
// Its form: the version; the number of fragments, and for each how many bytes lie between
// the end of the payload before it (or the segment's start) and its own, and the
// payload's size; the number of samples; the sizes in bytes of three lists; the list of
// durations (how often, duration), of sync samples (how many are, how many are not, and so
// on) and of composition offsets (how often, offset; empty if all are 0); the size of each
// sample. Numbers are varints of encoding/binary; offsets are signed ones.
type Table []byte

const tableVersion = 1

// Bounds on what one segment may hold.
const (
	// maxFragments is the number of fragments of a segment.
	maxFragments = 1 << 14
	// maxSegmentSamples is the number of samples of a segment.
	maxSegmentSamples = 1 << 20
	// maxSegmentBytes is the size of a segment.
	maxSegmentBytes = 1 << 40
)

var (
	errTable = errors.New("the sample table is damaged")
	errLarge = errors.New("a sample is too large")
)

// extent is where the payload of a fragment lies in its segment.
type extent struct{ from, size int64 }

// sample is one sample, as a table tells it.
type sample struct {
	size, duration uint32
	cts            int32
	sync           bool
}

// tableWriter collects the samples of a segment.
type tableWriter struct {
	fragments int
	extents   []byte
	end       int64 // of the last payload
	samples   int

	durations, syncs, offsets, sizes []byte

	duration    uint32
	durationRun uint64 // how often duration came in a row
	sync        bool
	syncRun     uint64
	offset      int32
	offsetRun   uint64
	reordered   bool
}

func (w *tableWriter) addExtent(e extent) {
	w.extents = binary.AppendUvarint(w.extents, uint64(e.from-w.end))
	w.extents = binary.AppendUvarint(w.extents, uint64(e.size))
	w.end = e.from + e.size
	w.fragments++
}

func (w *tableWriter) add(s sample) {
	if w.samples == 0 {
		w.duration, w.offset, w.sync = s.duration, s.cts, true
	}
	if s.duration != w.duration {
		w.endDurations()
		w.duration = s.duration
	}
	if s.sync != w.sync {
		w.endSyncs()
		w.sync = s.sync
	}
	if s.cts != w.offset {
		w.endOffsets()
		w.offset = s.cts
	}
	w.durationRun++
	w.syncRun++
	w.offsetRun++
	w.reordered = w.reordered || s.cts != 0
	w.sizes = binary.AppendUvarint(w.sizes, uint64(s.size))
	w.samples++
}

func (w *tableWriter) endDurations() {
	w.durations = binary.AppendUvarint(binary.AppendUvarint(w.durations, w.durationRun), uint64(w.duration))
	w.durationRun = 0
}

func (w *tableWriter) endSyncs() {
	w.syncs = binary.AppendUvarint(w.syncs, w.syncRun)
	w.syncRun = 0
}

func (w *tableWriter) endOffsets() {
	w.offsets = binary.AppendVarint(binary.AppendUvarint(w.offsets, w.offsetRun), int64(w.offset))
	w.offsetRun = 0
}

func (w *tableWriter) table() Table {
	w.endDurations()
	w.endSyncs()
	w.endOffsets()
	if !w.reordered {
		w.offsets = nil
	}
	t := make([]byte, 0, 32+len(w.extents)+len(w.durations)+len(w.syncs)+len(w.offsets)+len(w.sizes))
	t = append(t, tableVersion)
	t = binary.AppendUvarint(t, uint64(w.fragments))
	t = append(t, w.extents...)
	for _, n := range []int{w.samples, len(w.durations), len(w.syncs), len(w.offsets)} {
		t = binary.AppendUvarint(t, uint64(n))
	}
	t = append(append(append(append(t, w.durations...), w.syncs...), w.offsets...), w.sizes...)
	return t
}

// outline gives visit where the payload lies in a segment of that size; rest is what follows.
func (t Table) outline(size int64, visit func(n int, e extent)) (rest cursor, err error) {
	c := cursor{b: t}
	if v := c.take(1); v == nil || v[0] != tableVersion {
		return c, errTable
	}
	n := c.uvarint()
	if n > maxFragments || size > maxSegmentBytes || uint64(c.rest()) < 2*n {
		return c, errTable
	}
	pos := int64(0)
	for range n {
		skip, length := c.uvarint(), c.uvarint()
		if c.bad || skip > uint64(size-pos) || length > uint64(size-pos)-skip {
			return c, errTable
		}
		pos += int64(skip)
		visit(int(n), extent{from: pos, size: int64(length)})
		pos += int64(length)
	}
	return c, nil
}

// extents are where the payload lies in a segment of that size.
func (t Table) extents(size int64) (list []extent, err error) {
	_, err = t.outline(size, func(n int, e extent) {
		if list == nil {
			list = make([]extent, 0, n)
		}
		list = append(list, e)
	})
	return list, err
}

// tableReader yields the samples of a table.
type tableReader struct {
	left    int   // samples to come
	payload int64 // bytes that they must have

	durations, syncs, offsets, sizes cursor
	duration, sync, offset           uint64 // how often the present value comes again
	s                                sample
	err                              error
}

// read checks the outline of a table and returns a reader of its samples.
func (t Table) read(size int64) (tableReader, error) {
	payload := int64(0)
	c, err := t.outline(size, func(_ int, e extent) { payload += e.size })
	if err != nil {
		return tableReader{}, err
	}
	r := tableReader{payload: payload}
	n, durations, syncs, offsets := c.uvarint(), c.uvarint(), c.uvarint(), c.uvarint()
	have := uint64(c.rest())
	if c.bad || n > maxSegmentSamples || durations > have || syncs > have || offsets > have {
		return tableReader{}, errTable
	}
	r.durations.b = c.take(int(durations))
	r.syncs.b = c.take(int(syncs))
	r.offsets.b = c.take(int(offsets))
	if c.bad || uint64(c.rest()) < n {
		return tableReader{}, errTable
	}
	if len(r.offsets.b) == 0 {
		r.offset = math.MaxUint64
	}
	r.sizes, r.left = c, int(n)
	return r, nil
}

// next returns the next sample; false at the end, or where err is set. The samples of a
// table that was read to its end without one fill the payload exactly.
func (r *tableReader) next() (sample, bool) {
	if !r.refill() {
		return sample{}, false
	}
	size := r.sizes.uvarint()
	r.bound(!r.sizes.bad && size <= math.MaxUint32 && int64(size) <= r.payload)
	if r.err != nil {
		return sample{}, false
	}
	r.pass(1)
	r.payload -= int64(size)
	r.s.size = uint32(size)
	return r.s, true
}

// refill reads what the next sample has besides its size; false as next.
func (r *tableReader) refill() bool {
	if r.left == 0 || r.err != nil {
		if r.err == nil && (r.payload != 0 || r.sizes.rest() != 0) {
			r.err = errTable
		}
		return false
	}
	if r.duration == 0 {
		r.duration = r.durations.uvarint()
		d := r.durations.uvarint()
		r.bound(!r.durations.bad && r.duration > 0 && d <= math.MaxUint32)
		r.s.duration = uint32(d)
	}
	for r.sync == 0 && r.err == nil {
		r.sync = r.syncs.uvarint()
		r.s.sync = !r.s.sync
		r.bound(!r.syncs.bad)
	}
	if r.offset == 0 {
		r.offset = r.offsets.uvarint()
		v := r.offsets.varint()
		r.bound(!r.offsets.bad && r.offset > 0 && v >= math.MinInt32 && v <= math.MaxInt32)
		r.s.cts = int32(v)
	}
	return r.err == nil
}

// pass counts n samples that have all but their size in common.
func (r *tableReader) pass(n int) {
	r.duration -= uint64(n)
	r.sync -= uint64(n)
	r.offset -= uint64(n)
	r.left -= n
}

func (r *tableReader) bound(ok bool) {
	if !ok {
		r.err = errTable
	}
}

// run returns what the next samples have in common, but for their sizes, and how many they
// are; false as next. They are read with appendSizes.
func (r *tableReader) run() (s sample, n int, ok bool) {
	if !r.refill() {
		return sample{}, 0, false
	}
	return r.s, int(min(r.duration, r.sync, r.offset, uint64(r.left))), true
}

// appendSizes reads the n samples of a run and appends their sizes to b, which has room for
// them, as they stand in the box stsz: each with some bytes more. It sets err where one is
// too large.
func (r *tableReader) appendSizes(b []byte, n int, more uint32) []byte {
	in, from, at := r.sizes.b, r.sizes.at, len(b)
	b = b[:at+4*n]
	for range n {
		var v uint64
		switch left := in[from:]; { // most have one to three bytes
		case len(left) > 0 && left[0] < 0x80:
			v = uint64(left[0])
			from++
		case len(left) > 1 && left[1] < 0x80:
			v = uint64(left[0])&0x7f | uint64(left[1])<<7
			from += 2
		case len(left) > 2 && left[2] < 0x80:
			v = uint64(left[0])&0x7f | (uint64(left[1])&0x7f)<<7 | uint64(left[2])<<14
			from += 3
		default:
			size, used := binary.Uvarint(left)
			if used <= 0 {
				r.err = errTable
				return b
			}
			v = size
			from += used
		}
		if v > math.MaxUint32 || int64(v) > r.payload {
			r.err = errTable
			return b
		}
		if v > uint64(math.MaxUint32-more) {
			r.err = errLarge
			return b
		}
		r.payload -= int64(v)
		binary.BigEndian.PutUint32(b[at:], uint32(v)+more)
		at += 4
	}
	r.sizes.at = from
	r.pass(n)
	return b
}

// runs is how many entries the lists of durations and of composition offsets have, at most.
func (r *tableReader) runs() (durations, offsets int) {
	entries := func(list []byte) (n int) {
		for _, c := range list {
			n += int(c>>7 ^ 1) // the last byte of a number
		}
		return min((n+1)/2, r.left)
	}
	return entries(r.durations.b), entries(r.offsets.b)
}
