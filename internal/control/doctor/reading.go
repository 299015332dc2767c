package doctor

import (
	"math"
	"time"

	"onair/internal/media"
)

// unknown is a reading that could not be taken.
var unknown = math.NaN()

func known(v float64) bool { return !math.IsNaN(v) }

// reading is what the notes of one track say at one moment. Times are in seconds.
type reading struct {
	id    int
	track *media.Track
	age   float64 // since the track's first packet
	quiet float64 // since its newest

	bitrate, variation   float64
	fps, fpsVariation    float64
	missing              uint64  // since the beginning
	missingRecent        uint64  // in the last minute
	missingShare         float64 // of the frames of the last minute
	keyMean, keyMin      float64
	keyMax, keyDeviation float64
	keyOpen              float64 // media time since the newest key frame
	keys                 int     // intervals that the figures rest on
	recentFrames         uint64  // frames of the last 10 s
	onlyKeys             bool    // all of them, and no fewer than three, were key frames
	bframes, openGOP     bool
	interlaced           bool
	jumps, backward      uint64 // since the beginning
	jumpsRecent          uint64 // in the last minute
	backwardRecent       uint64
	jump                 float64
	resizes              int
	resizedAgo           float64
	from                 [2]int
	alteredAgo           float64
	alteration           [2]string
}

// read makes a reading of what was noted until now.
func (m *meter) read(now time.Time) reading {
	ten, minute := m.sum(10), m.sum(60)
	r := reading{
		id: m.id, track: m.track, age: now.Sub(m.begun).Seconds(), quiet: now.Sub(m.arrived).Seconds(),
		bitrate: unknown, variation: unknown, fps: unknown, fpsVariation: unknown, missingShare: unknown,
		keyMean: unknown, keyMin: unknown, keyMax: unknown, keyDeviation: unknown, keyOpen: unknown, resizedAgo: unknown, alteredAgo: unknown, alteration: m.alteration,
		missing: m.total.missing, missingRecent: minute.missing, interlaced: m.interlaced,
		jumps: m.total.jumps, backward: m.total.backward, jumpsRecent: minute.jumps, backwardRecent: minute.backward,
		jump: float64(m.jump) / 1e9, resizes: m.resizes, from: m.from, recentFrames: ten.packets,
	}
	if m.seconds >= 2 {
		r.bitrate = float64(ten.bytes) * 8 / float64(min(m.seconds, 10))
	}
	if !m.resized.IsZero() {
		r.resizedAgo = now.Sub(m.resized).Seconds()
	}
	if !m.altered.IsZero() {
		r.alteredAgo = now.Sub(m.altered).Seconds()
	}
	if m.track.Kind() == media.Video {
		m.readPictures(&r, now, ten, minute)
	} else {
		r.variation = m.variation(4)
	}
	return r
}

func (m *meter) readPictures(r *reading, now time.Time, ten, minute second) {
	const recent = 30 * time.Second
	r.bframes = !m.reordered.IsZero() && now.Sub(m.reordered) < recent
	r.openGOP = !m.recovery.IsZero() && now.Sub(m.recovery) < recent || !m.leading.IsZero() && now.Sub(m.leading) < recent
	if ten.media > int64(time.Second) {
		r.fps = float64(ten.packets) * 1e9 / float64(ten.media)
	}
	if frames := minute.packets + minute.missing; frames > 0 {
		r.missingShare = float64(minute.missing) / float64(frames)
	}
	r.fpsVariation = m.fpsVariation()
	r.onlyKeys = ten.packets >= 3 && m.streak >= ten.packets
	if m.keySeen {
		r.keyOpen = float64(m.media-m.keyMedia) / 1e9
	}
	r.keys = int(min(m.keys, keptIntervals))
	if r.keys > 0 {
		var s stats
		for _, d := range m.intervals[:r.keys] {
			s.add(float64(d) / 1e9)
		}
		r.keyMean, r.keyMin, r.keyMax = s.mean(), s.least, s.most
		if r.keys >= 3 {
			r.keyDeviation = s.variation()
		}
	}
	every := 4
	if known(r.keyMean) {
		every = int(min(max(math.Ceil(2*r.keyMean), 4), 15))
	}
	r.variation = m.variation(every)
}

// variation is the coefficient of variation of the bitrate over the last minute, taken
// in windows of so many seconds: a key frame is much larger than others, and a window
// must hold as many of them as the next.
func (m *meter) variation(every int) float64 {
	const enough = 4
	var s stats
	for begin := 0; begin+every <= min(m.seconds-1, window); begin += every {
		var bytes uint64
		for i := range every {
			x, _ := m.ago(begin + i)
			bytes += x.bytes
		}
		s.add(float64(bytes))
	}
	if s.n < enough {
		return unknown
	}
	return s.variation()
}

// fpsVariation is the coefficient of variation of the frame rates of the last seconds.
func (m *meter) fpsVariation() float64 {
	var s stats
	for i := range min(m.seconds, 15) {
		if x, _ := m.ago(i); x.media > int64(200*time.Millisecond) {
			s.add(float64(x.packets) * 1e9 / float64(x.media))
		}
	}
	if s.n < 10 {
		return unknown
	}
	return s.variation()
}

// stats are mean and deviation of numbers.
type stats struct {
	n           int
	sum, square float64
	least, most float64
}

func (s *stats) add(v float64) {
	if s.n == 0 {
		s.least, s.most = v, v
	}
	s.n++
	s.sum += v
	s.square += v * v
	s.least, s.most = min(s.least, v), max(s.most, v)
}

func (s *stats) mean() float64 { return s.sum / float64(s.n) }

// variation is the standard deviation as a share of the mean.
func (s *stats) variation() float64 {
	mean := s.mean()
	if mean <= 0 {
		return unknown
	}
	return math.Sqrt(max(0, s.square/float64(s.n)-mean*mean)) / mean
}

// number is a reading as the report has it: nil if it is unknown, else rounded to what
// it can be known to.
func number(v float64, digits int) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	v = round(v, digits)
	return &v
}

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}
