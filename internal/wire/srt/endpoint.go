package srt

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// socketBuffer is what we ask the kernel to keep for us in either direction.
	socketBuffer = 4 << 20
	// readPause is the wait after a failure to read that is not the end.
	readPause = 10 * time.Millisecond
)

// packetConn is a UDP socket.
type packetConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// endpoint is one socket with the connections on it: it reads for all of them and keeps
// their time.
type endpoint struct {
	pc      packetConn
	buffers payloads
	// onHandshake takes handshakes; it is called in the goroutine that reads.
	onHandshake func(h header, body []byte, from netip.AddrPort, now time.Time)

	mu    sync.Mutex
	conns map[uint32]*conn
	// busy is told when there is a first connection to keep time for.
	busy chan struct{}
	done chan struct{}
}

func newEndpoint(pc packetConn) *endpoint {
	if c, ok := pc.(interface {
		SetReadBuffer(n int) error
		SetWriteBuffer(n int) error
	}); ok {
		// The kernel gives what it may; less works until there is much traffic.
		_ = c.SetReadBuffer(socketBuffer)
		_ = c.SetWriteBuffer(socketBuffer)
	}
	return &endpoint{pc: pc, conns: make(map[uint32]*conn), busy: make(chan struct{}, 1), done: make(chan struct{})}
}

// run serves the socket until it is closed.
func (e *endpoint) run() {
	var timing sync.WaitGroup
	timing.Go(e.time)
	e.read()
	close(e.done)
	timing.Wait()
}

func (e *endpoint) read() {
	b := make([]byte, 2048)
	for {
		n, from, err := e.pc.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// A connected socket hears that nobody is at the other port; that passes.
			<-time.After(readPause)
			continue
		}
		e.packet(b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), time.Now())
	}
}

func (e *endpoint) packet(b []byte, from netip.AddrPort, now time.Time) {
	h, body, ok := parseHeader(b)
	if !ok {
		return
	}
	if h.control && h.typ == ctrlHandshake {
		e.onHandshake(h, body, from, now)
		return
	}
	e.mu.Lock()
	c := e.conns[h.dest]
	e.mu.Unlock()
	// Packets that are not from the peer are nobody's.
	if c != nil && c.peer == from {
		c.packet(h, body, now)
	}
}

// time ticks all connections while there are any.
func (e *endpoint) time() {
	var conns []*conn
	for {
		select {
		case <-e.busy:
		case <-e.done:
			return
		}
		ticker := time.NewTicker(tick)
		for {
			e.mu.Lock()
			conns = conns[:0]
			for _, c := range e.conns {
				conns = append(conns, c)
			}
			e.mu.Unlock()
			if len(conns) == 0 {
				break
			}
			select {
			case now := <-ticker.C:
				for _, c := range conns {
					c.tick(now)
				}
			case <-e.done:
				ticker.Stop()
				return
			}
		}
		ticker.Stop()
		clear(conns[:cap(conns)])
	}
}

func (e *endpoint) add(c *conn) {
	e.mu.Lock()
	e.conns[c.id] = c
	e.mu.Unlock()
	notify(e.busy)
}

func (e *endpoint) remove(c *conn) {
	e.mu.Lock()
	delete(e.conns, c.id)
	e.mu.Unlock()
}

// taken reports whether a connection has the id, which 0 is for none.
func (e *endpoint) taken(id uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return id == 0 || e.conns[id] != nil
}

// send writes datagrams. One that cannot be sent is lost, as any may be.
func (e *endpoint) send(peer netip.AddrPort, datagrams ...[]byte) {
	for _, d := range datagrams {
		_, _ = e.pc.WriteToUDPAddrPort(d, peer)
	}
}

// sendHandshake answers or asks.
func (e *endpoint) sendHandshake(peer netip.AddrPort, dest, timestamp uint32, h *handshake, request bool) []byte {
	b := header{control: true, typ: ctrlHandshake, timestamp: timestamp, dest: dest}.append(make([]byte, 0, 256))
	b = h.append(b, request)
	e.send(peer, b)
	return b
}
