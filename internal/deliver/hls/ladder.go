package hls

import (
	"context"
	"slices"
	"strings"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/deliver/reply"
	"onair/internal/fault"
	"onair/internal/media"
)

// Ladder knows what can be made of a live stream besides what its publisher sends.
type Ladder interface {
	// Offers lists it, best picture first. It is called for each multivariant playlist.
	Offers(streamID string) []media.Offer
	// Want says that somebody asks for a rendition now, and never waits. It is called with
	// each request of a playlist or of media. Its error is a fault: NotFound if there is no
	// such offer, TooMany if there is no room, Unavailable if it cannot be made.
	Want(streamID, rendition string) error
}

// noLadder makes nothing.
type noLadder struct{}

func (noLadder) Offers(string) []media.Offer { return nil }

func (noLadder) Want(_, rendition string) error {
	return fault.New(fault.NotFound, "make rendition", rendition, "nothing is made of streams here", "")
}

// offers are what belongs in the multivariant playlist besides what the publisher sends.
func (h *Handler) offers(s *pack.Stream) (list []media.Offer) {
	if s.Ended() {
		return nil
	}
	for _, o := range h.ladder.Offers(s.Name()) {
		if !o.Listed || o.Track == nil || !reply.WellFormed(o.Track.Rendition) {
			continue
		}
		if r, ok := s.Rendition(o.Track.Rendition); ok && !r.Derived() {
			continue // the publisher sends it
		}
		list = append(list, o)
	}
	return list
}

// wanted returns a rendition that is made as long as somebody asks for it, and waits for it
// where there is nothing of it now. r is nil if there never was. Who follows its playlist
// already gets that at once, with gaps for as long as nothing comes: players look for another
// rendition then, and must not be told that this one is no more. Nor is anybody while it
// lists media, which somebody may play who does not say how far he is.
func (h *Handler) wanted(ctx context.Context, a *Answer, s *pack.Stream, r *pack.Rendition, name string, follows bool) (*pack.Rendition, *problem) {
	if r != nil {
		name = r.Name()
	} else {
		name = strings.Clone(name) // the ladder may keep it
	}
	err := h.ladder.Want(s.Name(), name)
	switch {
	case r != nil && (follows || s.Ended() || r.Snapshot().Flows()):
		return r, nil
	case err != nil:
		return unmade(r, err)
	}
	crowd := h.viewers.Of(s)
	if !h.hold(crowd) {
		return nil, problemBusy
	}
	defer h.release(crowd)
	expired := a.startTimer(h.cfg.HoldRendition)
	defer a.timer.Stop()
	for pulses := 0; ; {
		changed := s.Changed()
		var next <-chan struct{}
		if r, _ = s.Rendition(name); r != nil {
			snap := r.Snapshot()
			if snap.Ended || snap.Flows() && (pulses >= catchUp || near(s, snap)) {
				return r, nil
			}
			next = snap.Next()
		} else if s.Ended() {
			return nil, problemResource
		}
		select {
		case <-changed:
		case <-next:
		case <-pulse(s):
			if r != nil && r.Snapshot().Flows() {
				pulses++
			}
			if err := h.ladder.Want(s.Name(), name); err != nil {
				return unmade(r, err)
			}
		case <-expired:
			h.m.expired.Inc()
			return instead(r, problemStarting)
		case <-ctx.Done():
			return nil, problemStarting // nobody reads it
		}
	}
}

// catchUp is for how many parts of the source a rendition is held that has begun where players
// of other renditions are, and has not come to where the source is.
const catchUp = 2

// near tells whether a rendition is about as far as what the publisher sends.
func near(s *pack.Stream, snap *pack.Snapshot) bool {
	slack := time.Second
	if s.PartHoldBack() == 0 {
		slack = time.Duration(s.TargetDuration()) * time.Second
	}
	for _, r := range s.Renditions() {
		if !r.Derived() {
			return endOf(r.Snapshot()).Sub(endOf(snap)) <= slack
		}
	}
	return true
}

// pulse is closed when there is more of what the publisher sends.
func pulse(s *pack.Stream) <-chan struct{} {
	for _, r := range s.Renditions() {
		if !r.Derived() {
			return r.Snapshot().Next()
		}
	}
	return nil
}

// unmade is what becomes of a request for a rendition that is not made, and why.
func unmade(r *pack.Rendition, err error) (*pack.Rendition, *problem) {
	if fault.Is(err, fault.NotFound) {
		if r == nil {
			return nil, problemResource
		}
		return r, nil // it is in the ladder no more; its playlist goes on with gaps
	}
	p := problemOf(err)
	p.retry = retryLater
	return instead(r, p)
}

// instead returns a rendition that still lists media, or else the problem with it.
func instead(r *pack.Rendition, p *problem) (*pack.Rendition, *problem) {
	if r != nil && slices.ContainsFunc(r.Snapshot().Segments, func(seg *pack.Segment) bool { return !seg.Gap }) {
		return r, nil
	}
	return nil, p
}

// frames serves the playlist of a rendition's key frames.
func (h *Handler) frames(ctx context.Context, req Request, a *Answer, s *pack.Stream, t target) bool {
	if !h.ready(ctx, a, s, h.cfg.HoldPlaylist) {
		return a.problem(problemBeginning)
	}
	r, ok := s.Rendition(t.rendition)
	if !ok || r.Kind() != media.Video {
		return a.problem(problemResource)
	}
	if r.Derived() {
		_ = h.ladder.Want(s.Name(), r.Name())
	}
	if !h.viewers.Of(s).See(t.session, time.Now()) {
		h.m.uncounted.Inc()
	}
	zip := reply.AcceptsGzip(req.AcceptEncoding)
	return a.playlist(kindPlaylist, h.playlist(s, r, r.Snapshot(), formFrames, zip), zip, cacheRevalidate)
}
