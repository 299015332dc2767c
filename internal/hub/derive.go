package hub

import (
	"context"
	"io"

	"onair/internal/fault"
	"onair/internal/media"
)

// maxDerived is the most renditions that may be made of one stream beside its publisher's.
const maxDerived = 8

// origin tells who writes a feed.
type origin uint8

const (
	// published feeds carry what the publisher sends.
	published origin = iota
	// derived feeds carry what is made of it.
	derived
	// private feeds are derived, and of use to one kind of reader only.
	private
)

// DeriveOptions say what a derived feed is for. They count when the feed is made.
type DeriveOptions struct {
	// Private is set for a rendition that has no place in playlists and manifests.
	Private bool
}

// Derivation is the place to write a rendition that is made of a stream's own media. It is
// a media.Sink.
type Derivation struct {
	feed *Feed
}

var _ media.Sink = (*Derivation)(nil)

// Derive returns the place to write a rendition that is made of the stream's own media: a
// feed of that name, made on its first use. Whoever wrote it before writes no more. The
// feed outlives publishers that come and go, and ends with the stream. What is written
// counts towards what the stream may keep, and not as received.
//
// The error is fault.Conflict if the publisher sends a rendition of that name or the stream
// has ended, and fault.TooMany beyond eight derived feeds.
func (s *Stream) Derive(name string, o DeriveOptions) (*Derivation, error) {
	const op = "derive rendition"
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == Ended {
		return nil, fault.New(fault.Conflict, op, name, "the stream has ended", "")
	}
	f := s.named(name)
	switch {
	case name == "" || f != nil && f.origin == published:
		return nil, fault.New(fault.Conflict, op, name, "the publisher sends a rendition of that name", "")
	case f != nil:
		f.release()
	case s.count(derived) == maxDerived:
		s.hub.metrics.noFeed.Inc()
		return nil, fault.New(fault.TooMany, op, name, "more than 8 renditions are made of one stream",
			"Take rungs out of the stream's ladder")
	case o.Private:
		f = s.addFeed(name, private)
	default:
		f = s.addFeed(name, derived)
	}
	f.derivation = &Derivation{feed: f}
	return f.derivation, nil
}

// WritePacket appends p, whose track's Rendition is the name of the feed. It never waits.
// Video packets before the derivation's first key packet are left out and counted.
//
// The error is io.ErrClosedPipe after End, after somebody else derived the same rendition,
// and after the stream has ended.
func (d *Derivation) WritePacket(_ context.Context, p *media.Packet) error {
	f := d.feed
	if p == nil || p.Track == nil || p.Track.Timescale <= 0 || p.Track.Rendition != f.name {
		return fault.New(fault.Internal, "write packet", f.name, "a packet without timescale, or of another rendition", "")
	}
	s := f.stream
	s.mu.Lock()
	if f.derivation != d || f.over {
		s.mu.Unlock()
		return io.ErrClosedPipe
	}
	wake, err := f.write(p, false)
	s.mu.Unlock()
	if wake != nil {
		close(wake)
	}
	return err
}

// End says that nothing comes for now. Readers read what is kept and wait on; who joins
// waits for what is derived next. It may be called more than once.
func (d *Derivation) End() {
	s := d.feed.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.feed.derivation == d && !d.feed.over {
		d.feed.release()
	}
}

// Derived reports whether the feed is made of the stream's own media, rather than sent by
// its publisher.
func (f *Feed) Derived() bool {
	f.stream.mu.Lock()
	defer f.stream.mu.Unlock()
	return f.origin != published
}

// Private reports whether the feed is a derived one that has no place in playlists and
// manifests.
func (f *Feed) Private() bool {
	f.stream.mu.Lock()
	defer f.stream.mu.Unlock()
	return f.origin == private
}

// release takes the feed from who writes it. What it keeps becomes the rest of a group:
// nobody joins at media that may be minutes old when there is new, and who is reading it
// reads on. The next writer begins with a key.
func (f *Feed) release() {
	f.derivation = nil
	f.hasLead = false
	for f.groups.len() > 0 {
		f.groups.pop()
	}
	for i := range f.tracks {
		f.tracks[i].primed = false
	}
}

// handOver makes a derived feed the publisher's, who has begun to send that rendition.
func (f *Feed) handOver() {
	f.release()
	f.origin = published
	f.claim()
}
