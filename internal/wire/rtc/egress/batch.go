package egress

import (
	"net"
	"net/netip"
)

const (
	// scratchBytes is what one loop seals before it must send, maxMessages how many messages
	// one system call sends.
	scratchBytes = 256 << 10
	maxMessages  = 32
	// maxSegments and maxRun bound what segmentation offload takes as one message: the
	// kernel's bounds are 64 packets and 64 KiB.
	maxSegments = 48
	maxRun      = 60 << 10
)

// message is a run of packets for one address: all of a size, only the last may be shorter.
type message struct {
	to      *path
	at, end int // in the scratch
	segment int
	count   int
	closed  bool // a shorter packet ended it
}

// batch collects sealed packets of a loop and sends them together.
type batch struct {
	conn    *net.UDPConn
	metrics *metrics
	segment bool // packets of one size may be sent as one message
	scratch []byte
	used    int
	msgs    []message
	os      systemBatch
}

func newBatch(conn *net.UDPConn, m *metrics) *batch {
	b := &batch{conn: conn, metrics: m, scratch: make([]byte, scratchBytes), msgs: make([]message, 0, maxMessages)}
	b.prepare()
	return b
}

// space returns memory for the next packet. It sends what is there if there is no room.
func (b *batch) space() []byte {
	if len(b.scratch)-b.used < maxPacket || len(b.msgs) == maxMessages {
		b.flush()
	}
	return b.scratch[b.used : b.used+maxPacket : b.used+maxPacket]
}

// commit takes the first n bytes of what space returned as a packet for a path.
func (b *batch) commit(to *path, n int) {
	if to.stream != nil {
		if !to.stream.queue(b.scratch[b.used : b.used+n]) {
			b.metrics.dropped.WithLabelValues(dropTCP).Inc()
		}
		return
	}
	if last := len(b.msgs) - 1; last >= 0 {
		m := &b.msgs[last]
		if b.segment && m.to == to && !m.closed && n <= m.segment && m.count < maxSegments && m.end+n-m.at <= maxRun {
			m.end += n
			m.count++
			m.closed = n < m.segment
			b.used += n
			return
		}
	}
	b.msgs = append(b.msgs, message{to: to, at: b.used, end: b.used + n, segment: n, count: 1})
	b.used += n
}

// flush sends all.
func (b *batch) flush() {
	if len(b.msgs) > 0 {
		b.send()
	}
	b.msgs, b.used = b.msgs[:0], 0
}

// plain sends a message packet by packet.
func (b *batch) plain(m *message) {
	for at := m.at; at < m.end; at += m.segment {
		b.metrics.batches.Inc()
		if _, err := b.conn.WriteToUDPAddrPort(b.scratch[at:min(at+m.segment, m.end)], m.to.addr); err != nil {
			b.metrics.dropped.WithLabelValues(dropSend).Inc()
		}
	}
}

// path is where a viewer is: an address, or a TCP connection.
type path struct {
	addr   netip.AddrPort
	stream *stream
	raw    [28]byte // the address as the system takes it
	rawLen uint32
}
