package rtc

import (
	"context"
	"crypto/subtle"
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
)

// crowd counts those who publish, or those who watch. The server's lock guards it.
type crowd struct {
	limit, perAddress int
	gauge             prometheus.Gauge
	n                 int
	from              map[netip.Prefix]int

	// op is what they do and who what they are, in errors. away, full and crowded are what
	// they can do about the three reasons to be turned away.
	op, who             string
	away, full, crowded string
}

func newPublishers(c Config, m *metrics) *crowd {
	return &crowd{
		limit: c.MaxSessions, perAddress: c.MaxPerAddress, gauge: m.sessions, from: map[netip.Prefix]int{},
		op: "publish over WebRTC", who: "sessions", away: "Try again in a moment",
		full: "Try again later, or raise webrtc-max-sessions", crowded: "Close some, or raise webrtc-max-per-address",
	}
}

func newViewers(c Config, m *metrics) *crowd {
	return &crowd{
		limit: c.MaxViewers, perAddress: c.MaxViewersPerAddress, gauge: m.viewers, from: map[netip.Prefix]int{},
		op: "watch over WebRTC", who: "viewers", away: "Try again in a moment, or watch over HLS",
		full: "Watch over HLS, or raise webrtc-max-viewers", crowded: "Watch over HLS, or raise webrtc-max-viewers-per-address",
	}
}

// enter counts one more; the error says why it is one too many.
func (s *Server) enter(c *crowd, from netip.Prefix) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.handler == nil:
		return fault.New(fault.Unavailable, c.op, "", "the server is starting or stopping, or WebRTC is switched off", c.away)
	case c.n >= c.limit:
		s.metrics.rejected.WithLabelValues(reasonSessions).Inc()
		return fault.New(fault.Unavailable, c.op, "", "the server has as many WebRTC "+c.who+" as it takes", c.full)
	case c.from[from] >= c.perAddress:
		s.metrics.rejected.WithLabelValues(reasonAddress).Inc()
		return fault.New(fault.TooMany, c.op, "", "your address has as many WebRTC "+c.who+" as one may have", c.crowded)
	}
	c.n++
	c.from[from]++
	c.gauge.Inc()
	return nil
}

func (s *Server) leave(c *crowd, from netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.n--
	if c.from[from]--; c.from[from] <= 0 {
		delete(c.from, from)
	}
	c.gauge.Dec()
}

// serve hands one that was entered to the handler by run, and lets it leave at its end. If
// there is no handler any more it has left, too.
func (s *Server) serve(c *crowd, from netip.Prefix, run func(ctx context.Context, h Handler)) error {
	s.mu.Lock()
	h, ctx := s.handler, s.ctx
	if h != nil {
		s.serving.Add(1)
	}
	s.mu.Unlock()
	if h == nil {
		s.leave(c, from)
		return fault.New(fault.Unavailable, c.op, "", "the server is stopping", "Try again in a moment")
	}
	go func() {
		defer s.serving.Done()
		defer s.leave(c, from)
		run(ctx, h)
	}()
	return nil
}

// mayChange refuses who may not change a session: its URL is a secret that only its maker
// knows, and who made it with a bearer token has to show that as well.
func mayChange(r *http.Request, op, token string, byBearer bool) error {
	shown := bearer(r)
	switch {
	case shown == "" && byBearer:
		return fault.New(fault.Unauthorized, op, "", "the bearer token is missing", "Send the one that the session was made with")
	case shown != "" && subtle.ConstantTimeCompare([]byte(shown), []byte(token)) != 1:
		return fault.New(fault.Forbidden, op, "", "the bearer token is another one", "Send the one that the session was made with")
	}
	return nil
}
