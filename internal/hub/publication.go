package hub

import (
	"context"
	"errors"
	"io"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
)

// Position is a point of a stream's timeline.
type Position struct {
	// Media is where the media that was written ends, on the stream's timeline.
	Media time.Duration
	// At is the wall clock when the last of it arrived.
	At time.Time
}

// Publication is a publisher's place on a stream. It is a media.Sink.
type Publication struct {
	stream  *Stream
	options PublishOptions
	since   time.Time
	done    chan struct{} // closed when the publication is over

	err error // why it is over; guarded by stream.mu
}

var _ media.Sink = (*Publication)(nil)

// WritePacket appends p to the feed of its track's rendition, which is made on its first
// use. It never waits. Video packets
// before a track's first key packet, and between a change of parameters and the next
// key packet, are left out and counted: nothing could be decoded from them.
//
// After the publication is over it returns why: ErrTakenOver, Kick's error, or
// io.ErrClosedPipe after End. fault.TooMany is more tracks than a feed, or
// more feeds than a stream may have.
func (p *Publication) WritePacket(_ context.Context, pkt *media.Packet) error {
	if pkt == nil || pkt.Track == nil || pkt.Track.Timescale <= 0 {
		return fault.New(fault.Internal, "write packet", p.stream.name, "a packet without a track or timescale", "")
	}
	s := p.stream
	s.mu.Lock()
	if s.pub != p {
		err := p.err
		s.mu.Unlock()
		return err
	}
	wake, err := s.write(pkt, false)
	s.mu.Unlock()
	if wake != nil {
		close(wake)
	}
	return err
}

// Fill appends a packet that the publisher did not send: what keeps the timeline going
// while it is silent, or while the stream lingers for it. It is not counted as received.
// The errors are those of WritePacket.
func (p *Publication) Fill(pkt *media.Packet) error {
	s := p.stream
	s.mu.Lock()
	if s.pub != p && s.awaited != p {
		err := p.err
		s.mu.Unlock()
		return err
	}
	wake, err := s.write(pkt, true)
	s.mu.Unlock()
	if wake != nil {
		close(wake)
	}
	return err
}

// write appends a packet to the feed of its rendition; the lock is held.
func (s *Stream) write(pkt *media.Packet, filler bool) (wake chan struct{}, err error) {
	f := s.feedOf(pkt.Track.Rendition)
	if f == nil {
		s.hub.metrics.noFeed.Inc()
		return nil, fault.New(fault.TooMany, "write packet", s.name,
			"more than 8 renditions in one stream", "Send fewer renditions of the picture")
	}
	return f.write(pkt, filler)
}

// Stream returns the stream that is published on.
func (p *Publication) Stream() *Stream { return p.stream }

// Done is closed when the publication is over: taken over, kicked or ended. A
// publisher that sends nothing learns of it here.
func (p *Publication) Done() <-chan struct{} { return p.done }

// Err tells why the publication is over; nil while it is not.
func (p *Publication) Err() error {
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	return p.err
}

// End says that the publisher is gone. nil or io.EOF is a clean stop and ends the
// stream at once; with any other error the stream lingers for PublishOptions.Linger and
// then ends. It does nothing if the publication is over already.
func (p *Publication) End(err error) {
	if err == nil || errors.Is(err, io.EOF) || p.options.Linger <= 0 {
		p.stream.stop(p, err)
		return
	}
	p.stream.lost(p, err)
}

// leave marks the publication as over; the stream's lock is held.
func (p *Publication) leave(err error) {
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrClosedPipe
	}
	p.err = err
	close(p.done)
}
