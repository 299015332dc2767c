package transcode

import (
	"sync"

	"onair/internal/media"
)

// cost is what a rendition takes of the processor, in cores: decoding its source, which
// renditions in one process do once, and encoding it.
type cost struct{ decode, encode float64 }

// soundCost is what a rendition of the sound takes. It was measured with the start of its
// process, as both depend little on the source.
var soundCost = cost{decode: 0.01, encode: 0.04}

// Cores for a million pixels a second, measured on two shared cores with noisy content
// (decoding H.264 at 720p30: 0.17 core; encoding 480p30 with libx264 superfast: 0.18).
const (
	decodeCost = 0.006
	encodeCost = 0.0146
	// circuitShare is what is left of encoding for the processor if a circuit does it.
	circuitShare = 0.1
)

// effort is how much more work a codec is than H.264.
var effort = map[media.Codec]cost{
	media.H264: {1, 1}, media.HEVC: {1.3, 4}, media.AV1: {1.3, 2.5}, media.VP8: {1, 1}, media.VP9: {1.2, 1},
}

// videoCost estimates what encoding a picture takes.
func videoCost(from *media.Track, rate float64, to *media.Track, hardware bool) cost {
	if rate == 0 {
		rate = slowRate
	}
	decode := decodeCost * float64(from.Width*from.Height) * rate / 1e6
	encode := encodeCost * float64(to.Width*to.Height) * to.FrameRate / 1e6
	if hardware {
		encode *= circuitShare
	}
	return cost{decode * effort[from.Codec].decode, encode * effort[to.Codec].encode}
}

// budget is how much of the processor encoding may take, over all streams.
type budget struct {
	total float64

	mu   sync.Mutex
	used float64
	// factor is by how much measured costs are over the estimates.
	factor float64
}

func newBudget(total float64) *budget { return &budget{total: total, factor: 1} }

// take reserves what an estimate comes to, unless that is too much. It returns what it
// reserved, or would have to.
func (b *budget) take(estimate float64) (reserved, used float64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	reserved = estimate * b.factor
	if b.used+reserved > b.total {
		return reserved, b.used, false
	}
	b.used += reserved
	return reserved, b.used, true
}

// force reserves an estimate whatever is left.
func (b *budget) force(estimate float64) (reserved float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += estimate
	return estimate
}

// give returns what was reserved.
func (b *budget) give(reserved float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used = max(0, b.used-reserved)
}

const (
	// factorWeight is how much one measurement changes the estimates.
	factorWeight = 0.2
	// minFactor and maxFactor bound what measurements can make of an estimate.
	minFactor, maxFactor = 0.25, 4
)

// correct replaces a reservation by what was measured, and learns from it for estimates to
// come.
func (b *budget) correct(reserved, estimate, measured float64) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used = max(0, b.used-reserved+measured)
	if estimate > 0 {
		ratio := min(maxFactor, max(minFactor, measured/estimate))
		b.factor += factorWeight * (ratio - b.factor)
	}
	return measured
}

// state returns the budget and what of it is reserved.
func (b *budget) state() (total, used float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total, b.used
}
