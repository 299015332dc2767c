package rtmp

import (
	"net"
	"sync"
	"syscall"
	"time"

	"onair/internal/media"
)

// rateSpan is the least time that a bitrate is measured over.
const rateSpan = time.Second

// rate measures the bitrate of a counter by looking at it now and then.
type rate struct {
	mu    sync.Mutex
	since time.Time
	bytes uint64
	// known is set when there was time to measure.
	known   bool
	bitrate float64
}

// measure returns the bits a second between the last two looks that were rateSpan apart;
// nil before there were any.
func (r *rate) measure(now time.Time, bytes uint64) *float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch d := now.Sub(r.since); {
	case r.since.IsZero():
		r.since, r.bytes = now, bytes
	case d >= rateSpan:
		r.bitrate, r.known = float64(bytes-r.bytes)*8/d.Seconds(), true
		r.since, r.bytes = now, bytes
	}
	if !r.known {
		return nil
	}
	v := r.bitrate
	return &v
}

// link describes the way to the peer: what the kernel knows, and what arrived here or,
// from one who sends media, what left. A kernel that is the receiver of a TCP connection
// does not know what was sent twice.
func (s *socket) link(sending bool) media.Link {
	l := tcpLink(rawConn(s.Conn), sending)
	bytes := s.received.Load()
	if sending {
		bytes = s.sent.Load()
	}
	l.Bitrate = s.rate.measure(time.Now(), bytes)
	return l
}

// rawConn finds the TCP connection below; nil if there is none.
func rawConn(nc net.Conn) syscall.RawConn {
	if c, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = c.NetConn()
	}
	c, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// Link describes the way to the encoder; it implements media.Linked.
func (r *PublishRequest) Link() media.Link { return r.socket.link(false) }

// Link describes the way to the player; it implements media.Linked.
func (r *PlayRequest) Link() media.Link { return r.socket.link(true) }

// Link describes the way to the server; it implements media.Linked.
func (p *Publisher) Link() media.Link {
	p.mu.Lock()
	on := p.on
	p.mu.Unlock()
	return on.client.socket.link(true)
}

// Link describes the way to the server; it implements media.Linked.
func (p *Player) Link() media.Link { return p.socket.link(false) }
