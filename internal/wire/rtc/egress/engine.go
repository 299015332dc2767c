package egress

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"onair/internal/fault"
)

// maxLoops bounds the loops that send.
const maxLoops = 16

// Engine sends to all viewers of a port.
type Engine struct {
	conn    *net.UDPConn
	v6      bool
	metrics *metrics
	loops   []*loop

	mu      sync.RWMutex
	byUfrag map[string]*Session
	byAddr  map[netip.AddrPort]*Session
	next    int
}

// New returns an engine that sends through conn. It reads nothing: whoever reads conn
// calls Receive.
func New(conn *net.UDPConn, reg prometheus.Registerer) (*Engine, error) {
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	e := &Engine{conn: conn, metrics: m, byUfrag: map[string]*Session{}, byAddr: map[netip.AddrPort]*Session{}}
	if conn == nil {
		return e, nil
	}
	if at, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		e.v6 = at.IP.To4() == nil
	}
	for range min(runtime.GOMAXPROCS(0), maxLoops) {
		e.loops = append(e.loops, newLoop(e))
	}
	return e, nil
}

// Run sends until ctx ends. conn must be open as long.
func (e *Engine) Run(ctx context.Context) error {
	var all errgroup.Group
	for _, l := range e.loops {
		all.Go(func() error {
			l.run(ctx)
			return nil
		})
	}
	return all.Wait()
}

// NewFan returns a fan for the viewers of this engine.
func (e *Engine) NewFan(o FanOptions) *Fan { return &Fan{options: o, metrics: e.metrics} }

// Receive takes a datagram if it is of a viewer's session, and reports that. It keeps
// nothing of b.
func (e *Engine) Receive(b []byte, from netip.AddrPort) bool {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if isCheck(b) {
		m, ufrag, ok := parseCheck(b)
		if !ok {
			return false
		}
		s := e.session(ufrag)
		if s == nil {
			return false
		}
		s.check(m, ufrag, from, nil)
		return true
	}
	e.mu.RLock()
	s := e.byAddr[from]
	e.mu.RUnlock()
	if s == nil {
		return false
	}
	s.receive(b)
	return true
}

// Knows reports whether a session has a user fragment of ICE.
func (e *Engine) Knows(ufrag string) bool { return e.session(ufrag) != nil }

func (e *Engine) session(ufrag string) *Session {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.byUfrag[ufrag]
}

// locate makes an address known as that of a session; the session forgets its oldest one
// if it has too many.
func (e *Engine) locate(s *Session, at netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.byAddr[at]
	if old == s {
		return
	}
	if len(s.addrs) >= maxAddresses {
		// The oldest goes, so that a client that roams is not lost.
		delete(e.byAddr, s.addrs[0])
		s.addrs = s.addrs[1:]
	}
	if old != nil {
		old.forget(at)
	}
	s.addrs = append(s.addrs, at)
	e.byAddr[at] = s
}

// NewSession makes a session known, so that checks for it are answered. Run must be called
// afterwards.
func (e *Engine) NewSession(p Params) (*Session, error) {
	s := &Session{engine: e, params: p, reached: make(chan struct{}), pipe: newPipe()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.pipe.session = s
	s.pwds = map[string]string{p.Ufrag: p.Pwd}
	s.lastHeard.Store(time.Now().UnixNano())
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.loops) == 0 {
		return nil, fault.New(fault.Unavailable, "watch over WebRTC", "", "WebRTC is switched off", "Watch over HLS")
	}
	s.loop = e.loops[e.next%len(e.loops)]
	e.next++
	e.byUfrag[p.Ufrag] = s
	return s, nil
}

// release forgets a session.
func (e *Engine) release(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for u := range s.pwds {
		delete(e.byUfrag, u)
	}
	for _, a := range s.addrs {
		delete(e.byAddr, a)
	}
	s.addrs = nil
}
