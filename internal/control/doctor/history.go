package doctor

import "time"

const (
	// historyPoints × historyEvery is how far graphs go back.
	historyPoints = 300
	historyEvery  = 2 * time.Second
)

// point is one moment of a graph: unknown readings are NaN.
type point struct {
	at      time.Time
	offline bool
	values  [9]float32
}

// The values of a point.
const (
	pointBitrate = iota
	pointFrameRate
	pointKeyInterval
	pointMissing
	pointLevel
	pointRTT
	pointLoss
	pointDrift
	pointOffset
)

// history is a ring of points.
type history struct {
	ring  []point // made with the first point, so that a refused stream costs none
	count int
	last  time.Time
}

// add appends a moment of the main source, or one without a publisher if e is nil, when
// one is due.
func (h *history) add(e *exam, now time.Time) {
	if now.Sub(h.last) < historyEvery {
		return
	}
	h.last = now
	if h.ring == nil {
		h.ring = make([]point, historyPoints)
	}
	p := &h.ring[h.count%historyPoints]
	h.count++
	*p = point{at: now, offline: e == nil}
	for i := range p.values {
		p.values[i] = float32(unknown)
	}
	if e == nil {
		return
	}
	total := unknown
	for _, tracks := range [][]reading{e.video, e.audio} {
		for i := range tracks {
			if v := tracks[i].bitrate; known(v) {
				total = nan0(total) + v
			}
		}
	}
	set := func(i int, v float64) { p.values[i] = float32(v) }
	set(pointBitrate, total)
	if len(e.video) > 0 {
		v := &e.video[0]
		set(pointFrameRate, v.fps)
		set(pointKeyInterval, v.keyMean)
		set(pointMissing, float64(v.missing))
	}
	if e.fresh(e.looks.heardAt) {
		set(pointLevel, e.looks.sound.level)
	}
	set(pointRTT, e.link.rtt)
	set(pointLoss, e.link.loss)
	set(pointDrift, e.drift)
	set(pointOffset, e.avOffset)
}

// points are the moments that are kept, oldest first.
func (h *history) points() []Point {
	n := min(h.count, historyPoints)
	out := make([]Point, 0, n)
	for i := h.count - n; i < h.count; i++ {
		p := &h.ring[i%historyPoints]
		value := func(i, digits int) *float64 { return number(float64(p.values[i]), digits) }
		out = append(out, Point{
			At: p.at, Offline: p.offline,
			Bitrate: value(pointBitrate, 0), FrameRate: value(pointFrameRate, 2), KeyframeInterval: value(pointKeyInterval, 2),
			FramesMissing: value(pointMissing, 0), AudioLevel: value(pointLevel, 1), RTT: value(pointRTT, 4),
			Loss: value(pointLoss, 4), ClockDrift: value(pointDrift, 2), AVOffset: value(pointOffset, 3),
		})
	}
	return out
}
