package hub

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"onair/internal/media"
)

// Start is where a reader joins a feed.
type Start uint8

const (
	// NewestKey joins at the newest group: least delay.
	NewestKey Start = iota
	// OldestKept joins at the oldest group that is kept: most media at once.
	OldestKept
)

// ReaderOptions say how a reader joins and how far behind it may fall.
type ReaderOptions struct {
	// Name is the kind of reader, such as "hls" or "rtmp"; a label of metrics, so there
	// must be few.
	Name string
	// MaxLag is how much media may lie between the reader and the newest packet before
	// it skips to the newest key; 0 is as much as the feed keeps.
	MaxLag time.Duration
	From   Start
	// Back is how far before the newest packet the group begins that NewestKey joins at, if
	// as much is kept; 0 is the newest group.
	Back time.Duration
}

// Gap is the error that tells a reader once that it was too far behind. The next read
// continues with the newest group, or waits for the next one if none is newer.
type Gap struct {
	// Lost counts the packets that were skipped.
	Lost uint64
}

// Error tells how much was lost.
func (g *Gap) Error() string {
	return fmt.Sprintf("reader fell behind and lost %d packets", g.Lost)
}

// Reader is a cursor into a feed. It is a media.Source for one goroutine.
type Reader struct {
	feed *Feed
	opt  ReaderOptions

	// All below is guarded by the stream's mutex.
	next    uint64
	joining bool  // there was no group to join at yet
	started []int // IDs of the video tracks that had a key since joining
	closed  bool
}

var _ media.Source = (*Reader)(nil)

// NewReader joins the feed, at a group that is kept or at the next one to come. Close
// it when done.
func (f *Feed) NewReader(o ReaderOptions) *Reader {
	r := &Reader{feed: f, opt: o, joining: true}
	f.stream.mu.Lock()
	defer f.stream.mu.Unlock()
	f.readers++
	r.next = f.head()
	r.join()
	return r
}

// Close leaves the feed. A read that waits is not woken: end its context.
func (r *Reader) Close() {
	r.feed.stream.mu.Lock()
	defer r.feed.stream.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.feed.readers--
	}
}

// ReadPacket returns the next packet, waiting for it if need be. After joining, and
// after a *Gap, the first packet of every video track is a key.
//
// The error is a *Gap, told once, when packets were skipped, and reading goes on after
// it; io.EOF when the stream has ended and everything was read; ctx's error when ctx
// ends; io.ErrClosedPipe after Close.
func (r *Reader) ReadPacket(ctx context.Context) (*media.Packet, error) {
	f := r.feed
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f.stream.mu.Lock()
		p, err := r.read()
		if p != nil || err != nil {
			f.stream.mu.Unlock()
			return p, err
		}
		if f.wake == nil {
			f.wake = make(chan struct{})
		}
		wake := f.wake
		f.stream.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// read returns the next packet or error; neither if there is nothing yet.
func (r *Reader) read() (*media.Packet, error) {
	f := r.feed
	if r.closed {
		return nil, io.ErrClosedPipe
	}
	if r.joining {
		r.join()
	} else if r.lags() {
		return nil, r.skip()
	}
	for !r.joining && r.next < f.head() {
		s := f.slots.at(int(r.next - f.tail))
		r.next++
		if r.decodable(s.p) {
			return s.p, nil
		}
	}
	if f.over {
		return nil, io.EOF
	}
	return nil, nil
}

// join moves the cursor to the group to begin with, if there is one.
func (r *Reader) join() {
	f := r.feed
	if f.groups.len() == 0 {
		return
	}
	i := f.groups.len() - 1
	for i > 0 && (r.opt.From == OldestKept || f.clock-f.groups.at(i).clock < r.opt.Back) {
		i--
	}
	r.next, r.joining = f.groups.at(i).seq, false
}

// lags tells whether the reader has to skip: what it wants is gone, or it is further
// behind than it may be and a newer group is there to go on with.
func (r *Reader) lags() bool {
	f := r.feed
	if r.next < f.tail {
		return true
	}
	if r.opt.MaxLag <= 0 || r.next >= f.head() || f.clock-f.slots.at(int(r.next-f.tail)).clock <= r.opt.MaxLag {
		return false
	}
	return f.groups.len() > 0 && f.groups.at(f.groups.len()-1).seq > r.next
}

// skip moves the cursor to the newest group, or to the next one to come, and tells
// what was lost.
func (r *Reader) skip() error {
	f := r.feed
	from := r.next
	r.started = r.started[:0]
	if n := f.groups.len(); n > 0 {
		r.next = f.groups.at(n - 1).seq
	} else {
		r.next, r.joining = f.head(), true
	}
	m := f.stream.hub.metrics
	m.lag.WithLabelValues(r.opt.Name).Inc()
	m.lost.WithLabelValues(r.opt.Name).Add(float64(r.next - from))
	return &Gap{Lost: r.next - from}
}

// decodable tells whether p can be decoded by somebody who joined where r did.
func (r *Reader) decodable(p *media.Packet) bool {
	if p.Track.Kind() != media.Video || slices.Contains(r.started, p.Track.ID) {
		return true
	}
	if p.Key {
		r.started = append(r.started, p.Track.ID)
	}
	return p.Key
}
