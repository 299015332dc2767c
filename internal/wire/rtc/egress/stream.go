package egress

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// streamBytes bounds what waits to be written to a TCP connection, and streamFull is from
	// where on no picture more is added.
	streamBytes = 512 << 10
	streamFull  = 160 << 10
	// streamWriteTime is how long a write may take, streamReadTime how long nothing may come.
	streamWriteTime = 5 * time.Second
	streamReadTime  = 30 * time.Second
	// maxStreamPacket bounds a packet that is read, in bytes.
	maxStreamPacket = 1600
)

// stream is a TCP connection of a viewer: packets, each behind its length (RFC 4571).
type stream struct {
	conn net.Conn

	mu     sync.Mutex
	buf    []byte
	closed bool
	signal chan struct{}
}

// queue adds a packet; false means that the connection does not take it.
func (s *stream) queue(b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := !s.closed && len(s.buf)+len(b)+2 <= streamBytes
	if ok {
		s.buf = append(binary.BigEndian.AppendUint16(s.buf, uint16(len(b))), b...)
		select {
		case s.signal <- struct{}{}:
		default:
		}
	}
	return ok
}

func (s *stream) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.buf) > streamFull
}

// close ends both directions.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.signal)
		s.conn.Close()
	}
}

// write writes what is queued, until the stream is closed.
func (s *stream) write() {
	defer s.close()
	var spare []byte
	for range s.signal {
		s.mu.Lock()
		out := s.buf
		s.buf = spare[:0]
		s.mu.Unlock()
		if err := s.conn.SetWriteDeadline(time.Now().Add(streamWriteTime)); err != nil {
			return
		}
		if _, err := s.conn.Write(out); err != nil {
			return
		}
		spare = out
	}
}

// ReadPacket reads one packet of a TCP connection into b (RFC 4571).
func ReadPacket(r io.Reader, b []byte) (int, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return 0, err
	}
	size := int(binary.BigEndian.Uint16(n[:]))
	if size > len(b) {
		return 0, io.ErrShortBuffer
	}
	return io.ReadFull(r, b[:size])
}

// ServeStream serves a TCP connection to its end, whose first packet was read already.
func (e *Engine) ServeStream(conn net.Conn, first []byte) {
	s := &stream{conn: conn, signal: make(chan struct{}, 1)}
	defer s.close()
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	var writer sync.WaitGroup
	defer writer.Wait()
	defer s.close()
	writer.Go(s.write)
	var session *Session
	buf := make([]byte, maxStreamPacket)
	for packet := first; ; {
		if isCheck(packet) {
			if m, ufrag, ok := parseCheck(packet); ok {
				if to := e.session(ufrag); to != nil {
					if session == nil {
						session = to
						defer context.AfterFunc(to.ctx, s.close)()
					}
					if to == session {
						to.check(m, ufrag, from, s)
					}
				}
			}
		} else if session != nil {
			session.receive(packet)
		}
		if err := conn.SetReadDeadline(time.Now().Add(streamReadTime)); err != nil {
			return
		}
		n, err := ReadPacket(conn, buf)
		if err != nil {
			return
		}
		packet = buf[:n]
	}
}
