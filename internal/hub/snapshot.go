package hub

import (
	"time"

	"onair/internal/media"
)

// Snapshot describes a stream at one moment.
type Snapshot struct {
	Name  string
	State State
	// Since is when the broadcast began, Reason why it is Lingering.
	Since  time.Time
	Reason string
	// Publisher is who publishes; nil unless Live.
	Publisher   *Publisher
	LatencyMode media.LatencyMode
	// Tracks are the tracks of the newest publisher that have had a packet.
	Tracks []TrackSnapshot
	// Bitrate is the sum over the tracks, in bits a second.
	Bitrate float64
	// Bytes counts the payload received since the broadcast began, Kept the bytes in
	// memory, Readers the readers of all feeds.
	Bytes   uint64
	Kept    int
	Readers int
	// Repaired counts the timestamps that ingest repaired, by kind.
	Repaired map[string]int64
}

// Publisher describes who publishes.
type Publisher struct {
	Session, Protocol, Peer, Encoder string
	// Since is when this publisher came.
	Since time.Time
}

// TrackSnapshot is what is being received on one track.
type TrackSnapshot struct {
	// Track declares codec, size, rates and so on.
	Track *media.Track
	// FrameRate is in packets a second and Bitrate in bits a second, both measured over
	// the last seconds of media; 0 while nothing comes.
	FrameRate, Bitrate float64
	// KeyInterval is the time between the last key packets of a video track; 0 before
	// the first.
	KeyInterval time.Duration
	Packets     uint64
}

// Snapshot describes the stream as it is now.
func (s *Stream) Snapshot() Snapshot {
	now := time.Now()
	s.mu.Lock()
	out := Snapshot{Name: s.name, State: s.state, Since: s.since, Reason: s.reason, LatencyMode: s.last.LatencyMode}
	repaired := s.last.Repaired
	if p := s.pub; p != nil {
		o := p.options
		out.Publisher = &Publisher{Session: o.Session, Protocol: o.Protocol, Peer: o.Peer, Encoder: o.Encoder, Since: p.since}
	}
	for _, f := range s.feeds {
		out.Readers += f.readers
	}
	f := s.Feed()
	out.Bytes, out.Kept = f.received, f.bytes
	out.Tracks = make([]TrackSnapshot, len(f.tracks))
	for i := range f.tracks {
		t := &f.tracks[i]
		ts := TrackSnapshot{Track: t.track, KeyInterval: t.interval(), Packets: t.packets}
		ts.FrameRate, ts.Bitrate = t.rates(now)
		out.Tracks[i] = ts
		out.Bitrate += ts.Bitrate
	}
	s.mu.Unlock()
	if repaired != nil {
		out.Repaired = repaired()
	}
	return out
}
