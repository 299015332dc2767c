package egress

import (
	"context"
	"sync"
	"time"

	"onair/internal/media"
)

// jumpTime is how far the time of a feed may move against the clock before it counts as
// another time.
const jumpTime = 2 * time.Second

// frame is one access unit, packetised. It is immutable.
type frame struct {
	// no counts the frames of its fan, first the packets before it.
	no, first uint64
	track     *media.Track
	// pts is its presentation time, ts the same in ticks of RTP.
	pts time.Duration
	ts  uint32
	key bool
	// at is when it had arrived, in when it came to the fan.
	at, in time.Time
	// jump is set if its time does not follow from that of the frame before.
	jump bool
	// late is set for sound that would only be played too late.
	late    bool
	packets [][]byte
	bytes   int
}

// clockRate is the RTP clock of a codec.
func clockRate(c media.Codec) int64 {
	if c.Kind() == media.Audio {
		return 48000
	}
	return 90000
}

// Fan packetises one feed for all of its viewers: one track, video or audio. It
// implements media.Sink.
type Fan struct {
	options FanOptions
	metrics *metrics

	mu     sync.Mutex
	frames []*frame // consecutive: the newest group, and what may be asked for again
	nextNo uint64
	next   uint64        // index of the next packet
	keyNo  uint64        // of the newest key frame
	keyed  bool          // the newest key frame is in frames, and all that followed
	group  int           // bytes from the newest key frame on
	offset time.Duration // from presentation time to the clock, of the newest frame
	smooth time.Duration // the same, smoothed
	rush   rush          // of sound
	begun  bool
	closed bool
	groups []*group
	asked  time.Time
}

// WritePacket implements media.Sink. It never waits. A frame that cannot be packetised is
// left out, and a key frame is asked for.
func (f *Fan) WritePacket(_ context.Context, p *media.Packet) error {
	payloads, err := packetise(p)
	if err != nil {
		f.metrics.dropped.WithLabelValues(dropMalformed).Inc()
		if p.Track.Kind() == media.Video {
			f.requestKey(time.Now())
		}
		return nil // one bad frame does not end a feed
	}
	now, at := time.Now(), p.Arrival
	if at.IsZero() {
		at = now
	}
	fr := &frame{track: p.Track, pts: p.Track.Duration(p.PTS), key: p.Key || p.Track.Kind() == media.Audio, at: at, in: now, packets: payloads}
	fr.ts = uint32(media.Rescale(p.PTS, int64(p.Track.Timescale), clockRate(p.Track.Codec)))
	for _, b := range payloads {
		fr.bytes += len(b)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	offset := time.Duration(at.UnixNano()) - fr.pts
	fr.jump = f.begun && (offset-f.offset > jumpTime || f.offset-offset > jumpTime)
	if f.smooth += (offset - f.smooth) / 256; !f.begun || fr.jump {
		f.smooth = offset
	}
	f.offset, f.begun = offset, true
	if p.Track.Kind() == media.Audio {
		fr.late = f.rush.see(fr.pts, now)
	}
	fr.no, fr.first = f.nextNo, f.next
	f.nextNo++
	f.next += uint64(len(payloads))
	if fr.key {
		f.keyNo, f.keyed, f.group = fr.no, true, 0
	}
	f.group += fr.bytes
	f.frames = append(f.frames, fr)
	f.trim()
	for _, g := range f.groups {
		g.loop.wake(g)
	}
	return nil
}

// trim lets go of what is neither of the newest group nor likely to be asked for again.
func (f *Fan) trim() {
	if f.keyed && (f.group > maxGroupBytes || f.nextNo-f.keyNo > maxGroupFrames) {
		f.keyed = false
	}
	n := 0
	for _, fr := range f.frames {
		if f.next-fr.first-uint64(len(fr.packets)) < repairPackets || f.keyed && fr.no >= f.keyNo || fr.no == f.nextNo-1 {
			break
		}
		f.frames[n] = nil
		n++
	}
	f.frames = f.frames[n:]
}

// Close ends the feed. Viewers that watch it get nothing more until they are given another.
func (f *Fan) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

// frame returns a frame by its number, and whether there is one: newer than the newest,
// or gone, are not.
func (f *Fan) frame(no uint64) (*frame, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at(no)
}

func (f *Fan) at(no uint64) (*frame, bool) {
	if len(f.frames) == 0 || no < f.frames[0].no || no >= f.nextNo {
		return nil, false
	}
	return f.frames[no-f.frames[0].no], true
}

// since appends the frames from a number on; lost tells that some of them are gone.
func (f *Fan) since(no uint64, to []*frame) (out []*frame, lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.frames) == 0 || no >= f.nextNo {
		return to, false
	}
	if first := f.frames[0].no; no < first {
		no, lost = first, true
	}
	return append(to, f.frames[no-f.frames[0].no:]...), lost
}

// newest returns the key frame that the newest group begins with, the newest frame, and
// the number of bytes from one to the other; nil if the group is not held whole.
func (f *Fan) newest() (key, last *frame, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.keyed {
		return nil, nil, 0
	}
	key, ok := f.at(f.keyNo)
	if !ok {
		return nil, nil, 0
	}
	return key, f.frames[len(f.frames)-1], f.group
}

// clock is what is added to a presentation time of the feed for the wall clock.
func (f *Fan) clock() (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.smooth, f.begun
}

// rushing reports whether sound comes faster than it plays.
func (f *Fan) rushing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rush.is
}

// head is the number that the next frame will have.
func (f *Fan) head() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nextNo
}

// packet finds a packet by its index.
func (f *Fan) packet(index uint64) (fr *frame, n int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	low, high := 0, len(f.frames)
	for low < high {
		mid := (low + high) / 2
		if f.frames[mid].first+uint64(len(f.frames[mid].packets)) <= index {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == len(f.frames) || index < f.frames[low].first {
		return nil, 0, false
	}
	return f.frames[low], int(index - f.frames[low].first), true
}

// requestKey asks for a key frame, if that was not done a moment ago.
func (f *Fan) requestKey(now time.Time) {
	if f.options.RequestKey == nil {
		return
	}
	f.mu.Lock()
	ask := now.Sub(f.asked) >= keyTime && !f.closed
	if ask {
		f.asked = now
	}
	f.mu.Unlock()
	if ask {
		f.metrics.keyRequests.Inc()
		f.options.RequestKey()
	}
}

// join adds a group of viewers that are told of new frames.
func (f *Fan) join(g *group) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups = append(f.groups, g)
	g.next = f.nextNo
}

func (f *Fan) leave(g *group) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, h := range f.groups {
		if h == g {
			f.groups = append(f.groups[:i:i], f.groups[i+1:]...)
			return
		}
	}
}
