package mediatest

// bitWriter writes bits, most significant first.
type bitWriter struct {
	data []byte
	free int // unused low bits of the last byte
}

func (w *bitWriter) bits(v uint64, n int) {
	for i := n - 1; i >= 0; i-- {
		if w.free == 0 {
			w.data = append(w.data, 0)
			w.free = 8
		}
		w.free--
		w.data[len(w.data)-1] |= byte(v>>i&1) << w.free
	}
}

func (w *bitWriter) flag(v bool) {
	if v {
		w.bits(1, 1)
	} else {
		w.bits(0, 1)
	}
}

// ue writes an Exp-Golomb code.
func (w *bitWriter) ue(v uint64) {
	n := 0
	for (v+1)>>(n+1) != 0 {
		n++
	}
	w.bits(0, n)
	w.bits(v+1, n+1)
}

// trailing writes a stop bit and aligns to a byte.
func (w *bitWriter) trailing() {
	w.bits(1, 1)
	w.bits(0, w.free)
}

// escaped returns the bytes behind a NAL unit header, with emulation prevention.
func (w *bitWriter) escaped(header ...byte) []byte {
	out := append([]byte(nil), header...)
	zeros := 0
	for _, b := range w.data {
		if zeros >= 2 && b <= 3 {
			out = append(out, 3)
			zeros = 0
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
