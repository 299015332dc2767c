package pack

import (
	"context"
	"errors"
	"io"
	"sync"

	"onair/internal/hub"
	"onair/internal/media"
)

// reader is what a stream reads of one feed: a hub.Reader.
type reader interface {
	ReadPacket(ctx context.Context) (*media.Packet, error)
	Close()
}

// opened is the reader of a feed.
type opened struct {
	reader
	feed string
	// derived tells whether the feed is made of the stream's own media; nil if it is not. A
	// publisher may begin to send what was made before.
	derived func() bool
}

// feeds are the feeds of a stream, the source's first.
type feeds interface {
	// open returns readers of the feeds that there are since the last call, and a channel
	// that is closed when there are more.
	open() ([]opened, <-chan struct{})
}

// hubFeeds are those of a stream in the hub.
type hubFeeds struct {
	stream *hub.Stream
	opened int
}

func (f *hubFeeds) open() (fresh []opened, changed <-chan struct{}) {
	changed = f.stream.FeedsChanged() // before the list, so that none is missed
	list := f.stream.Feeds()
	for ; f.opened < len(list); f.opened++ {
		feed := list[f.opened]
		if feed.Private() {
			continue
		}
		o := opened{reader: feed.NewReader(hub.ReaderOptions{Name: "pack", From: hub.OldestKept}), feed: feed.Name()}
		if feed.Derived() {
			o.derived = feed.Derived
		}
		fresh = append(fresh, o)
	}
	return fresh, changed
}

// input is what the reader of a feed yielded.
type input struct {
	packet *media.Packet
	err    error
	source bool // it is the source's feed
	sent   bool // it is made no more: the publisher sends it
}

// inputQueue is how many packets of all feeds wait between their readers and the packager:
// enough to spare most of the switches, too little to hide a lag from the hub.
const inputQueue = 16

// run packages what the feeds yield until the stream or ctx ends. Each feed has a reader
// of its own, so that one that is slow or empty keeps no other waiting.
func (s *Stream) run(ctx context.Context, f feeds) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	in := make(chan input, inputQueue)
	reading, known := 0, 0
	add := func() <-chan struct{} {
		fresh, changed := f.open()
		for _, r := range fresh {
			source := known == 0
			known++
			reading++
			s.derived[r.feed] = r.derived != nil
			wg.Go(func() { readFeed(ctx, r, source, in) })
		}
		return changed
	}
	if s.recorder != nil { // a history goes on
		s.starts.Go(s.recorder.run)
	}
	changed := add()
	for reading > 0 {
		select {
		case <-changed:
			changed = add()
		case i := <-in:
			if i.err == nil {
				if i.sent {
					s.derived[i.packet.Track.Rendition] = false
				}
				s.write(i.packet)
			} else if !s.failed(ctx, i) {
				reading--
			}
		}
	}
	s.end()
	if s.recorder != nil {
		s.recorder.stop()
	}
	s.starts.Wait()
}

// readFeed hands on what a reader yields until it ends, with the error that ended it.
func readFeed(ctx context.Context, r opened, source bool, in chan<- input) {
	defer r.Close()
	sent := false
	for {
		p, err := r.ReadPacket(ctx)
		if err == nil && p.Key && r.derived != nil {
			sent = !r.derived()
		}
		var gap *hub.Gap
		last := err != nil && !errors.As(err, &gap)
		select {
		case in <- input{packet: p, err: err, source: source, sent: sent}:
		case <-ctx.Done():
			if !last {
				continue // to read the end
			}
			in <- input{err: err, source: source} // run takes one end of each reader
		}
		if last {
			return
		}
	}
}

// failed looks at a reader's error. It reports whether the reader goes on.
func (s *Stream) failed(ctx context.Context, i input) bool {
	var gap *hub.Gap
	if errors.As(i.err, &gap) {
		s.log.Warn("media was lost before it was packaged", "stream", s.name, "error", i.err)
		if i.source {
			s.gap()
		}
		// Another rendition goes on at its next key frame; what it lost is a frame that lasts.
		return true
	}
	if !errors.Is(i.err, io.EOF) && ctx.Err() == nil {
		s.log.Error("packaging stopped", "stream", s.name, "error", i.err)
	}
	return false
}
