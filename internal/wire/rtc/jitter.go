package rtc

import (
	"time"

	"github.com/pion/rtp"
)

const (
	// ringSize bounds the packets that a stream holds back while one is missing.
	ringSize = 1024
	// reorderTime is how long a gap may be mere disorder before it is asked for.
	reorderTime = 10 * time.Millisecond
	// minNackTime and maxNacks bound how often one packet is asked for.
	minNackTime = 30 * time.Millisecond
	maxNacks    = 10
	// maxNackList bounds the packets that one request names.
	maxNackList = 256
	// strayLimit packets in a row far from all others are another beginning.
	strayLimit = 3
	// farAway is how far a sequence number may lie from the one due.
	farAway = 2000
)

// jitter puts the packets of one RTP stream in order. A missing one is waited for, and
// asked for again if the stream allows that, until its time is over.
type jitter struct {
	wait time.Duration // how long a missing packet is waited for

	started bool
	next    uint64 // the extended sequence number due
	highest uint64
	slots   [ringSize]slot
	held    int
	// rtt is measured by packets that came after they were asked for; 0 if none did.
	rtt time.Duration

	strays   int
	straySeq uint16
	counts   jitterCounts
	gap      bool // packets before the next one were given up
}

// jitterCounts are totals since the beginning.
type jitterCounts struct {
	received, lost, late, repaired, nacked, overflow uint64
}

// slot is what is known of one sequence number from next on.
type slot struct {
	packet *rtp.Packet
	at     time.Time // the packet's arrival, or since when it is missing
	asked  time.Time // when it was asked for first
	again  time.Time // when it may be asked for again
	nacks  int
	known  bool
}

// push takes a packet.
func (j *jitter) push(p *rtp.Packet, now time.Time) {
	seq := p.SequenceNumber
	if !j.started {
		j.started, j.gap = true, true
		j.next = 1<<32 | uint64(seq)
		j.highest = j.next - 1
	}
	ext := j.next + uint64(int64(int16(seq-uint16(j.next))))
	behind := ext < j.next
	if far := int64(ext - j.next); far > farAway || far < -farAway {
		j.stray(p, now)
		return
	}
	j.strays = 0
	if behind {
		j.counts.late++
		return
	}
	for ext >= j.next+ringSize {
		// Whatever is missing has had thousands of packets' time.
		j.skip()
	}
	s := &j.slots[ext%ringSize]
	if s.known && s.packet != nil {
		j.counts.late++
		return
	}
	if s.known && s.nacks > 0 {
		j.counts.repaired++
		if s.nacks == 1 { // of a later one it is not known which request it answers
			j.measure(now.Sub(s.asked))
		}
	}
	for e := j.highest + 1; e < ext; e++ {
		if m := &j.slots[e%ringSize]; !m.known {
			*m = slot{known: true, at: now, again: now.Add(reorderTime)}
		}
	}
	j.highest = max(j.highest, ext)
	j.counts.received++
	j.held++
	*s = slot{known: true, packet: p, at: now}
}

// stray takes a packet that is far from where the stream is. Some in a row, of one
// sequence, are a source that began anew.
func (j *jitter) stray(p *rtp.Packet, now time.Time) {
	if j.strays == 0 || int16(p.SequenceNumber-j.straySeq) < 0 || int16(p.SequenceNumber-j.straySeq) > farAway {
		j.strays = 0
	}
	j.strays++
	j.straySeq = p.SequenceNumber
	j.counts.late++
	if j.strays < strayLimit {
		return
	}
	clear(j.slots[:])
	j.started, j.strays, j.held = false, 0, 0
	j.counts.late--
	j.push(p, now)
}

func (j *jitter) measure(d time.Duration) {
	if j.rtt == 0 {
		j.rtt = d
		return
	}
	j.rtt += (d - j.rtt) / 8
}

// pop returns the next packet in order; nil if there is none yet. lost is set if packets
// before it were given up.
func (j *jitter) pop(now time.Time) (p *rtp.Packet, arrived time.Time, lost bool) {
	for j.started && j.next <= j.highest {
		s := &j.slots[j.next%ringSize]
		if s.packet != nil {
			p, arrived, lost = s.packet, s.at, j.gap
			*s = slot{}
			j.next++
			j.held--
			j.gap = false
			return p, arrived, lost
		}
		if now.Sub(s.at) < j.wait {
			return nil, time.Time{}, false
		}
		j.skip()
	}
	return nil, time.Time{}, false
}

// skip gives up the packet due, or drops it.
func (j *jitter) skip() {
	s := &j.slots[j.next%ringSize]
	if s.packet != nil {
		j.counts.overflow++
		j.held--
	} else {
		j.counts.lost++
	}
	*s = slot{}
	j.gap = true
	j.next++
	j.highest = max(j.highest, j.next-1)
}

// missing returns the sequence numbers to be asked for now.
func (j *jitter) missing(now time.Time) []uint16 {
	if !j.started {
		return nil
	}
	var list []uint16
	for e := j.next; e <= j.highest && len(list) < maxNackList; e++ {
		s := &j.slots[e%ringSize]
		if s.packet != nil || !s.known || s.nacks >= maxNacks || now.Before(s.again) {
			continue
		}
		if s.nacks == 0 {
			s.asked = now
		}
		s.nacks++
		s.again = now.Add(max(minNackTime, j.rtt+j.rtt/4))
		list = append(list, uint16(e))
	}
	j.counts.nacked += uint64(len(list))
	return list
}
