package bitstream

// bitReader reads bits, most significant first, and remembers that it ran out instead
// of returning an error from each call. What is read past the end is zero. It never
// allocates, so a hostile parameter set costs no more than its own length.
type bitReader struct {
	data []byte
	pos  int // in bits
	bad  bool
}

// bits reads n bits, n at most 32.
func (r *bitReader) bits(n int) uint32 {
	if r.bad || n > len(r.data)*8-r.pos {
		r.bad = true
		return 0
	}
	var v uint32
	for range n {
		v = v<<1 | uint32(r.data[r.pos>>3]>>(7-r.pos&7))&1
		r.pos++
	}
	return v
}

func (r *bitReader) flag() bool { return r.bits(1) == 1 }

func (r *bitReader) skip(n int) {
	if r.bad || n > len(r.data)*8-r.pos {
		r.bad = true
		return
	}
	r.pos += n
}

// ue reads an Exp-Golomb code (H.264 section 9.1). Codes of more than 32 bits are bad.
func (r *bitReader) ue() uint32 {
	zeros := 0
	for !r.flag() {
		if r.bad {
			return 0
		}
		if zeros++; zeros > 31 {
			r.bad = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// ueMax reads an Exp-Golomb code that the specification bounds by limit.
func (r *bitReader) ueMax(limit uint32) uint32 {
	v := r.ue()
	if v > limit {
		r.bad = true
		return 0
	}
	return v
}

// se reads a signed Exp-Golomb code (H.264 section 9.1.1).
func (r *bitReader) se() int32 {
	v := r.ue()
	if v&1 == 1 {
		return int32(v>>1) + 1
	}
	return -int32(v >> 1)
}

// left is the number of bits that were not read.
func (r *bitReader) left() int { return len(r.data)*8 - r.pos }

// unescape removes emulation prevention bytes (00 00 03) from the first limit bytes of
// a NAL unit: all a parameter set needs, however long it claims to be.
func unescape(nal []byte, limit int) []byte {
	nal = nal[:min(len(nal), limit)]
	out := make([]byte, 0, len(nal))
	zeros := 0
	for _, b := range nal {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, b)
	}
	return out
}
