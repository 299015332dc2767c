package srt

import (
	"sync"
	"time"
)

// What is known of a packet in the receiver's window.
const (
	slotEmpty   = iota
	slotMissing // a later one came
	slotFull
	slotGone // given up
)

const (
	minRing = 256
	// baseWindow is how long the quickest packet tells the time base.
	baseWindow = 10 * time.Second
	// maxLossWords bounds a loss report to what fits one packet.
	maxLossWords = 340
)

// payloads holds buffers of the largest payload.
type payloads struct{ pool sync.Pool }

func (p *payloads) get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, maxPayload)
}

func (p *payloads) put(b []byte) {
	if cap(b) == maxPayload {
		p.pool.Put(&b)
	}
}

type slot struct {
	state uint8
	data  []byte
	ts    int64 // µs of the sender's clock, unwrapped
	// found is when it was seen to be missing, told when that was reported last.
	found, told time.Time
}

// receiver puts the packets of one connection in order. Packets leave as soon as they are
// complete up to them; a hole is given up when what follows it has become due.
type receiver struct {
	latency time.Duration
	buffers *payloads
	ring    []slot
	// read is the next packet to hand on, next the first that is not there, end the one
	// after the last that came.
	read, next, end uint32
	missing         int

	// The sender's clock: its last timestamp unwrapped, and the smallest difference
	// between it and ours in this window and the one before. The minimum follows a clock
	// that drifts, and is not misled by queues on the way.
	ts            int64
	started       bool
	began         time.Time
	low, lowOlder int64
	lowSince      time.Time

	// unfinished counts what was missing when the peer said goodbye.
	lost, again, dropped, belated, overflow, unfinished uint64
}

func newReceiver(isn uint32, latency time.Duration, buffers *payloads, now time.Time) *receiver {
	return &receiver{latency: latency, buffers: buffers, ring: make([]slot, minRing), read: isn, next: isn, end: isn, began: now}
}

func (r *receiver) slot(seq uint32) *slot { return &r.ring[int(seq)&(len(r.ring)-1)] }

// free is how many packets the window can still take.
func (r *receiver) free() int { return maxWindow - seqDiff(r.end, r.read) }

// grow makes room for the packets up to seq.
func (r *receiver) grow(seq uint32) {
	n := len(r.ring)
	for n <= seqDiff(seq, r.read) {
		n *= 2
	}
	if n == len(r.ring) {
		return
	}
	old := r.ring
	r.ring = make([]slot, n)
	for s := r.read; s != r.end; s = seqAdd(s, 1) {
		*r.slot(s) = old[int(s)&(len(old)-1)]
	}
}

// clock unwraps a timestamp and notes how late it is.
func (r *receiver) clock(ts uint32, again bool, now time.Time) int64 {
	if !r.started {
		r.started = true
		r.ts = int64(ts)
		r.low, r.lowSince = int64(1)<<62, now
		r.lowOlder = r.low
	}
	t := r.ts + int64(int32(ts-uint32(r.ts)))
	if again {
		return t // it tells when it was due, not how long the way is
	}
	r.ts = t
	if now.Sub(r.lowSince) >= baseWindow {
		r.lowOlder, r.low, r.lowSince = r.low, int64(1)<<62, now
	}
	r.low = min(r.low, now.Sub(r.began).Microseconds()-t)
	return t
}

// due reports whether a packet should have been handed on by now.
func (r *receiver) due(ts int64, now time.Time) bool {
	base := min(r.low, r.lowOlder)
	return now.Sub(r.began).Microseconds() >= base+ts+r.latency.Microseconds()
}

// push takes a packet. It returns the range of packets that are newly missing (first to
// last, empty if ok is false). The data are copied.
func (r *receiver) push(seq, timestamp uint32, again bool, data []byte, now time.Time) (first, last uint32, ok bool) {
	if again {
		r.again++
	}
	if seqDiff(seq, r.next) < 0 {
		r.belated++
		return 0, 0, false
	}
	if seqDiff(seq, r.next)+seqDiff(r.next, r.read) >= maxWindow {
		if r.read != r.end {
			r.overflow++
			return 0, 0, false
		}
		// All that came is read, and the sender is a whole window ahead: begin again.
		r.dropped += uint64(seqDiff(seq, r.next))
		r.lost += uint64(seqDiff(seq, r.next))
		r.read, r.next, r.end = seq, seq, seq
	}
	r.grow(seq)
	s := r.slot(seq)
	if n := seqDiff(seq, r.end); n >= 0 {
		for m := r.end; m != seq; m = seqAdd(m, 1) {
			*r.slot(m) = slot{state: slotMissing, found: now, told: now}
		}
		if n > 0 {
			first, last, ok = r.end, seqAdd(seq, -1), true
			r.missing += n
			r.lost += uint64(n)
		}
		r.end = seqAdd(seq, 1)
	} else if s.state != slotMissing {
		r.belated++ // it came twice, or was given up
		return 0, 0, false
	} else {
		r.missing--
	}
	*s = slot{state: slotFull, data: append(r.buffers.get(), data...), ts: r.clock(timestamp, again, now)}
	r.advance()
	return first, last, ok
}

// advance moves next over what is complete or given up.
func (r *receiver) advance() {
	for r.next != r.end {
		if s := r.slot(r.next); s.state == slotMissing {
			return
		}
		r.next = seqAdd(r.next, 1)
	}
}

// finish ends the wait for all that is missing: nobody sends it any more.
func (r *receiver) finish() {
	dropped := r.dropped
	r.forget(r.next, seqAdd(r.end, -1))
	r.unfinished += r.dropped - dropped
	r.dropped = dropped
}

// giveUp ends the wait for holes whose successor is due. A hole that is found late, behind
// a queue on the way or a stall of either machine, still has the time of some repetitions:
// nothing here plays, and waiting is cheaper than a gap.
func (r *receiver) giveUp(now time.Time, repair time.Duration) {
	for r.missing > 0 {
		if now.Sub(r.slot(r.next).found) < min(repair, r.latency) {
			return
		}
		f, n := r.next, 0
		for f != r.end && r.slot(f).state != slotFull {
			if r.slot(f).state == slotMissing {
				n++
			}
			f = seqAdd(f, 1)
		}
		if f == r.end || !r.due(r.slot(f).ts, now) {
			return
		}
		r.forget(r.next, seqAdd(f, -1))
	}
}

// forget gives up what is missing between two packets, inclusive. Both are counted from
// next: of three sequence numbers, two orders say nothing of the third.
func (r *receiver) forget(first, last uint32) {
	from := max(seqDiff(first, r.next), 0)
	to := min(seqDiff(last, r.next), seqDiff(r.end, r.next)-1)
	for i := from; i <= to; i++ {
		if t := r.slot(seqAdd(r.next, i)); t.state == slotMissing {
			t.state = slotGone
			r.missing--
			r.dropped++
		}
	}
	r.advance()
}

// losses lists what is missing and was not reported for a while, as it stands in a loss
// report.
func (r *receiver) losses(now time.Time, every time.Duration) []uint32 {
	if r.missing == 0 {
		return nil
	}
	var list []uint32
	for s := r.next; s != r.end && len(list) < maxLossWords; {
		if t := r.slot(s); t.state != slotMissing || now.Sub(t.told) < every {
			s = seqAdd(s, 1)
			continue
		}
		first := s
		for s != r.end {
			t := r.slot(s)
			if t.state != slotMissing || now.Sub(t.told) < every {
				break
			}
			t.told = now
			s = seqAdd(s, 1)
		}
		list = appendLoss(list, first, seqAdd(s, -1))
	}
	return list
}

// appendLoss adds a range to a loss list (appendix A).
func appendLoss(list []uint32, first, last uint32) []uint32 {
	if first == last {
		return append(list, first)
	}
	return append(list, first|1<<31, last)
}

// pop takes the next complete payload; nil if there is none. It goes back to the buffers
// when it was used.
func (r *receiver) pop() []byte {
	for r.read != r.next {
		s := r.slot(r.read)
		r.read = seqAdd(r.read, 1)
		data, full := s.data, s.state == slotFull
		*s = slot{}
		if full {
			return data
		}
	}
	return nil
}
