package srt

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	srtnet "github.com/datarhei/gosrt/net"
	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
)

const (
	opListen = "listen for SRT on"
	// secretTime is how long the passphrase may take to be found. Callers wait three
	// seconds for everything.
	secretTime = 2 * time.Second
	// stopTime is how long Run waits for connections to end by themselves.
	stopTime = 3 * time.Second
	// tellPause is the least time between two lines of the log about refused callers:
	// who has a cookie may ask as often as it can send. The metric counts each.
	tellPause = time.Second
)

// Handler takes the requests of a Server. Its methods are called in a goroutine of the
// connection, which is closed when they return. A request that is neither accepted nor
// rejected within three seconds is given up by its caller.
type Handler interface {
	ServePublish(ctx context.Context, r *PublishRequest)
	ServePlay(ctx context.Context, r *PlayRequest)
}

// Secrets tells the passphrase of a stream by its key (publish) or its playback id.
// Empty wants no encryption. An error refuses the caller with the code of its kind.
type Secrets interface {
	Passphrase(ctx context.Context, publish bool, name string) (string, error)
}

// Server accepts SRT connections on one UDP port.
type Server struct {
	cfg     Config
	log     *slog.Logger
	secrets Secrets
	ep      *endpoint // nil if switched off
	cookie  *srtnet.SYNCookie
	metrics *metrics
	start   time.Time
	// Those of a wrong passphrase are told apart: whoever made that mistake looks here.
	calls, passphrases refusals

	// The context and the handler of Run.
	ctx     context.Context
	handler Handler
	serving sync.WaitGroup

	mu      sync.Mutex
	callers map[caller]*calling
	from    map[netip.Prefix]int
	pending int
	// stopping is set when no caller is taken any more.
	stopping bool
}

// caller is what tells the connections apart before they have an id of ours.
type caller struct {
	addr netip.AddrPort
	id   uint32
}

// calling is one of them, from its conclusion to the end of its connection.
type calling struct {
	// answer is what accepted it; it is sent again when the caller asks again. Nil while
	// it waits for the decision.
	answer []byte
	conn   *conn
}

// Listen binds the address of cfg. The server answers when Run is called.
func Listen(cfg Config, secrets Secrets, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if cfg.Listen == Off {
		return listenOn(cfg, nil, secrets, log, reg)
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(context.Background(), "udp", cfg.Listen)
	if err != nil {
		return nil, listenFault(cfg.Listen, err)
	}
	return listenOn(cfg, pc.(*net.UDPConn), secrets, log, reg)
}

// listenOn makes a server of a socket; nil for none.
func listenOn(cfg Config, pc packetConn, secrets Secrets, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	s := &Server{cfg: cfg, log: log, secrets: secrets, start: time.Now(),
		callers: make(map[caller]*calling), from: make(map[netip.Prefix]int)}
	if cfg.Listen != Off {
		s.ep = newEndpoint(pc)
		s.ep.onHandshake = s.handshake
		var err error
		if s.cookie, err = srtnet.NewSYNCookie(pc.LocalAddr().String(), nil); err != nil {
			_ = pc.Close() // nothing was done with it
			return nil, fault.Wrap(fault.Internal, opListen, cfg.Listen, err, "")
		}
	}
	var err error
	if s.metrics, err = newMetrics(reg); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func listenFault(addr string, err error) error {
	_, port, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		port = addr
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.New(fault.Conflict, opListen, addr, "UDP port "+port+" is in use (srt)", "Use --srt :8891 or --srt off")
	case errors.Is(err, syscall.EACCES):
		return fault.New(fault.Forbidden, opListen, addr, "UDP port "+port+" needs more rights (srt)", "Use --srt :8890 or --srt off")
	default:
		return fault.Wrap(fault.Invalid, opListen, addr, err, "Use --srt :8890 or --srt off")
	}
}

// Addr is where the server listens; nil if it is switched off.
func (s *Server) Addr() net.Addr {
	if s.ep == nil {
		return nil
	}
	return s.ep.pc.LocalAddr()
}

// Close frees the address of a server that Run was not called for.
func (s *Server) Close() {
	if s.ep != nil {
		_ = s.ep.pc.Close() // an error means that it is closed
	}
}

// Run serves connections until ctx ends. Then it takes no more, ends the context of every
// request, and closes what is left after some seconds. It returns when no connection is
// left, always nil.
func (s *Server) Run(ctx context.Context, h Handler) error {
	if s.ep == nil {
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.ctx, s.handler = ctx, h

	var reading sync.WaitGroup
	reading.Go(func() {
		s.ep.run()
		cancel()
	})
	<-ctx.Done()
	force := time.AfterFunc(stopTime, s.closeAll)
	defer force.Stop()
	s.mu.Lock()
	s.stopping = true // from here on nothing is added to serving
	s.mu.Unlock()
	s.serving.Wait()
	s.Close()
	reading.Wait()
	return nil
}

func (s *Server) closeAll() {
	s.mu.Lock()
	var conns []*conn
	for _, c := range s.callers {
		if c.conn != nil {
			conns = append(conns, c.conn)
		}
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.close()
	}
}

// handshake takes the handshakes that callers send. It keeps nothing before a caller has
// shown that it gets what is sent to its address.
func (s *Server) handshake(h header, body []byte, from netip.AddrPort, now time.Time) {
	if h.dest != 0 {
		return
	}
	hs, err := parseHandshake(body)
	if err != nil {
		s.metrics.reject(reasonHandshake)
		return
	}
	switch hs.typ {
	case hsInduction:
		if hs.version < 4 {
			return
		}
		// 4.3.1.1; the answer has the size of the question.
		answer := &handshake{version: 5, ext: hsMagic, isn: hs.isn, mtu: min(hs.mtu, mtu), window: maxWindow, typ: hsInduction,
			socketID: hs.socketID, cookie: s.cookie.Get(from.String()), peer: from.Addr()}
		s.ep.sendHandshake(from, hs.socketID, uint32(now.Sub(s.start).Microseconds()), answer, false)
	case hsConclusion:
		if !s.cookie.Verify(hs.cookie, from.String()) {
			s.metrics.reject(reasonCookie)
			return
		}
		s.conclude(h, hs, from, now)
	}
}

// conclude begins to decide about a caller.
func (s *Server) conclude(h header, hs *handshake, from netip.AddrPort, now time.Time) {
	who := caller{from, hs.socketID}
	s.mu.Lock()
	if c := s.callers[who]; c != nil {
		answer := c.answer
		s.mu.Unlock()
		if answer != nil {
			// The first one was lost. Its clock is the connection's.
			answer = bytes.Clone(answer)
			binary.BigEndian.PutUint32(answer[8:], c.conn.timestamp(now))
			s.ep.send(from, answer)
		}
		return
	}
	net := prefixOf(from.Addr())
	code, reason := check(hs), reasonProtocol
	if code == 0 {
		switch {
		case len(s.callers) >= s.cfg.MaxConnections:
			code, reason = rejectOverload, reasonConnections
		case s.from[net] >= s.cfg.MaxPerAddress:
			code, reason = rejectOverload, reasonAddress
		case s.pending >= s.cfg.MaxPending:
			code, reason = rejectBacklog, reasonPending
		}
	}
	id, err := parseStreamID(hs.sid)
	if err != nil && code == 0 {
		code, reason = rejectBadRequest, reasonStreamID
	}
	if code != 0 || s.stopping {
		s.mu.Unlock()
		if code != 0 {
			s.metrics.reject(reason)
			s.refuse(from, hs, code)
			why := refuse("take an SRT connection", "", code).fault.Cause
			s.calls.tell(s.log, now, from, errors.Join(err, why))
		}
		return
	}
	entry := &calling{}
	s.callers[who] = entry
	s.from[net]++
	s.pending++
	s.metrics.connections.Inc()
	r := &request{s: s, who: who, entry: entry, hs: hs.clone(), id: id, timestamp: h.timestamp, arrived: now}
	s.serving.Go(func() {
		defer s.leave(r, net)
		s.serve(r)
	})
	s.mu.Unlock()
}

// check returns the code that a handshake is refused with for what it is; 0 for a good one.
func check(hs *handshake) uint32 {
	e := hs.extension
	switch {
	case hs.version != 5:
		return rejectVersion
	case e == nil, hs.socketID == 0, hs.mtu < minMTU, hs.window < 2:
		return rejectRogue
	case e.version < minVersion:
		return rejectVersion
	case e.flags&flagStream != 0:
		return rejectMessageAPI
	case hs.mode != "" && hs.mode != "live":
		return rejectCongestion
	case hs.group:
		return rejectGroup
	case e.flags&flagTSBPDSend == 0 || e.flags&flagTSBPDRecv == 0 || e.flags&flagRexmit == 0:
		return rejectRogue
	}
	return 0
}

// refuse answers a conclusion with a code.
func (s *Server) refuse(to netip.AddrPort, hs *handshake, code uint32) {
	answer := &handshake{version: 5, isn: hs.isn, mtu: hs.mtu, window: hs.window, typ: code,
		socketID: hs.socketID, cookie: hs.cookie, peer: to.Addr()}
	s.ep.sendHandshake(to, hs.socketID, uint32(time.Since(s.start).Microseconds()), answer, false)
}

// leave takes a request out of all that counts it. Its place is given back last: whoever
// sees it free finds nothing of the request, and all of it in the metrics.
func (s *Server) leave(r *request, net netip.Prefix) {
	s.decided(r)
	if r.conn != nil {
		s.ep.remove(r.conn)
		s.metrics.count(r.conn)
	}
	s.metrics.connections.Dec()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.callers, r.who)
	if s.from[net]--; s.from[net] <= 0 {
		delete(s.from, net)
	}
}

// decided ends the time that a request counts as pending.
func (s *Server) decided(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.decided {
		r.decided = true
		s.pending--
	}
}

// newID draws an id for a connection.
func (e *endpoint) newID() uint32 {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		if id := binary.BigEndian.Uint32(b[:]) >> 2; !e.taken(id) {
			return id
		}
	}
}

// prefixOf is what the connections of one peer are counted by: its address, or for
// IPv6 the network that one customer gets.
func prefixOf(ip netip.Addr) netip.Prefix {
	bits := 32
	if ip = ip.Unmap(); ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
