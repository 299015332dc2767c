package media

import "math/bits"

// Rescale converts v from one timescale to another, rounded to the nearest tick
// (halves away from zero). It does not overflow for results that fit in 64 bits;
// larger ones are clamped. A timescale that is not positive yields 0.
func Rescale(v, from, to int64) int64 {
	if from <= 0 || to <= 0 {
		return 0
	}
	if from == to {
		return v
	}
	neg := v < 0
	u := uint64(v)
	if neg {
		u = -u
	}
	hi, lo := bits.Mul64(u, uint64(to))
	var carry uint64
	lo, carry = bits.Add64(lo, uint64(from)/2, 0)
	hi += carry
	const limit = 1<<63 - 1
	var q uint64 = limit
	if hi < uint64(from) {
		q, _ = bits.Div64(hi, lo, uint64(from))
		q = min(q, limit)
	}
	if neg {
		return -int64(q)
	}
	return int64(q)
}
