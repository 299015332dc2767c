package rtc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"onair/internal/fault"
)

const (
	// socketBuffer is what the kernel may hold for the UDP port, in bytes.
	socketBuffer = 4 << 20
	// maxTCP and maxTCPPerAddress bound the TCP connections to the port.
	maxTCP           = 2048
	maxTCPPerAddress = 64
	// firstCheckTime is how long a TCP connection may be silent before its first check, and
	// how long one for an unknown session is kept.
	firstCheckTime = 5 * time.Second
	// portTries is how many free ports are tried until one is free for UDP and TCP.
	portTries = 20
	// resolveTime is how long names of Config.Hosts are remembered, and lookupTime how
	// long they may take to be looked up.
	resolveTime = time.Minute
	lookupTime  = 2 * time.Second
	// maxAddresses bounds the addresses that an answer names.
	maxAddresses = 16
)

// listenBoth opens the UDP and the TCP port. With port 0 both get the same free one.
func listenBoth(addr string) (*net.UDPConn, net.Listener, error) {
	_, port, _ := net.SplitHostPort(addr)
	var err error
	for range portTries {
		var lc net.ListenConfig
		var pc net.PacketConn
		if pc, err = lc.ListenPacket(context.Background(), "udp", addr); err != nil {
			return nil, nil, listenFault(addr, err)
		}
		conn := pc.(*net.UDPConn)
		at := conn.LocalAddr().(*net.UDPAddr)
		host, _, _ := net.SplitHostPort(addr)
		var ln net.Listener
		if ln, err = lc.Listen(context.Background(), "tcp", net.JoinHostPort(host, fmt.Sprint(at.Port))); err == nil {
			// The kernel may allow less: then that is what there is.
			_ = conn.SetReadBuffer(socketBuffer)
			_ = conn.SetWriteBuffer(socketBuffer)
			return conn, ln, nil
		}
		_ = conn.Close()
		if port != "0" {
			break
		}
	}
	return nil, nil, listenFault(addr, err)
}

func listenFault(addr string, err error) error {
	const op = "listen for WebRTC on"
	_, port, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		port = addr
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.New(fault.Conflict, op, addr, "port "+port+" is in use (webrtc)", "Use --webrtc :8190 or --webrtc off")
	case errors.Is(err, syscall.EACCES):
		return fault.New(fault.Forbidden, op, addr, "port "+port+" needs more rights (webrtc)", "Use --webrtc :8189 or --webrtc off")
	default:
		return fault.Wrap(fault.Invalid, op, addr, err, "Use --webrtc :8189 or --webrtc off")
	}
}

// gate is a listener that bounds its connections, in all and of an address.
type gate struct {
	net.Listener
	metrics *metrics

	mu   sync.Mutex
	n    int
	from map[netip.Prefix]int
}

// Accept implements net.Listener. What is over a bound is closed.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := prefixOf(c.RemoteAddr().String())
		g.mu.Lock()
		ok := g.n < maxTCP && g.from[from] < maxTCPPerAddress
		if ok {
			g.n++
			g.from[from]++
		}
		g.mu.Unlock()
		if ok {
			g.metrics.tcp.Inc()
			return &gated{Conn: c, gate: g, from: from}, nil
		}
		g.metrics.rejected.WithLabelValues(reasonTCP).Inc()
		c.Close()
	}
}

// gated is a connection that was counted.
type gated struct {
	net.Conn
	gate *gate
	from netip.Prefix
	once sync.Once
}

// Close implements net.Conn.
func (c *gated) Close() error {
	c.once.Do(func() {
		c.gate.mu.Lock()
		defer c.gate.mu.Unlock()
		c.gate.n--
		if c.gate.from[c.from]--; c.gate.from[c.from] <= 0 {
			delete(c.gate.from, c.from)
		}
		c.gate.metrics.tcp.Dec()
	})
	return c.Conn.Close()
}

// prefixOf is what the sessions of one peer are counted by: its address, or for IPv6 the
// network that one customer gets.
func prefixOf(addr string) netip.Prefix {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := ap.Addr().Unmap(), 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// hosts knows the addresses that are told to clients.
type hosts struct {
	names []string
	local net.IP // where the port is bound; unspecified for all interfaces
	port  int

	mu      sync.Mutex
	asOf    time.Time
	present []netip.Addr
}

// addresses returns the configured addresses, names looked up, or those of the
// interfaces. It answers from memory for a minute.
func (h *hosts) addresses(ctx context.Context) []netip.Addr {
	h.mu.Lock()
	if h.present != nil && time.Since(h.asOf) < resolveTime {
		defer h.mu.Unlock()
		return h.present
	}
	h.mu.Unlock()
	var found []netip.Addr
	for _, n := range h.names {
		if a, err := netip.ParseAddr(n); err == nil {
			found = append(found, a.Unmap())
			continue
		}
		lookup, cancel := context.WithTimeout(ctx, lookupTime)
		ips, err := net.DefaultResolver.LookupNetIP(lookup, "ip", n)
		cancel()
		if err == nil {
			for _, ip := range ips {
				found = append(found, ip.Unmap())
			}
		}
	}
	if len(found) == 0 {
		found = h.interfaces()
	}
	slices.SortStableFunc(found, netip.Addr.Compare)
	found = slices.Compact(found)
	found = found[:min(len(found), maxAddresses)]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.present, h.asOf = found, time.Now()
	return found
}

// interfaces returns where the port can be reached on this machine: the address that it
// is bound to, or all but loopback, which serves where there is nothing else.
func (h *hosts) interfaces() []netip.Addr {
	if a, ok := netip.AddrFromSlice(h.local); ok && !a.IsUnspecified() {
		return []netip.Addr{a.Unmap()}
	}
	all, _ := net.InterfaceAddrs() // without interfaces there is loopback
	var out []netip.Addr
	for _, n := range all {
		p, err := netip.ParsePrefix(n.String())
		if err != nil {
			continue
		}
		if a := p.Addr().Unmap(); a.IsGlobalUnicast() {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		out = append(out, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return out
}

// candidates are the values of a=candidate for all addresses: UDP first, TCP behind.
func (h *hosts) candidates(ctx context.Context) []string {
	var out []string
	for i, a := range h.addresses(ctx) {
		// The priorities of RFC 8445, section 5.1.2.1: host candidates, local preference falling.
		local := 65535 - i
		out = append(out,
			fmt.Sprintf("%d 1 udp %d %s %d typ host", i+1, 126<<24|local<<8|255, a, h.port),
			fmt.Sprintf("%d 1 tcp %d %s %d typ host tcptype passive", i+101, 90<<24|local<<8|255, a, h.port))
	}
	return out
}

// announce puts the server's candidates in place of those that an answer has.
func announce(answer string, candidates []string) string {
	var b strings.Builder
	put := false
	for line := range strings.Lines(answer) {
		if strings.HasPrefix(line, "a=candidate:") || strings.HasPrefix(line, "a=end-of-candidates") {
			continue
		}
		b.WriteString(line)
		if !put && strings.HasPrefix(line, "a=ice-pwd:") {
			put = true
			for _, c := range candidates {
				b.WriteString("a=candidate:" + c + "\r\n")
			}
			b.WriteString("a=end-of-candidates\r\n")
		}
	}
	return b.String()
}
