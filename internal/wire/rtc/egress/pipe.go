package egress

import (
	"net"
	"time"

	"github.com/pion/transport/v4/packetio"
)

// pipe is the datagrams of a session's handshake as a connection.
type pipe struct {
	session *Session
	in      *packetio.Buffer
}

func newPipe() *pipe {
	p := &pipe{in: packetio.NewBuffer()}
	p.in.SetLimitCount(handshakePackets)
	p.in.SetLimitSize(handshakeBytes)
	return p
}

// put adds a datagram; false means that too many wait.
func (p *pipe) put(b []byte) bool {
	_, err := p.in.Write(b)
	return err == nil
}

// ReadFrom implements net.PacketConn.
func (p *pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.in.Read(b)
	return n, p.remote(), err
}

func (p *pipe) remote() net.Addr {
	if at := p.session.path.Load(); at != nil {
		return net.UDPAddrFromAddrPort(at.addr)
	}
	return &net.UDPAddr{}
}

// WriteTo implements net.PacketConn. Datagrams go to where the viewer is now.
func (p *pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	at := p.session.path.Load()
	if at == nil {
		return 0, errClosed
	}
	at.write(p.session.engine, b)
	return len(b), nil
}

// Close implements net.PacketConn.
func (p *pipe) Close() error { return p.in.Close() }

// LocalAddr implements net.PacketConn.
func (p *pipe) LocalAddr() net.Addr { return p.session.engine.conn.LocalAddr() }

// SetDeadline implements net.PacketConn.
func (p *pipe) SetDeadline(t time.Time) error { return p.in.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (p *pipe) SetReadDeadline(t time.Time) error { return p.in.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn. Nothing is waited for.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }
