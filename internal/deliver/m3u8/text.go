package m3u8

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// Block is a piece of a long playlist that is made once, kept compressed, and joined with
// others without being compressed again: a run of DEFLATE blocks (RFC 1951) that refers to
// nothing before it and ends on a byte boundary.
type Block struct {
	deflated []byte
	size     int
	sum      uint32 // CRC-32 of the text
}

// NewBlock compresses text. Playlists are so regular that the stateless level, which takes no
// memory and 0.1 ms for a block of 256 segments, loses little.
func NewBlock(text []byte) Block {
	var out bytes.Buffer
	_ = flate.StatelessDeflate(&out, text, false, nil) // into memory: cannot fail
	return Block{deflated: bytes.Clone(out.Bytes()), size: len(text), sum: crc32.ChecksumIEEE(text)}
}

// Cost is about how much memory a block takes, in bytes.
func (b Block) Cost() int64 {
	const overhead = 48
	return int64(len(b.deflated)) + overhead
}

// Text is the text of blocks in a row.
type Text struct {
	blocks []Block
	size   int // of the text
	sum    uint32
}

// Join makes one text of blocks, which it keeps.
func Join(blocks []Block) *Text {
	t := &Text{blocks: blocks}
	for _, b := range blocks {
		t.sum = joinSums(t.sum, b.sum, b.size)
		t.size += b.size
	}
	return t
}

// Size is how many bytes the text has.
func (t *Text) Size() int { return t.size }

// Plain appends the text to b.
func (t *Text) Plain(b []byte) []byte {
	var in bytes.Reader
	out := bytes.NewBuffer(b)
	r := flate.NewReader(&in)
	for _, block := range t.blocks {
		in.Reset(block.deflated)
		_ = r.(flate.Resetter).Reset(&in, nil) // never fails
		_, _ = io.CopyN(out, r, int64(block.size))
	}
	return out.Bytes()
}

// gzipHead is a header without a name or a time (RFC 1952, section 2.3).
const gzipHead = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

// Zip returns what gzip makes of head, the text, and rest, in pieces. Its work is that of the
// two: the blocks are shared. It is one member, because browsers pass over a second one.
func (t *Text) Zip(head, rest []byte) [][]byte {
	var begin, end bytes.Buffer
	begin.Grow(len(gzipHead) + len(head) + 16)
	begin.WriteString(gzipHead)
	_ = flate.StatelessDeflate(&begin, head, false, nil) // into memory: cannot fail
	end.Grow(len(rest)/4 + 64)
	_ = flate.StatelessDeflate(&end, rest, true, nil)
	sum := joinSums(crc32.ChecksumIEEE(head), t.sum, t.size)
	sum = joinSums(sum, crc32.ChecksumIEEE(rest), len(rest))
	trailer := binary.LittleEndian.AppendUint32(end.AvailableBuffer(), sum)
	trailer = binary.LittleEndian.AppendUint32(trailer, uint32(len(head)+t.size+len(rest)))
	end.Write(trailer)
	pieces := make([][]byte, 0, len(t.blocks)+2)
	pieces = append(pieces, begin.Bytes())
	for _, b := range t.blocks {
		pieces = append(pieces, b.deflated)
	}
	return append(pieces, end.Bytes())
}

// joinSums returns the CRC-32 of two texts in a row, of which sums are known, and the length
// of the second: the first sum times x^(8·length), plus the second.
func joinSums(first, second uint32, length int) uint32 {
	const one, byByte = 1 << 31, 1 << 23 // x^0 and x^8; the highest bit is that of x^0
	shift := uint32(one)
	for n, power := length, uint32(byByte); n > 0; n >>= 1 {
		if n&1 != 0 {
			shift = times(power, shift)
		}
		power = times(power, power)
	}
	return times(shift, first) ^ second
}

// times multiplies two polynomials modulo that of CRC-32.
func times(a, b uint32) (product uint32) {
	for bit := uint32(1 << 31); bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		low := b & 1
		b >>= 1
		if low != 0 {
			b ^= crc32.IEEE
		}
	}
	return product
}
