package egress

import (
	"encoding/binary"
	"time"
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
	// maxBitrate is the most that a viewer may tell; beyond it nothing is limited.
	maxBitrate = 1e12
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

// feedback reads which packets came, and when: a packet of RTCP as
// draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1, has it. What is
// malformed ends it.
func (e *estimator) feedback(b []byte, now time.Time) {
	if e.ring == nil || len(b) < 20 {
		return
	}
	no, count := binary.BigEndian.Uint16(b[12:]), min(int(binary.BigEndian.Uint16(b[14:])), sentRing)
	at := (int64(b[16])<<16 | int64(b[17])<<8 | int64(b[18])) * 64_000 // microseconds
	chunks := b[20:]
	deltas, ok := behindChunks(chunks, int(binary.BigEndian.Uint16(b[14:])))
	if !ok {
		return
	}
	for ; count > 0 && len(chunks) >= 2; chunks = chunks[2:] {
		chunk := binary.BigEndian.Uint16(chunks)
		n, _ := statuses(chunk)
		for i := range min(n, count) {
			symbol := status(chunk, i)
			s := &e.ring[no%sentRing]
			known := s.set && s.no == no
			no++
			switch {
			case symbol == 1 && len(deltas) >= 1: // within 64 ms
				at += int64(deltas[0]) * 250
				deltas = deltas[1:]
			case symbol == 2 && len(deltas) >= 2:
				at += int64(int16(binary.BigEndian.Uint16(deltas))) * 250
				deltas = deltas[2:]
			case symbol == 0:
				if known {
					e.lost++
				}
				continue
			default:
				return
			}
			if known {
				s.set = false
				e.came++
				e.arrived += int(s.size)
				e.at = time.Duration(at) * time.Microsecond
				e.way(time.Duration(at-s.at)*time.Microsecond, now)
			}
		}
		count -= n
	}
	e.settle(now)
}

// statuses is how many packets a chunk tells of, and whether it is one symbol for all.
func statuses(chunk uint16) (n int, run bool) {
	switch {
	case chunk&0x8000 == 0:
		return int(chunk & 0x1fff), true
	case chunk&0x4000 == 0:
		return 14, false
	default:
		return 7, false
	}
}

// status is what a chunk tells of its packet i: 0 for lost, 1 or 2 for the size of its
// delta in bytes.
func status(chunk uint16, i int) uint16 {
	switch {
	case chunk&0x8000 == 0:
		return chunk >> 13 & 3
	case chunk&0x4000 == 0:
		return chunk >> (13 - i) & 1
	default:
		return chunk >> (12 - 2*i) & 3
	}
}

// behindChunks returns what follows the chunks that tell of count packets.
func behindChunks(b []byte, count int) ([]byte, bool) {
	for count > 0 {
		if len(b) < 2 {
			return nil, false
		}
		n, run := statuses(binary.BigEndian.Uint16(b))
		if n == 0 && run {
			return nil, false
		}
		count -= n
		b = b[2:]
	}
	return b, true
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
func (e *estimator) limit(bitrate float64, now time.Time) {
	if bitrate > 0 && bitrate < maxBitrate { // what is no number is not taken either
		e.cap, e.capAt = bitrate, now
	}
}

// bitrate is the estimate in bits a second; 0 if it is not known.
func (e *estimator) bitrate(now time.Time) int64 {
	v := e.value
	if e.cap > 0 && now.Sub(e.capAt) < baseTime && (v == 0 || e.cap < v) {
		v = e.cap
	}
	return int64(v)
}
