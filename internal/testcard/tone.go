package testcard

import (
	"math"
	"time"
)

const (
	sampleRate = 48000
	channels   = 2
	toneHertz  = 440
	beepHertz  = 1000
	// beepLength is how long the beep sounds, and the square beside the clock shows,
	// at the start of each second: what offset there is between them is the stream's.
	beepLength = 100 * time.Millisecond
)

// isBeep tells whether the beep sounds at that media time.
func isBeep(elapsed time.Duration) bool { return elapsed%time.Second < beepLength }

// tone appends the samples from first up to (not including) end as interleaved 16-bit
// little-endian stereo: a soft tone, and a beep at the start of each second.
func tone(b []byte, first, end int64) []byte {
	for n := first; n < end; n++ {
		t := float64(n%sampleRate) / sampleRate
		v := 0.06 * math.Sin(2*math.Pi*toneHertz*t)
		if isBeep(time.Duration(n) * time.Second / sampleRate) {
			v = 0.5 * math.Sin(2*math.Pi*beepHertz*t)
		}
		s := uint16(int16(v * math.MaxInt16))
		for range channels {
			b = append(b, byte(s), byte(s>>8))
		}
	}
	return b
}
