// Package shortcut is a short HTTP/1.1 loop in front of net/http. It answers the
// requests that are nearly all there are, plain GETs of playlists, parts, segments and
// initialization sections, for about half of what net/http takes for them. A connection
// on which anything else comes is handed to net/http for good, with all bytes that were
// read and not answered: the loop refuses nothing, and guesses nothing.
//
// Answers are those of package hls, which net/http serves too, so that the loop can be
// left out without any difference but in cost. docs/decisions/0005-short-http-loop.md
// has the figures.
package shortcut

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/hls"
)

// Answerer finds answers: an hls.Handler.
type Answerer interface {
	// Answer fills in a, and reports false if ctx ended meanwhile. It keeps nothing of
	// the request, whose strings are of a buffer that is used again.
	Answer(ctx context.Context, r hls.Request, a *hls.Answer) bool
}

// Server serves connections.
type Server struct {
	cfg      Config
	listener net.Listener
	answerer Answerer
	log      *slog.Logger
	rest     *rest
	date     atomic.Pointer[dateLine]
	out      sync.Pool // of *output

	draining atomic.Bool
	mu       sync.Mutex
	open     map[*conn]struct{}
	wg       sync.WaitGroup

	requests, expired prometheus.Counter
	handed            [verdicts]prometheus.Counter
}

// New returns a Server for the connections of l. Its metrics are registered with reg
// (nil for none).
func New(cfg Config, l net.Listener, a Answerer, log *slog.Logger, reg prometheus.Registerer) *Server {
	s := &Server{
		cfg: cfg, listener: l, answerer: a, log: log,
		open: map[*conn]struct{}{},
		rest: &rest{addr: l.Addr(), conns: make(chan net.Conn), closed: make(chan struct{})},
		out:  sync.Pool{New: func() any { return new(output) }},
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_http_short_requests_total", Help: "Requests answered by the short loop.",
		}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_http_short_expired_total", Help: "Connections closed by the short loop because a request, or the next one, took too long.",
		}),
	}
	handed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "onair_http_handed_over_total", Help: "Connections handed over by the short loop, by what it left to net/http.",
	}, []string{"reason"})
	for v := strange; v < verdicts; v++ {
		s.handed[v] = handed.WithLabelValues(reasons[v])
	}
	if reg != nil {
		reg.MustRegister(s.requests, s.expired, handed)
	}
	return s
}

// Rest returns the listener of the connections that are for net/http: those of which Run
// read what it leaves to others.
func (s *Server) Rest() net.Listener { return s.rest }

// Run serves connections until ctx ends. Then it closes the listener and those that are idle, lets the others finish their answers for Config.DrainTime, closes the
// rest, and waits for all.
func (s *Server) Run(ctx context.Context) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // answers outlive ctx
	defer stop()
	unhook := context.AfterFunc(ctx, func() { s.listener.Close() })
	defer unhook()
	err := s.accept(ctx, serving)
	s.drain(stop)
	return err
}

// accept takes connections until ctx ends. Errors, such as of too many open files, pass.
func (s *Server) accept(ctx, serving context.Context) error {
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		c, err := s.listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			s.log.Warn("connection not accepted", "error", err, "again_in", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, longest)
			continue
		}
		pause = shortest
		s.start(serving, c)
	}
}

func (s *Server) start(ctx context.Context, c net.Conn) {
	sc := newConn(s, c)
	s.mu.Lock()
	s.open[sc] = struct{}{}
	s.mu.Unlock()
	s.wg.Go(func() { sc.serve(ctx) })
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
}

// drain ends all connections.
func (s *Server) drain(stop func()) {
	s.draining.Store(true) // whoever becomes idle from here on closes by itself
	s.each((*conn).closeIdle)
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	timer := time.NewTimer(s.cfg.DrainTime)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		stop()
		_ = s.rest.Close()
		s.each(func(c *conn) { c.Close() })
		<-done
	}
}

func (s *Server) each(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		do(c)
	}
}

// dateLine is a Date header, made once a second.
type dateLine struct {
	second int64
	text   []byte
}

// appendDate appends the Date header.
func (s *Server) appendDate(b []byte, now time.Time) []byte {
	d := s.date.Load()
	if second := now.Unix(); d == nil || d.second != second {
		d = &dateLine{second, now.UTC().AppendFormat([]byte("Date: "), "Mon, 02 Jan 2006 15:04:05 GMT\r\n")}
		s.date.Store(d)
	}
	return append(b, d.text...)
}
