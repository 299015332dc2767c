package egress

import (
	"time"

	"github.com/pion/rtcp"
)

const (
	// sentRing is how many packets are remembered until the viewer tells when they came.
	sentRing = 2048
	// windowTime is over how long rates and losses are taken.
	windowTime = 500 * time.Millisecond
	// queueLimit is the delay by a queue on the way from which it counts as full.
	queueLimit = 150 * time.Millisecond
	// baseTime is how long the shortest time on the way is remembered.
	baseTime = 10 * time.Second
	// lossLimit is the part of lost packets from which the way counts as too narrow.
	lossLimit = 0.1
	// backOff is what remains of the rate that arrived, when the way is too narrow; holdTime
	// how long the estimate does not grow then, growth by how much of itself it grows in a
	// second, and maxGrowth how far above what was seen to arrive.
	backOff   = 0.85
	holdTime  = 4 * time.Second
	growth    = 0.08
	maxGrowth = 4
	// minBitrate is the least estimate, in bits a second.
	minBitrate = 100_000
)

// sentPacket is what is remembered of a packet.
type sentPacket struct {
	at   int64 // microseconds since the beginning
	size uint16
	no   uint16
	set  bool
}

// estimator guesses what the way to a viewer carries, from what of the packets came when
// (draft-holmer-rmcat-transport-wide-cc-extensions). It falls at once when a queue builds
// up or packets get lost, and grows slowly while neither happens.
type estimator struct {
	no    uint16
	ring  []sentPacket
	epoch time.Time

	rtt  time.Duration
	loss float64
	rate float64 // bits a second that arrive

	begin       time.Time // of the window
	arrived     int       // bytes
	came, lost  int
	at, from    time.Duration // when the newest packet came, by the viewer's clock: now, and a window ago
	base, base2 time.Duration // the shortest way, of this and of the last baseTime
	baseAt      time.Time
	haveBase    bool
	queue       time.Duration // smoothed

	value   float64
	top     float64 // the best rate that arrived
	hold    time.Time
	grown   time.Time
	cap     float64 // told by the viewer (REMB)
	capAt   time.Time
	learned bool
}

// next returns the number of the next packet.
func (e *estimator) next() uint16 {
	e.no++
	return e.no
}

// sent remembers a packet.
func (e *estimator) sent(no uint16, size int, now time.Time) {
	if e.ring == nil {
		e.ring, e.epoch = make([]sentPacket, sentRing), now
	}
	e.ring[no%sentRing] = sentPacket{at: now.Sub(e.epoch).Microseconds(), size: uint16(size), no: no, set: true}
}

// feedback reads which packets came, and when.
func (e *estimator) feedback(p *rtcp.TransportLayerCC, now time.Time) {
	if e.ring == nil {
		return
	}
	at := int64(p.ReferenceTime) * 64_000 // microseconds
	deltas := p.RecvDeltas
	no := p.BaseSequenceNumber
	left := int(p.PacketStatusCount)
	one := func(symbol uint16) bool {
		if left == 0 {
			return false
		}
		left--
		s := &e.ring[no%sentRing]
		known := s.set && s.no == no
		no++
		if symbol != rtcp.TypeTCCPacketReceivedSmallDelta && symbol != rtcp.TypeTCCPacketReceivedLargeDelta {
			if known {
				e.lost++
			}
			return true
		}
		if len(deltas) == 0 {
			return false
		}
		at += deltas[0].Delta
		deltas = deltas[1:]
		if known {
			s.set = false
			e.came++
			e.arrived += int(s.size)
			e.at = time.Duration(at) * time.Microsecond
			e.way(time.Duration(at-s.at)*time.Microsecond, now)
		}
		return true
	}
	for _, chunk := range p.PacketChunks {
		switch c := chunk.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				if !one(c.PacketStatusSymbol) {
					break
				}
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList {
				if !one(symbol) {
					break
				}
			}
		}
	}
	e.settle(now)
}

// way takes the time of a packet on the way, but for a constant.
func (e *estimator) way(d time.Duration, now time.Time) {
	switch {
	case !e.haveBase:
		e.base, e.base2, e.baseAt, e.haveBase = d, d, now, true
	case now.Sub(e.baseAt) > baseTime:
		e.base2, e.base, e.baseAt = e.base, d, now
	default:
		e.base = min(e.base, d)
	}
	e.queue += (d - min(e.base, e.base2) - e.queue) / 16
}

// settle ends a window and draws conclusions.
func (e *estimator) settle(now time.Time) {
	if e.begin.IsZero() {
		e.begin, e.grown = now, now
		return
	}
	t := now.Sub(e.begin)
	if t < windowTime || e.came+e.lost == 0 {
		return
	}
	// By the viewer's clock, so that reports which come together are no higher rate.
	if span := e.at - e.from; e.from != 0 && span > t && span < 10*windowTime {
		t = span
	}
	e.from = e.at
	rate := float64(e.arrived) * 8 / t.Seconds()
	e.loss += (float64(e.lost)/float64(e.came+e.lost) - e.loss) / 2
	e.rate, e.top = rate, max(e.top*0.98, rate)
	e.begin, e.arrived, e.came, e.lost = now, 0, 0, 0
	narrow := e.queue > queueLimit || e.loss > lossLimit
	switch {
	case narrow && now.Sub(e.hold) > 0:
		e.value = max(min(e.rate*backOff, e.floor()), minBitrate)
		e.top = e.rate
		e.hold = now.Add(holdTime)
		e.queue /= 2 // give it time to be seen to shrink
	case narrow:
		e.value = max(min(e.value, e.rate), minBitrate)
	case now.Sub(e.hold) > 0:
		e.value = max(e.value, e.rate)
		e.value = min(e.value*(1+growth*now.Sub(e.grown).Seconds()), max(e.top*maxGrowth, e.value))
	}
	e.grown, e.learned = now, true
}

// floor is the estimate, or what arrives while there is none.
func (e *estimator) floor() float64 {
	if e.value == 0 {
		return e.rate
	}
	return e.value
}

// reported takes the loss of a receiver report, for viewers that tell no more.
func (e *estimator) reported(loss float64, _ time.Time) {
	if !e.learned {
		e.loss = loss
	}
}

// limit takes what the viewer estimates itself.
func (e *estimator) limit(bitrate float64, now time.Time) { e.cap, e.capAt = bitrate, now }

// bitrate is the estimate in bits a second; 0 if it is not known.
func (e *estimator) bitrate(now time.Time) int64 {
	v := e.value
	if e.cap > 0 && now.Sub(e.capAt) < baseTime && (v == 0 || e.cap < v) {
		v = e.cap
	}
	return int64(v)
}
