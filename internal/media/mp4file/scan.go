package mp4file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"onair/internal/fault"
)

// Bounds on the headers in a segment.
const (
	// maxMoof is the size of a moof box in bytes.
	maxMoof = 2 << 20
	// maxBoxes is the number of boxes side by side in another one.
	maxBoxes = 64
	// maxTopBoxes is the number of boxes of a segment.
	maxTopBoxes = 4 * maxFragments
)

// Flags of tfhd and trun (ISO/IEC 14496-12, sections 8.8.7 and 8.8.8).
const (
	tfhdBaseOffset      = 0x000001
	tfhdDescription     = 0x000002
	tfhdDefaultDuration = 0x000008
	tfhdDefaultSize     = 0x000010
	tfhdDefaultFlags    = 0x000020

	trunDataOffset = 0x000001
	trunFirstFlags = 0x000004
	trunDuration   = 0x000100
	trunSize       = 0x000200
	trunFlags      = 0x000400
	trunCTS        = 0x000800

	nonSync = 0x00010000
)

// Scan makes the sample table of one CMAF segment of one track: one or more moof and mdat
// boxes, and others between them, which are passed over. The chunks are the segment's
// bytes, one behind the other; boxes may lie across them. Payload is not looked at.
//
// The samples of a fragment must lie one behind the other in the mdat that follows. Where
// a fragment begins later than the one before it ends, the last sample lasts until then.
//
// Whatever the bytes are, it ends with a table or a fault.Invalid, in time and memory that
// go with the segment's size.
func Scan(chunks [][]byte) (Table, error) {
	s := scanner{chunks: chunks}
	for _, c := range chunks {
		s.size += int64(len(c))
	}
	if err := s.scan(); err != nil {
		return nil, fault.Wrap(fault.Invalid, "index a segment", "", err, "")
	}
	return s.w.table(), nil
}

type scanner struct {
	chunks [][]byte
	start  int64 // of chunks[0] in the segment
	size   int64 // of the segment
	w      tableWriter

	// What the last moof announced, until its mdat came.
	announced bool
	from      int64 // of the first sample in the segment
	bytes     int64
	held      sample // not written yet: it may last longer
	holds     bool
	next      int64 // decode time behind the last sample, in ticks
	hasNext   bool
	perMoof   []sample
}

// at returns n bytes of the segment at pos, which does not go back; nil if there are fewer.
func (s *scanner) at(pos int64, n int) []byte {
	for len(s.chunks) > 0 && pos >= s.start+int64(len(s.chunks[0])) {
		s.start += int64(len(s.chunks[0]))
		s.chunks = s.chunks[1:]
	}
	if int64(n) > s.size-pos {
		return nil
	}
	off := pos - s.start
	if off+int64(n) <= int64(len(s.chunks[0])) {
		return s.chunks[0][off : off+int64(n)]
	}
	b := make([]byte, 0, n)
	for _, c := range s.chunks {
		c = c[min(off, int64(len(c))):]
		b = append(b, c[:min(len(c), n-len(b))]...)
		off = 0
	}
	return b
}

func (s *scanner) scan() error {
	if s.size > maxSegmentBytes {
		return fmt.Errorf("%d bytes are more than a segment has", s.size)
	}
	pos, boxes := int64(0), 0
	for pos < s.size {
		if boxes++; boxes > maxTopBoxes {
			return fmt.Errorf("more than %d boxes", maxTopBoxes)
		}
		head := s.at(pos, 8)
		if head == nil {
			return errBox
		}
		size, length := int64(binary.BigEndian.Uint32(head)), int64(8)
		kind := string(head[4:8])
		switch size {
		case 0:
			size = s.size - pos
		case 1:
			large := s.at(pos, 16)
			if large == nil {
				return errBox
			}
			size, length = int64(min(binary.BigEndian.Uint64(large[8:]), math.MaxInt64)), 16
		}
		if size < length || size > s.size-pos {
			return errBox
		}
		var err error
		switch kind {
		case "moof":
			if size > maxMoof {
				return fmt.Errorf("a moof box of %d bytes is over %d", size, maxMoof)
			}
			err = s.moof(s.at(pos, int(size))[length:], pos)
		case "mdat":
			err = s.mdat(extent{from: pos + length, size: size - length})
		}
		if err != nil {
			return err
		}
		pos += size
	}
	if s.announced {
		return errors.New("a fragment has no mdat box")
	}
	if s.w.fragments == 0 {
		return errors.New("it holds no fragment")
	}
	s.release()
	return nil
}

// release writes the sample that was held back.
func (s *scanner) release() {
	if s.holds {
		s.w.add(s.held)
		s.holds = false
	}
}

// moof reads the samples of a fragment whose moof begins at pos.
func (s *scanner) moof(body []byte, pos int64) error {
	if s.announced {
		return errors.New("a fragment has no mdat box")
	}
	if s.w.fragments >= maxFragments {
		return fmt.Errorf("more than %d fragments", maxFragments)
	}
	boxes, err := children(body)
	if err != nil {
		return err
	}
	var traf []byte
	trafs := 0
	for _, c := range boxes {
		if c.kind == "traf" {
			traf = c.body
			trafs++
		}
	}
	if trafs != 1 {
		return fmt.Errorf("a fragment of %d tracks", trafs)
	}
	s.from, s.bytes, s.perMoof = -1, 0, s.perMoof[:0]
	if err := s.traf(traf, pos); err != nil {
		return err
	}
	for _, v := range s.perMoof {
		s.release()
		s.held, s.holds = v, true
	}
	s.announced = true
	return nil
}

func (s *scanner) traf(traf []byte, pos int64) error {
	boxes, err := children(traf)
	if err != nil {
		return err
	}
	tfhd := cursor{b: find(traf, "tfhd").body}
	flags := tfhd.u32()
	tfhd.u32()
	if flags&tfhdBaseOffset != 0 {
		return errors.New("a fragment counts positions from the start of a file")
	}
	if flags&tfhdDescription != 0 {
		tfhd.u32()
	}
	defaults := sample{sync: true}
	if flags&tfhdDefaultDuration != 0 {
		defaults.duration = tfhd.u32()
	}
	if flags&tfhdDefaultSize != 0 {
		defaults.size = tfhd.u32()
	}
	if flags&tfhdDefaultFlags != 0 {
		defaults.sync = tfhd.u32()&nonSync == 0
	}
	tfdt := cursor{b: find(traf, "tfdt").body}
	var base uint64
	if tfdt.u32()>>24 == 1 {
		base = tfdt.u64()
	} else {
		base = uint64(tfdt.u32())
	}
	if tfhd.bad || tfdt.bad || base > maxTime {
		return errors.New("tfhd or tfdt is missing, cut short or out of range")
	}
	if err := s.begin(int64(base)); err != nil {
		return err
	}
	for _, c := range boxes {
		if c.kind == "trun" {
			if err := s.trun(c.body, pos, defaults, flags); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin takes the decode time of a fragment.
func (s *scanner) begin(base int64) error {
	if s.holds && s.hasNext && base != s.next {
		if base < s.next || base-s.next > math.MaxUint32-int64(s.held.duration) {
			return fmt.Errorf("a fragment begins at %d ticks, and the one before it ends at %d", base, s.next)
		}
		s.held.duration += uint32(base - s.next)
	}
	s.next, s.hasNext = base, true
	return nil
}

func (s *scanner) trun(trun []byte, moof int64, defaults sample, tfhd uint32) error {
	c := cursor{b: trun}
	flags, n := c.u32(), c.u32()
	at := moof
	if s.from >= 0 {
		at = s.from + s.bytes
	}
	if flags&trunDataOffset != 0 {
		at = moof + int64(int32(c.u32()))
	}
	if s.from < 0 {
		s.from = at
	}
	if at != s.from+s.bytes {
		return errors.New("the samples of a fragment do not lie one behind the other")
	}
	if flags&trunDuration == 0 && tfhd&tfhdDefaultDuration == 0 || flags&trunSize == 0 && tfhd&tfhdDefaultSize == 0 {
		return errors.New("a sample has no duration or no size")
	}
	first := uint32(0)
	if flags&trunFirstFlags != 0 {
		first = c.u32()
	}
	// A run without columns says any count in a few bytes; what
	// it takes is bounded by the samples of a segment.
	if int64(n)+int64(s.w.samples)+int64(len(s.perMoof)) >= maxSegmentSamples {
		return fmt.Errorf("more than %d samples", maxSegmentSamples)
	}
	for i := range n {
		v := defaults
		if flags&trunDuration != 0 {
			v.duration = c.u32()
		}
		if flags&trunSize != 0 {
			v.size = c.u32()
		}
		if i == 0 && flags&trunFirstFlags != 0 {
			v.sync = first&nonSync == 0
		}
		if flags&trunFlags != 0 {
			v.sync = c.u32()&nonSync == 0
		}
		if flags&trunCTS != 0 {
			v.cts = int32(c.u32())
		}
		if c.bad {
			return errors.New("trun is cut short")
		}
		if v.size == 0 {
			return errors.New("a sample is empty")
		}
		if s.bytes += int64(v.size); s.from+s.bytes > s.size {
			return errors.New("a sample lies outside the segment")
		}
		s.next += int64(v.duration)
		s.perMoof = append(s.perMoof, v)
	}
	return nil
}

// mdat checks that the samples that were announced lie in the box that came.
func (s *scanner) mdat(e extent) error {
	if !s.announced {
		if e.size == 0 {
			return nil
		}
		return errors.New("an mdat box belongs to no fragment")
	}
	s.announced = false
	if s.bytes == 0 {
		return nil
	}
	if s.from < e.from || s.from+s.bytes > e.from+e.size {
		return errors.New("a sample lies outside the mdat box that follows")
	}
	s.w.addExtent(extent{from: s.from, size: s.bytes})
	return nil
}
