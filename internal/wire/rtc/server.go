package rtc

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/wire/rtc/egress"
)

const (
	// stopTime is how long sessions have to end when the server stops.
	stopTime = 4 * time.Second
	// tcpReadQueue and tcpWriteBuffer bound what waits for and from one TCP connection, in
	// packets and bytes.
	tcpReadQueue   = 64
	tcpWriteBuffer = 256 << 10
)

// Handler takes what clients ask for.
type Handler interface {
	// ServePublish decides on a request, reads its media, and returns when it is over.
	ServePublish(ctx context.Context, r *PublishRequest)
	// ServePlay decides on a viewer, sets what it watches, and returns when it is over.
	ServePlay(ctx context.Context, r *PlayRequest)
}

// Server is a WHIP and WHEP server and the port that their media comes to and leaves.
type Server struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	egress  *egress.Engine
	udp     ice.UDPMux
	tcp     *ice.TCPMuxDefault
	addr    net.Addr
	hosts   *hosts
	links   []string

	mu                  sync.Mutex
	cert                *certificate
	handler             Handler         // nil while Run does not run
	ctx                 context.Context // of the sessions
	serving             sync.WaitGroup
	publishers, viewers *crowd
	sessions            map[string]*PublishRequest // by the id in their URL
	plays               map[string]*PlayRequest    // by the id in their URL
	closed              sync.Once
}

// New opens the UDP and the TCP port of cfg. Media is taken while Run is running.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: log, sessions: map[string]*PublishRequest{}, plays: map[string]*PlayRequest{}}
	var err error
	if s.metrics, err = newMetrics(reg); err != nil {
		return nil, err
	}
	s.publishers, s.viewers = newPublishers(cfg, s.metrics), newViewers(cfg, s.metrics)
	for _, server := range cfg.ICEServers {
		link, err := iceLink(server)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "set", "webrtc-ice-servers", err, "Write stun:host:port or turn:user:password@host:port")
		}
		s.links = append(s.links, link)
	}
	if cfg.Listen == Off {
		s.egress, err = egress.New(nil, reg)
		return s, err
	}
	conn, ln, err := listenBoth(cfg.Listen)
	if err != nil {
		return nil, err
	}
	if s.egress, err = egress.New(conn, reg); err != nil {
		_ = conn.Close()
		_ = ln.Close()
		return nil, err
	}
	logs := loggers{log}.NewLogger("ice")
	at := conn.LocalAddr().(*net.UDPAddr)
	s.addr, s.hosts = at, &hosts{names: cfg.Hosts, local: at.IP, port: at.Port}
	s.udp = webrtc.NewICEUDPMux(logs, splitUDP{conn, s.egress})
	s.tcp = ice.NewTCPMuxDefault(ice.TCPMuxParams{
		Listener: newSplitTCP(&gate{Listener: ln, metrics: s.metrics, from: map[netip.Prefix]int{}}, s.egress),
		Logger:   logs, ReadBufferSize: tcpReadQueue, WriteBufferSize: tcpWriteBuffer,
		FirstStunBindTimeout: firstCheckTime, AliveDurationForConnFromStun: firstCheckTime,
	})
	return s, nil
}

// Addr is where media is received, over UDP and TCP; nil if WebRTC is switched off.
func (s *Server) Addr() net.Addr { return s.addr }

// Close frees the ports of a server that Run was not called for.
func (s *Server) Close() {
	s.closed.Do(func() {
		if s.udp == nil {
			return
		}
		// Errors mean that they are closed.
		_ = s.udp.Close()
		_ = s.tcp.Close()
	})
}

// Run serves sessions until ctx ends. Then it takes no more, ends the context of every
// request, waits for the handlers, closes what is left after some seconds, and frees the
// ports. It returns nil when no session is left.
func (s *Server) Run(ctx context.Context, h Handler) error {
	defer s.Close()
	if s.udp == nil {
		<-ctx.Done()
		return nil
	}
	sessions, cancel := context.WithCancel(ctx)
	defer cancel()
	// What sends to viewers ends after them.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	var loops sync.WaitGroup
	defer loops.Wait()
	defer stop()
	loops.Go(func() { _ = s.egress.Run(sending) }) // it does not fail
	s.mu.Lock()
	s.handler, s.ctx = h, sessions
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.handler = nil
	s.mu.Unlock()
	force := time.AfterFunc(stopTime, func() {
		for _, r := range s.all() {
			r.abort()
		}
		for _, r := range s.allPlays() {
			r.Close(nil)
		}
	})
	defer force.Stop()
	s.serving.Wait()
	return nil
}

func (s *Server) all() []*PublishRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*PublishRequest, 0, len(s.sessions))
	for _, r := range s.sessions {
		out = append(out, r)
	}
	return out
}

// register makes an accepted session known by the id of its URL.
func (s *Server) register(r *PublishRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[r.id] = r
}

func (s *Server) unregister(r *PublishRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, r.id)
}

func (s *Server) session(id string) *PublishRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}
