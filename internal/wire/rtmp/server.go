package rtmp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
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

// Server accepts RTMP connections.
type Server struct {
	cfg     Config
	log     *slog.Logger
	ln      net.Listener // nil if switched off
	metrics *metrics

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	from  map[netip.Prefix]int
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
	for _, r := range []string{reasonConnections, reasonAddress, reasonHandshake, reasonTimeout, reasonProtocol, reasonDenied} {
		m.rejected.WithLabelValues(r)
	}
	return m, nil
}

// Listen binds the address of cfg. The server accepts connections when Run is called.
func Listen(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	s := &Server{cfg: cfg, log: log, conns: make(map[net.Conn]struct{}), from: make(map[netip.Prefix]int)}
	if cfg.Listen != Off {
		lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive}}
		ln, err := lc.Listen(context.Background(), "tcp", cfg.Listen)
		if err != nil {
			return nil, listenFault(cfg.Listen, err)
		}
		s.ln = ln
	}
	var err error
	if s.metrics, err = newMetrics(reg); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func listenFault(addr string, err error) error {
	const op = "listen for RTMP on"
	_, port, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		port = addr
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.New(fault.Conflict, op, addr, "port "+port+" is in use (rtmp)", "Use --rtmp :1936 or --rtmp off")
	case errors.Is(err, syscall.EACCES):
		return fault.New(fault.Forbidden, op, addr, "port "+port+" needs more rights (rtmp)", "Use --rtmp :1935 or --rtmp off")
	default:
		return fault.Wrap(fault.Invalid, op, addr, err, "Use --rtmp :1935 or --rtmp off")
	}
}

// Addr is where the server listens; nil if it is switched off.
func (s *Server) Addr() net.Addr {
	if s.ln == nil {
		return nil
	}
	return s.ln.Addr()
}

// Close frees the address of a server that Run was not called for.
func (s *Server) Close() {
	if s.ln != nil {
		_ = s.ln.Close() // an error means that it is closed
	}
}

// Run serves connections until ctx ends. Then it accepts no more, ends the context of
// every request, lets the handlers say goodbye, and closes what is left after some
// seconds. It returns when no connection is left; nil if ctx ended it.
func (s *Server) Run(ctx context.Context, h Handler) error {
	if s.ln == nil {
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, s.Close)()

	var serving sync.WaitGroup
	err := s.accept(ctx, h, &serving)
	cancel()
	force := time.AfterFunc(stopTime, s.closeAll)
	defer force.Stop()
	serving.Wait()
	return err
}

func (s *Server) accept(ctx context.Context, h Handler, serving *sync.WaitGroup) error {
	for {
		nc, err := s.ln.Accept()
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
			// Silently: whoever opens too many connections gets no work done for them.
			nc.Close()
			s.metrics.rejected.WithLabelValues(reason).Inc()
			continue
		}
		serving.Go(func() {
			defer s.leave(nc, from)
			s.serve(ctx, nc, h)
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
