package steer

import (
	"context"
	"time"
)

const (
	// measure is how often the load is looked at. What counts is its mean over a few looks.
	measure = 2 * time.Second
	weight  = 0.3
	// busy is how long the load must be too high before anybody is moved, and eased how
	// long it must be lower by relief before anybody comes back.
	busy   = 6 * time.Second
	eased  = 20 * time.Second
	relief = 0.15
	// stepUp and stepDown are by how much pressure changes then, each stepTime.
	stepUp   = 0.1
	stepDown = 0.05
	stepTime = 10 * time.Second
	most     = 2.0
)

// gauge follows the load. One goroutine has it.
type gauge struct {
	mean    float64
	begun   bool
	high    time.Time // since when the load is too high
	low     time.Time // since when it is low
	stepped time.Time
}

// Run measures the load until ctx ends.
func (s *Steer) Run(ctx context.Context) error {
	ticker := time.NewTicker(measure)
	defer ticker.Stop()
	var g gauge
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			if load, ok := s.meter(); ok {
				s.feel(&g, load, now)
			}
		}
	}
}

// feel takes in a reading of the load.
func (s *Steer) feel(g *gauge, load float64, now time.Time) {
	if !g.begun {
		g.mean, g.begun = load, true
	}
	g.mean += weight * (load - g.mean)
	s.load.Set(g.mean)
	if s.cfg.MaxLoad <= 0 {
		return
	}
	g.high = since(g.high, g.mean >= s.cfg.MaxLoad, now)
	g.low = since(g.low, g.mean < s.cfg.MaxLoad-relief, now)
	if now.Sub(g.stepped) < stepTime {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.pressure
	switch {
	case !g.high.IsZero() && now.Sub(g.high) >= busy:
		s.pressure = min(most, s.pressure+stepUp)
	case !g.low.IsZero() && now.Sub(g.low) >= eased:
		s.pressure = max(0, s.pressure-stepDown)
	}
	if s.pressure < stepDown/2 {
		s.pressure = 0 // what is left of adding and taking away
	}
	if s.pressure == was {
		return
	}
	g.stepped = now
	s.share.Set(min(1, s.pressure))
	switch {
	case was == 0:
		s.log.Warn("the server is busy: viewers are moved from WebRTC to HLS, a few at a time", "load", g.mean)
	case s.pressure == 0:
		s.log.Info("the server has room again: viewers may come back to WebRTC", "load", g.mean)
	}
}

// since returns since when something is so, the zero time if it is not.
func since(from time.Time, is bool, now time.Time) time.Time {
	switch {
	case !is:
		return time.Time{}
	case from.IsZero():
		return now
	default:
		return from
	}
}
