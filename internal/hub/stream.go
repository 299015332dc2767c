package hub

import (
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/media"
)

// SourceFeed is the name of the feed that carries what the publisher sends.
const SourceFeed = "source"

// maxFeeds is the most renditions that the publisher of one stream may send.
const maxFeeds = 8

// Stream is one broadcast, from the first publisher until it ended for good.
type Stream struct {
	hub    *Hub
	name   string
	serial uint64
	done   chan struct{} // closed when Ended
	cause  error         // why it ended; written before done is closed
	source *Feed

	mu sync.Mutex
	// feeds begins with the source; grown is closed when one is added and nil while
	// nobody asked.
	feeds []*Feed
	grown chan struct{}
	bytes int // in all feeds

	state State
	since time.Time // when the broadcast began
	pub   *Publication
	// linger ends the wait for a lost publisher; nil unless Lingering.
	linger *time.Timer
	// awaited is the publication that was lost, reason how; while Lingering.
	awaited *Publication
	reason  string
	// last is what the newest publisher asked for; it outlives the publisher.
	last PublishOptions
}

func newStream(h *Hub, name string, serial uint64) *Stream {
	s := &Stream{hub: h, name: name, serial: serial, done: make(chan struct{}), since: time.Now()}
	s.source = newFeed(s, SourceFeed)
	s.feeds = []*Feed{s.source}
	return s
}

// Name returns the name the stream was published under: the live stream's id.
func (s *Stream) Name() string { return s.name }

// Done is closed when the stream has ended.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err tells why the stream has ended: what Kick or Close were given, io.ErrClosedPipe if its
// publisher stopped, fault.Timeout if one that was lost did not come back in time; nil while
// it has not.
func (s *Stream) Err() error {
	if !s.over() {
		return nil
	}
	return s.cause
}

// over reports whether the stream has ended, without its lock.
func (s *Stream) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// State returns where the stream stands.
func (s *Stream) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// LatencyMode returns the mode that the newest publisher was granted.
func (s *Stream) LatencyMode() media.LatencyMode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.LatencyMode
}

// Feed returns the source feed: the publisher's own audio and video.
func (s *Stream) Feed() *Feed { return s.source }

// Feeds returns the stream's feeds, one a rendition: the source first, then the others in
// the order in which they began, be they the publisher's or derived.
func (s *Stream) Feeds() []*Feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.feeds)
}

// FeedsChanged returns a channel that is closed when a feed is added. Ask for it before
// Feeds, and again after it was closed.
func (s *Stream) FeedsChanged() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grown == nil {
		s.grown = make(chan struct{})
	}
	return s.grown
}

// feedOf returns the feed of a rendition that the publisher sends, a new one on its first
// use; nil if there are too many.
func (s *Stream) feedOf(rendition string) *Feed {
	if rendition == "" {
		return s.source
	}
	f := s.named(rendition)
	switch {
	case rendition == SourceFeed:
		return nil
	case f != nil && f.origin == published:
		return f
	case s.count(published) == maxFeeds:
		return nil
	}
	if f != nil {
		f.handOver()
		return f
	}
	return s.addFeed(rendition, published)
}

// named returns the feed of that name; nil if there is none.
func (s *Stream) named(name string) *Feed {
	for _, f := range s.feeds {
		if f.name == name {
			return f
		}
	}
	return nil
}

// count counts the feeds of the publisher, or those that are derived.
func (s *Stream) count(o origin) (n int) {
	for _, f := range s.feeds {
		if (f.origin == published) == (o == published) {
			n++
		}
	}
	return n
}

// addFeed adds a feed and wakes who waits for one.
func (s *Stream) addFeed(name string, o origin) *Feed {
	f := newFeed(s, name)
	f.origin = o
	s.feeds = append(s.feeds, f)
	if s.grown != nil {
		close(s.grown)
		s.grown = nil
	}
	return f
}

// trim takes groups from the fullest feed until the stream is within its bound of bytes.
func (s *Stream) trim() {
	for limit := s.hub.streamLimit(); s.bytes > limit; {
		fullest := s.source
		for _, f := range s.feeds[1:] {
			if f.bytes > fullest.bytes {
				fullest = f
			}
		}
		fullest.shrink()
	}
}

// claim readies the feeds for another publisher.
func (s *Stream) claim(announced []*media.Track) {
	for _, f := range s.feeds {
		if f.origin == published {
			f.claim()
		}
	}
	for _, t := range announced {
		if f := s.feedOf(t.Rendition); f != nil {
			f.track(t)
		}
	}
}

// publish puts a publisher on the stream; nil if the stream has ended. began is set
// for the stream's first publisher.
func (s *Stream) publish(o PublishOptions) (p *Publication, began bool) {
	s.mu.Lock()
	was := s.state
	if was.after(publish) != Live {
		s.mu.Unlock()
		return nil, false
	}
	s.state = Live
	s.stopLinger()
	if s.pub != nil {
		s.pub.leave(ErrTakenOver)
		s.hub.metrics.takeovers.Inc()
	}
	p = &Publication{stream: s, options: o, since: time.Now(), done: make(chan struct{})}
	s.claim(o.Tracks)
	s.pub, s.last, s.reason = p, o, ""
	s.hub.out.add(event.StreamActive{
		StreamID: s.name, Session: o.Session, Protocol: o.Protocol, Encoder: o.Encoder,
		TookOver: was == Live, Resumed: was == Lingering, Backup: o.Backup,
	})
	s.mu.Unlock()
	s.hub.out.flush()
	s.hub.log.Info("stream live", "stream", s.name, "session", o.Session, "protocol", o.Protocol,
		"peer", o.Peer, "encoder", o.Encoder, "took_over", was == Live, "resumed", was == Lingering)
	return p, was == Idle
}

// lost begins the wait for a publisher that broke off. A publisher that was replaced
// or kicked is nobody's loss.
func (s *Stream) lost(p *Publication, err error) {
	linger := p.options.Linger
	s.mu.Lock()
	if s.pub != p {
		s.mu.Unlock()
		return
	}
	s.state = s.state.after(lose)
	s.pub = nil
	s.reason = reasonOf(err)
	p.leave(err)
	s.await(p)
	s.hub.out.add(event.StreamReconnecting{
		StreamID: s.name, Session: p.options.Session, Reason: s.reason, Until: time.Now().Add(linger),
	})
	s.mu.Unlock()
	s.hub.out.flush()
	s.hub.log.Warn("publisher lost", "stream", s.name, "session", p.options.Session, "linger", linger, "reason", reasonOf(err))
}

// expired ends the wait for p. A timer that fires late, when somebody publishes again
// or was lost in turn, has nothing to end.
func (s *Stream) expired(p *Publication) {
	s.mu.Lock()
	if s.awaited != p || s.state.after(expire) == s.state {
		s.mu.Unlock()
		return
	}
	s.cause = fault.New(fault.Timeout, "publish", "", "the stream ended, for its publisher did not come back in time", "Connect again")
	s.end("the publisher did not come back: " + s.reason)
}

// stop ends the stream for good and tells its publisher err. If only is not nil it
// does so only while only is the stream's publisher. It reports whether it ended it.
func (s *Stream) stop(only *Publication, err error) bool {
	s.mu.Lock()
	if (only != nil && s.pub != only) || s.state == s.state.after(stop) {
		s.mu.Unlock()
		return false
	}
	if s.pub != nil {
		s.pub.leave(err)
	}
	if s.cause = err; err == nil || errors.Is(err, io.EOF) {
		s.cause = io.ErrClosedPipe
	}
	s.end(reasonOf(err))
	return true
}

// end makes the stream Ended. It is called with the lock held and releases it.
func (s *Stream) end(reason string) {
	s.state = Ended
	s.pub = nil
	s.hub.living.Add(-1)
	s.stopLinger()
	s.hub.out.add(event.StreamIdle{StreamID: s.name, Reason: reason})
	wakes := make([]chan struct{}, 0, len(s.feeds))
	for _, f := range s.feeds {
		wakes = append(wakes, f.end())
	}
	close(s.done)
	s.mu.Unlock()
	for _, wake := range wakes {
		if wake != nil {
			close(wake)
		}
	}
	s.hub.forget(s)
	s.hub.out.flush()
	s.hub.log.Info("stream ended", "stream", s.name, "reason", reason)
}

func (s *Stream) stopLinger() {
	if s.linger != nil {
		s.linger.Stop()
		s.linger, s.awaited = nil, nil
	}
}

// reasonOf puts the end of a publication in words.
func reasonOf(err error) string {
	if err == nil || errors.Is(err, io.EOF) {
		return "the publisher stopped"
	}
	return err.Error()
}

// await starts the wait for a publisher that was lost.
func (s *Stream) await(p *Publication) {
	s.awaited = p
	s.linger = time.AfterFunc(p.options.Linger, func() { s.expired(p) })
}
