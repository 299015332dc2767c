package rtmp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
)

const (
	// keepAlive is the time between TCP keep-alives.
	keepAlive = 30 * time.Second
	// stopTime is how long Run waits for connections to end by themselves.
	stopTime = 3 * time.Second
	// acceptPause is the wait after a failure to accept, such as too many open files.
	acceptPause = 100 * time.Millisecond
)

// Handler takes the requests of a Server. Its methods are called in the goroutine of
// the connection, which is closed when they return.
type Handler interface {
	ServePublish(ctx context.Context, r *PublishRequest)
	ServePlay(ctx context.Context, r *PlayRequest)
}

// Server accepts RTMP and RTMPS connections.
type Server struct {
	cfg     Config
	log     *slog.Logger
	ln      net.Listener // nil if switched off
	lnTLS   net.Listener // the same, for RTMPS
	tls     *tls.Config
	metrics *metrics
	mixups  mixups

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	from  map[netip.Prefix]int
	// movable are the clients that can be asked to connect again.
	movable map[*session]struct{}
}

type metrics struct {
	connections prometheus.Gauge
	rejected    *prometheus.CounterVec
	received    prometheus.Counter
	sent        prometheus.Counter
	dropped     *prometheus.CounterVec
}

// The reasons of onair_rtmp_rejected_total. A connection counts once.
const (
	reasonConnections = "connections" // over Config.MaxConnections
	reasonAddress     = "address"     // over Config.MaxPerAddress
	reasonHandshake   = "handshake"   // not RTMP
	reasonTLS         = "tls"         // plain RTMP where RTMPS is spoken, or the other way round
	reasonTimeout     = "timeout"     // a phase took too long
	reasonProtocol    = "protocol"    // a rule or a bound of the protocol was broken
	reasonDenied      = "denied"      // whoever took the request said no
)

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onair_rtmp_connections", Help: "RTMP connections that are open."}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_rtmp_rejected_total", Help: "RTMP connections that were closed for a reason of the server's."}, []string{"reason"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_rtmp_received_bytes_total", Help: "Bytes received over RTMP, counted when a connection ends."}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_rtmp_sent_bytes_total", Help: "Bytes sent over RTMP, counted when a connection ends."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_rtmp_dropped_frames_total", Help: "Frames received over RTMP that could not be used, counted when a connection ends."}, []string{"reason"}),
	}
	for _, c := range []prometheus.Collector{m.connections, m.rejected, m.received, m.sent, m.dropped} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register RTMP metrics: %w", err)
		}
	}
	for _, r := range []string{reasonConnections, reasonAddress, reasonHandshake, reasonTLS, reasonTimeout, reasonProtocol, reasonDenied} {
		m.rejected.WithLabelValues(r)
	}
	return m, nil
}

// Listen binds the addresses of cfg. The server accepts connections when Run is called.
// certificates is what RTMPS is served with; it may be nil where that is switched off.
func Listen(cfg Config, certificates *tls.Config, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	s := &Server{cfg: cfg, log: log, conns: make(map[net.Conn]struct{}), from: make(map[netip.Prefix]int),
		movable: make(map[*session]struct{})}
	var err error
	if cfg.Listen != Off {
		if s.ln, err = listen("rtmp", cfg.Listen, ":1935", ":1936"); err != nil {
			return nil, err
		}
	}
	if cfg.ListenTLS != Off {
		if certificates == nil {
			s.Close()
			return nil, fault.New(fault.Invalid, "listen for RTMPS on", cfg.ListenTLS, "there is no certificate",
				"Give --tls-cert and --tls-key, or --rtmps off")
		}
		s.tls = certificates.Clone()
		s.tls.NextProtos = nil // encoders that name a protocol name none that we know
		if s.lnTLS, err = listen("rtmps", cfg.ListenTLS, ":1936", ":1937"); err != nil {
			s.Close()
			return nil, err
		}
	}
	if s.metrics, err = newMetrics(reg); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// listen binds the address of a flag; usual and other are what a fault proposes.
func listen(flag, addr, usual, other string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive}}
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err == nil {
		return ln, nil
	}
	op := "listen for " + strings.ToUpper(flag) + " on"
	_, port, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		port = addr
	}
	propose := func(address string) string { return fmt.Sprintf("Use --%s %s or --%s off", flag, address, flag) }
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New(fault.Conflict, op, addr, "port "+port+" is in use ("+flag+")", propose(other))
	case errors.Is(err, syscall.EACCES):
		return nil, fault.New(fault.Forbidden, op, addr, "port "+port+" needs more rights ("+flag+")", propose(usual))
	default:
		return nil, fault.Wrap(fault.Invalid, op, addr, err, propose(usual))
	}
}

// Addr is where the server listens for RTMP; nil if it is switched off.
func (s *Server) Addr() net.Addr { return addrOf(s.ln) }

// AddrTLS is where the server listens for RTMPS; nil if it is switched off.
func (s *Server) AddrTLS() net.Addr { return addrOf(s.lnTLS) }

func addrOf(ln net.Listener) net.Addr {
	if ln == nil {
		return nil
	}
	return ln.Addr()
}

// Close frees the addresses of a server that Run was not called for.
func (s *Server) Close() {
	for _, ln := range s.listeners() {
		_ = ln.Close() // an error means that it is closed
	}
}

func (s *Server) listeners() (out []net.Listener) {
	for _, ln := range []net.Listener{s.ln, s.lnTLS} {
		if ln != nil {
			out = append(out, ln)
		}
	}
	return out
}

// Run serves connections until ctx ends. Then it accepts no more, ends the context of
// every request, lets the handlers say goodbye, and closes what is left after some
// seconds. It returns when no connection is left; nil if ctx ended it.
func (s *Server) Run(ctx context.Context, h Handler) error {
	listeners := s.listeners()
	if len(listeners) == 0 {
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, s.Close)()

	var accepting, serving sync.WaitGroup
	failed := make([]error, len(listeners))
	for i, ln := range listeners {
		accepting.Go(func() {
			defer cancel()
			failed[i] = s.accept(ctx, ln, h, &serving)
		})
	}
	accepting.Wait()
	force := time.AfterFunc(stopTime, s.closeAll)
	defer force.Stop()
	serving.Wait()
	return errors.Join(failed...)
}

func (s *Server) accept(ctx context.Context, ln net.Listener, h Handler, serving *sync.WaitGroup) error {
	for {
		nc, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				nc.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept RTMP connections: %w", err)
		}
		if err != nil {
			s.log.Warn("cannot accept an RTMP connection", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		from, reason := s.enter(nc)
		if reason != "" {
			// Silently: whoever opens too many connections gets no work done for them. Counted before the client can know.
			s.metrics.rejected.WithLabelValues(reason).Inc()
			nc.Close()
			continue
		}
		var secret *tls.Config
		if ln == s.lnTLS {
			secret = s.tls
		}
		serving.Go(func() {
			defer s.leave(nc, from)
			s.serve(ctx, nc, secret, h)
		})
	}
}

// enter counts a connection; reason is set if it is one too many.
func (s *Server) enter(nc net.Conn) (from netip.Prefix, reason string) {
	from = prefixOf(nc.RemoteAddr())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.conns) >= s.cfg.MaxConnections:
		return from, reasonConnections
	case s.from[from] >= s.cfg.MaxPerAddress:
		return from, reasonAddress
	}
	s.conns[nc] = struct{}{}
	s.from[from]++
	s.metrics.connections.Inc()
	return from, ""
}

func (s *Server) leave(nc net.Conn, from netip.Prefix) {
	nc.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, nc)
	if s.from[from]--; s.from[from] <= 0 {
		delete(s.from, from)
	}
	s.metrics.connections.Dec()
}

func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc := range s.conns {
		nc.Close()
	}
}

// prefixOf is what the connections of one peer are counted by: its address, or for
// IPv6 the network that one customer gets.
func prefixOf(a net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(a.String())
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
