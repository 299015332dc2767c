package hub

import (
	"bytes"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
)

const (
	// packetOverhead is what a packet costs beside its payload. With it the bound in
	// bytes is a bound on the number of packets too.
	packetOverhead = 192
	// maxFeedTracks is the most tracks in one feed.
	maxFeedTracks = 32
	// audioGroup is the length of the groups of a feed without video.
	audioGroup = time.Second
	// videoAway is how long video may be absent before audio opens groups itself.
	videoAway = 10 * time.Second
)

// slot is a packet with the feed's clock at it.
type slot struct {
	p     *media.Packet
	clock time.Duration
}

// group is where a group begins.
type group struct {
	seq   uint64
	clock time.Duration
}

// Feed is the media of one rendition of a stream: a bounded ring of packets, in the
// order in which they were written. The stream's mutex guards it.
type Feed struct {
	stream *Stream
	name   string
	origin origin
	// derivation is who writes it, if it is derived; nil while nobody does.
	derivation *Derivation

	// slots holds the packets with numbers from tail on. groups lists the group
	// beginnings among them. What comes before the first group is the rest of a group
	// that outgrew the bound: nobody joins there, but those who are reading it go on.
	slots  deque[slot]
	groups deque[group]
	tail   uint64
	bytes  int
	// clock is the highest DTS so far: what groups and lag are measured by.
	clock time.Duration

	tracks []trackStats
	// lead is the ID of the video track whose keys open groups; valid if hasLead.
	lead      int
	hasLead   bool
	leadClock time.Duration // the clock at its last packet

	received uint64        // bytes of payload, ever
	wake     chan struct{} // closed by the next write; nil while nobody waits
	over     bool
	readers  int
}

func newFeed(s *Stream, name string) *Feed { return &Feed{stream: s, name: name} }

// Name returns the feed's name within its stream.
func (f *Feed) Name() string { return f.name }

// Tracks returns the tracks of the newest publisher in their present versions, in the
// order in which they were told of.
func (f *Feed) Tracks() []*media.Track {
	f.stream.mu.Lock()
	defer f.stream.mu.Unlock()
	out := make([]*media.Track, len(f.tracks))
	for i := range f.tracks {
		out[i] = f.tracks[i].track
	}
	return out
}

// Order tells whether pictures of the feed were seen to come in another order than the one
// they are shown in, and how many were looked at since the video track is as it is.
func (f *Feed) Order() (reordered bool, pictures uint64) {
	f.stream.mu.Lock()
	defer f.stream.mu.Unlock()
	for i := range f.tracks {
		if t := &f.tracks[i]; t.track.Kind() == media.Video {
			return t.reordered, t.pictures
		}
	}
	return false, 0
}

// head is the number that the next packet gets.
func (f *Feed) head() uint64 { return f.tail + uint64(f.slots.len()) }

// write appends p; filler is not counted as received. It returns the channel to close
// when the lock is released, if somebody waits for a packet.
func (f *Feed) write(p *media.Packet, filler bool) (wake chan struct{}, err error) {
	t := f.track(p.Track)
	if t == nil {
		return nil, fault.New(fault.TooMany, "write packet", f.stream.name,
			"more than 32 tracks in one stream", "Send fewer audio and video tracks")
	}
	video := p.Track.Kind() == media.Video
	if video && !p.Key && !t.primed {
		f.stream.hub.metrics.undecodable.Inc()
		return nil, nil
	}
	t.primed = true
	now := p.Arrival
	if now.IsZero() {
		now = time.Now()
	}
	dts := p.Track.Duration(p.DTS)
	if !filler {
		t.add(p, dts, now)
		f.received += uint64(len(p.Data))
	}
	f.clock = max(f.clock, dts)
	if f.opensGroup(p, video) {
		f.groups.push(group{seq: f.head(), clock: f.clock})
	}
	f.slots.push(slot{p: p, clock: f.clock})
	f.grow(len(p.Data) + packetOverhead)
	f.trim()
	f.stream.trim()
	wake, f.wake = f.wake, nil
	return wake, nil
}

// track returns the statistics of the track, new ones for a new track; nil if there
// are too many. A track whose parameters change has to begin with a key again.
func (f *Feed) track(tr *media.Track) *trackStats {
	for i := range f.tracks {
		t := &f.tracks[i]
		if t.track == tr {
			return t
		}
		if t.track.ID == tr.ID {
			if t.track.Codec != tr.Codec || !bytes.Equal(t.track.Config, tr.Config) {
				t.primed = false
				t.pictures, t.reordered = 0, false
			}
			t.track = tr
			return t
		}
	}
	if len(f.tracks) == maxFeedTracks {
		return nil
	}
	f.tracks = append(f.tracks, trackStats{track: tr})
	return &f.tracks[len(f.tracks)-1]
}

// opensGroup tells whether a group begins with p. Only one of several video tracks
// opens groups, since their keys stand side by side.
func (f *Feed) opensGroup(p *media.Packet, video bool) bool {
	away := !f.hasLead || f.clock-f.leadClock > videoAway
	if !video {
		return away && (f.groups.len() == 0 || f.clock-f.groups.at(f.groups.len()-1).clock >= audioGroup)
	}
	if p.Track.ID != f.lead && p.Key && away || !f.hasLead {
		f.lead, f.hasLead = p.Track.ID, true
	}
	if p.Track.ID != f.lead {
		return false
	}
	f.leadClock = f.clock
	return p.Key
}

// trim takes the oldest groups until the feed is within its bound of time.
func (f *Feed) trim() {
	h := f.stream.hub
	for f.slots.len() > 0 && f.rest() > 0 && f.clock-f.slots.at(0).clock > h.cfg.MaxFeedDuration {
		f.pop()
	}
	// The newest complete group stays whatever its length, so that there is always
	// something to join.
	for f.groups.len() > 2 && f.clock-f.groups.at(0).clock > h.cfg.MaxFeedDuration {
		f.dropGroup()
		h.metrics.droppedTime.Inc()
	}
}

// shrink takes the least that may be taken: the rest of a group, or the oldest group. The
// feed is not empty.
func (f *Feed) shrink() {
	m := f.stream.hub.metrics
	switch {
	case f.rest() > 0:
		f.pop()
	case f.groups.len() > 1:
		f.dropGroup()
		m.droppedBytes.Inc()
	default:
		// One group alone is too large. It is closed to joiners and becomes a
		// sliding window for those who follow it closely.
		f.groups.pop()
		m.droppedOversize.Inc()
	}
}

// rest counts the packets before the first group.
func (f *Feed) rest() int {
	if f.groups.len() == 0 {
		return f.slots.len()
	}
	return int(f.groups.at(0).seq - f.tail)
}

// dropGroup takes the oldest group and all before it; there is a group after it.
func (f *Feed) dropGroup() {
	f.groups.pop()
	for f.rest() > 0 {
		f.pop()
	}
}

// pop takes the oldest packet.
func (f *Feed) pop() {
	s := f.slots.pop()
	f.tail++
	f.grow(-len(s.p.Data) - packetOverhead)
}

// grow accounts for bytes that came or went.
func (f *Feed) grow(n int) {
	f.bytes += n
	f.stream.bytes += n
	f.stream.hub.bytes.Add(int64(n))
}

// claim readies the feed for another publisher: its video begins with key packets.
func (f *Feed) claim() {
	clear(f.tracks)
	f.tracks = f.tracks[:0]
	f.hasLead = false
}

// end closes the feed for writing and returns the channel to close, if any. What it
// keeps belongs to its readers from now on and is no longer the hub's.
func (f *Feed) end() (wake chan struct{}) {
	f.over = true
	h := f.stream.hub
	h.bytes.Add(-int64(f.bytes))
	wake, f.wake = f.wake, nil
	return wake
}
