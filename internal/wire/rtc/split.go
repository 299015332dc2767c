package rtc

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"onair/internal/wire/rtc/egress"
)

// splitUDP is the UDP port as publishers' sessions see it: what is of viewers is taken out.
type splitUDP struct {
	*net.UDPConn
	egress *egress.Engine
}

// ReadFromAddrPort is what the library reads with.
func (c splitUDP) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err == nil && c.egress.Receive(b[:n], from) {
			continue
		}
		return n, from, err
	}
}

// WriteToAddrPort is what the library writes with.
func (c splitUDP) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return c.WriteToUDPAddrPort(b, to)
}

// ReadFrom implements net.PacketConn.
func (c splitUDP) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(b)
	return n, net.UDPAddrFromAddrPort(from), err
}

// acceptPause is how long no connection is accepted after one could not be.
const acceptPause = 100 * time.Millisecond

// splitTCP is the TCP port as publishers' sessions see it. Whom a connection is for is in
// its first packet.
type splitTCP struct {
	net.Listener
	egress *egress.Engine
	rest   chan net.Conn
	done   chan struct{}
	once   sync.Once
	all    sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // of viewers, and those whose first packet is waited for
}

func newSplitTCP(ln net.Listener, e *egress.Engine) *splitTCP {
	s := &splitTCP{Listener: ln, egress: e, rest: make(chan net.Conn), done: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	s.all.Go(s.run)
	return s
}

// run accepts connections until the listener is closed.
func (s *splitTCP) run() {
	for {
		conn, err := s.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			s.once.Do(func() { close(s.done) })
			return
		}
		if err != nil { // such as too many open files
			select {
			case <-time.After(acceptPause):
				continue
			case <-s.done:
				return
			}
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.all.Go(func() { s.sort(conn) })
	}
}

// sort reads the first packet of a connection and finds out whose it is.
func (s *splitTCP) sort(conn net.Conn) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
	}()
	var first [512]byte
	if err := conn.SetReadDeadline(time.Now().Add(firstCheckTime)); err != nil {
		conn.Close()
		return
	}
	n, err := egress.ReadPacket(conn, first[:])
	if err != nil {
		conn.Close()
		return
	}
	if ufrag, ok := egress.Ufrag(first[:n]); ok && s.egress.Knows(ufrag) {
		s.egress.ServeStream(conn, first[:n])
		return
	}
	again := append([]byte{byte(n >> 8), byte(n)}, first[:n]...)
	select {
	case s.rest <- &readAgain{Conn: conn, first: again}:
	case <-s.done:
		conn.Close()
	}
}

// Accept implements net.Listener.
func (s *splitTCP) Accept() (net.Conn, error) {
	select {
	case c := <-s.rest:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It closes the connections of viewers.
func (s *splitTCP) Close() error {
	err := s.Listener.Close()
	s.once.Do(func() { close(s.done) })
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.all.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// readAgain is a connection whose beginning was read.
type readAgain struct {
	net.Conn
	first []byte
}

// Read implements net.Conn.
func (c *readAgain) Read(b []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
