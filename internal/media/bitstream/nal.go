package bitstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
)

var (
	errShortLength = errors.New("a NAL unit's length is cut short")
	errLongNAL     = errors.New("a NAL unit is longer than its access unit")
)

// NALUs walks the NAL units of an access unit, each behind a 4-byte length. The units
// are parts of accessUnit, not copies; one may be empty. A length that does not fit
// ends the walk with an error.
func NALUs(accessUnit []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for rest := accessUnit; len(rest) > 0; {
			if len(rest) < 4 {
				yield(nil, errShortLength)
				return
			}
			n := binary.BigEndian.Uint32(rest)
			if uint64(n) > uint64(len(rest)-4) {
				yield(nil, errLongNAL)
				return
			}
			if !yield(rest[4:4+n], nil) {
				return
			}
			rest = rest[4+n:]
		}
	}
}

// SplitAnnexB walks the NAL units of a byte stream (ITU-T H.264 and H.265, annex B),
// without their start codes and trailing zero bytes. The units are parts of b.
// What stands before the first start code is left out.
func SplitAnnexB(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		start := nextStartCode(b, 0)
		for start < len(b) {
			begin := start + 3
			next := nextStartCode(b, begin)
			nal := bytes.TrimRight(b[begin:next], "\x00")
			if len(nal) > 0 && !yield(nal) {
				return
			}
			start = next
		}
	}
}

// nextStartCode returns where 00 00 01 begins at or after i, or the end of b.
func nextStartCode(b []byte, i int) int {
	if n := bytes.Index(b[i:], []byte{0, 0, 1}); n >= 0 {
		return i + n
	}
	return len(b)
}

// FromAnnexB turns an access unit of a byte stream into NAL units behind 4-byte
// lengths; nil if there is no start code.
func FromAnnexB(b []byte) []byte {
	var out []byte
	for nal := range SplitAnnexB(b) {
		if out == nil {
			out = make([]byte, 0, len(b)+8)
		}
		out = binary.BigEndian.AppendUint32(out, uint32(len(nal)))
		out = append(out, nal...)
	}
	return out
}
