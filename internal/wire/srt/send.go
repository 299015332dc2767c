package srt

import (
	"encoding/binary"
	"time"
)

const (
	// maxUnsent is how many packets wait to be sent before a writer does: 2.7 MB.
	maxUnsent = 2048
	// minBurst is how many packets may leave in a tick whatever the rate is.
	minBurst = 16
	// minDropTime is the least time that a packet is kept for repetition (4.6).
	minDropTime = time.Second
)

// outgoing is a packet that was written and is not acknowledged.
type outgoing struct {
	data []byte // the whole datagram
	last time.Time
	at   time.Time // when it was sent first
	lost bool
}

// sender keeps what was written until the peer has it, repeats what the peer misses, and
// spreads bursts.
type sender struct {
	dropAfter time.Duration
	queue     []outgoing
	// una is the first packet that is not acknowledged, sent how many of the queue left.
	una    uint32
	sent   int
	msg    uint32
	window int // packets that the peer takes unacknowledged
	lost   int // how many in the queue are reported lost

	credit  float64
	written float64 // packets a tick, smoothed
	inTick  int

	packets, bytes, again, dropped uint64
}

func newSender(isn uint32, peerLatency time.Duration, window int) *sender {
	return &sender{
		una: isn, window: min(window, maxWindow), credit: minBurst,
		dropAfter: max(peerLatency+peerLatency/4, minDropTime) + 2*tick,
	}
}

// unsent is how many packets wait.
func (s *sender) unsent() int { return len(s.queue) - s.sent }

// next is the sequence number of the next packet that is written.
func (s *sender) next() uint32 { return seqAdd(s.una, len(s.queue)) }

// push queues a payload; it has the header's room in front.
func (s *sender) push(datagram []byte, key uint8, dest uint32) {
	s.msg = s.msg%msgMask + 1 // from 1, never 0 (3.1)
	header{seq: s.next(), key: key, msg: s.msg, dest: dest}.append(datagram[:0])
	s.queue = append(s.queue, outgoing{data: datagram})
	s.inTick++
}

// tick refills what may be sent and gives up what is too old.
func (s *sender) tick(now time.Time) {
	s.written += (float64(s.inTick) - s.written) / 64
	s.inTick = 0
	burst := minBurst + s.written*1.5
	s.credit = min(s.credit+burst, burst)
	n := 0
	for n < s.sent && now.Sub(s.queue[n].at) > s.dropAfter {
		n++
	}
	s.dropped += uint64(n)
	s.shift(n)
}

// pump returns what may be sent now: repetitions first.
func (s *sender) pump(now time.Time, timestamp uint32, out [][]byte) [][]byte {
	for i := 0; s.lost > 0 && i < s.sent && s.credit >= 1; i++ {
		p := &s.queue[i]
		if !p.lost {
			continue
		}
		p.lost = false
		s.lost--
		p.last = now
		// A copy: the first one may be on its way to the socket at this moment.
		again := append([]byte(nil), p.data...)
		again[4] |= 1 << 2
		out = append(out, again)
		s.again++
		s.count(again)
	}
	for s.sent < len(s.queue) && s.sent < s.window && s.credit >= 1 {
		p := &s.queue[s.sent]
		s.sent++
		p.at, p.last = now, now
		binary.BigEndian.PutUint32(p.data[8:], timestamp)
		out = append(out, p.data)
		s.count(p.data)
	}
	return out
}

func (s *sender) count(datagram []byte) {
	s.credit--
	s.packets++
	s.bytes += uint64(len(datagram))
}

// ack takes an acknowledgement of all packets before seq. One that is not of the window
// is forged or old.
func (s *sender) ack(seq uint32) bool {
	n := seqDiff(seq, s.una)
	if n < 0 || n > s.sent {
		return false
	}
	s.shift(n)
	return true
}

// shift forgets the first n packets.
func (s *sender) shift(n int) {
	for i := range s.queue[:n] {
		if s.queue[i].lost {
			s.lost--
		}
		s.queue[i] = outgoing{}
	}
	s.queue, s.sent, s.una = s.queue[n:], s.sent-n, seqAdd(s.una, n)
}

// report takes a loss report (appendix A) and returns how many packets were looked at. A
// true report names each packet once; one that names the window over and over is not
// followed for longer than a window.
func (s *sender) report(list []byte, now time.Time, rtt time.Duration) (looked int) {
	for len(list) >= 4 && looked < maxWindow {
		first := binary.BigEndian.Uint32(list)
		list = list[4:]
		last := first
		if first>>31 == 1 {
			if len(list) < 4 {
				break
			}
			last = binary.BigEndian.Uint32(list)
			list = list[4:]
		}
		looked += s.nak(first&seqMask, last&seqMask, now, rtt)
	}
	return looked
}

// nak marks what the peer reports missing, unless it was sent within a round trip. It
// returns how many packets it looked at.
func (s *sender) nak(first, last uint32, now time.Time, rtt time.Duration) int {
	from, to := max(seqDiff(first, s.una), 0), min(seqDiff(last, s.una), s.sent-1)
	for i := from; i <= to; i++ {
		if p := &s.queue[i]; !p.lost && now.Sub(p.last) >= rtt {
			p.lost = true
			s.lost++
		}
	}
	return max(to-from+1, 0)
}
