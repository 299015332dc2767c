package rtc

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
