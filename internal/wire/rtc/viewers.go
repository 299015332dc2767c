package rtc

import (
	"net/netip"

	"onair/internal/fault"
)

// enterPlay counts a viewer; the error says why it is one too many.
func (s *Server) enterPlay(from netip.Prefix) error {
	const op = "watch over WebRTC"
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.handler == nil:
		return fault.New(fault.Unavailable, op, "", "the server is starting or stopping, or WebRTC is switched off", "Try again in a moment, or watch over HLS")
	case s.viewers >= s.cfg.MaxViewers:
		s.metrics.rejected.WithLabelValues(reasonSessions).Inc()
		return fault.New(fault.Unavailable, op, "", "the server has as many WebRTC viewers as it takes", "Watch over HLS, or raise webrtc-max-viewers")
	case s.viewersFrom[from] >= s.cfg.MaxViewersPerAddress:
		s.metrics.rejected.WithLabelValues(reasonAddress).Inc()
		return fault.New(fault.TooMany, op, "", "your address has as many WebRTC viewers as one may have", "Watch over HLS, or raise webrtc-max-viewers-per-address")
	}
	s.viewers++
	s.viewersFrom[from]++
	s.metrics.viewers.Inc()
	return nil
}

func (s *Server) leavePlay(from netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.viewers--
	if s.viewersFrom[from]--; s.viewersFrom[from] <= 0 {
		delete(s.viewersFrom, from)
	}
	s.metrics.viewers.Dec()
}

// servePlay hands a viewer that was entered to the handler, and lets it leave at its end.
func (s *Server) servePlay(r *PlayRequest, from netip.Prefix) error {
	s.mu.Lock()
	h, ctx := s.handler, s.ctx
	if h != nil {
		s.serving.Add(1)
	}
	s.mu.Unlock()
	if h == nil {
		return fault.New(fault.Unavailable, "watch over WebRTC", "", "the server is stopping", "Try again in a moment")
	}
	go func() {
		defer s.serving.Done()
		defer s.leavePlay(from)
		h.ServePlay(ctx, r)
		r.Close(nil)
		<-r.done
	}()
	return nil
}

// registerPlay makes an accepted session known by the id of its URL.
func (s *Server) registerPlay(r *PlayRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plays[r.id] = r
}

func (s *Server) unregisterPlay(r *PlayRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.plays, r.id)
}

func (s *Server) play(id string) *PlayRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plays[id]
}

func (s *Server) allPlays() []*PlayRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*PlayRequest, 0, len(s.plays))
	for _, r := range s.plays {
		out = append(out, r)
	}
	return out
}
