package testcard

import "time"

// The clock is burnt into the picture twice: as digits for people, and as a row of
// black and white cells along the top edge for programs. The row holds clockBits bits,
// most significant first: 40 bits of Unix milliseconds and 8 bits of check sum.
const (
	clockBits     = 48
	checkBits     = 8
	timeBits      = clockBits - checkBits
	clockTop      = 1.0 / 45 // where the row starts, as a share of the height
	clockHeight   = 1.0 / 15
	lumaBlack     = 16
	lumaWhite     = 235
	lumaThreshold = 126
)

// clockWord packs the time and its check sum into the bits of the row.
func clockWord(at time.Time) uint64 {
	ms := uint64(at.UnixMilli()) & (1<<timeBits - 1)
	return ms<<checkBits | uint64(checkSum(ms))
}

// checkSum is the complement of the sum of the bytes, so that an all-black or
// all-white picture is no valid clock.
func checkSum(ms uint64) uint8 {
	var sum uint8
	for ; ms != 0; ms >>= 8 {
		sum += uint8(ms)
	}
	return ^sum
}

// ReadClock reads the clock from the luma plane of a picture of the test card, scaled
// to whatever size. near is any time within ten years of it. It returns false when the
// row cannot be read.
func ReadClock(luma []byte, width, height, stride int, near time.Time) (time.Time, bool) {
	y := int(float64(height) * (clockTop + clockHeight/2))
	if width < clockBits || y >= height || len(luma) < y*stride+width {
		return time.Time{}, false
	}
	var word uint64
	for bit := range clockBits {
		x := (2*bit + 1) * width / (2 * clockBits)
		word <<= 1
		if luma[y*stride+x] > lumaThreshold {
			word |= 1
		}
	}
	ms := word >> checkBits
	if uint8(word) != checkSum(ms) {
		return time.Time{}, false
	}
	high := uint64(near.UnixMilli()) &^ (1<<timeBits - 1)
	return time.UnixMilli(int64(high | ms)), true
}
