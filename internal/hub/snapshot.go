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
	// Standby is the publisher that is ready to take the place of Publisher; nil if there is none.
	Standby *Publisher
	// Tracks are those of the newest publisher, the source's first.
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
	// Backup is set if it came as the stream's backup.
	Backup bool
	// Since is when this publisher came.
	Since time.Time
}

// TrackSnapshot is what is being received on one track.
type TrackSnapshot struct {
	ID int
	// Rendition names the feed the track is in; empty is the source's.
	Rendition   string
	Kind        media.Kind
	Codec       media.Codec
	CodecString string
	// Width and Height are in pixels, FrameRate in frames a second as declared, SampleRate
	// in hertz; 0 where the track has none.
	Width, Height        int
	FrameRate            float64
	SampleRate, Channels int
	// MeasuredFrameRate is in packets a second and Bitrate in bits a second, both over
	// the last seconds of media; 0 while nothing comes.
	MeasuredFrameRate, Bitrate float64
	// KeyframeInterval is the time between the last two key packets of a video track, or
	// the time since the last if that is longer; 0 before the first.
	KeyframeInterval time.Duration
	// Packets counts what came from this publisher.
	Packets uint64
}

// Snapshot describes the stream as it is now.
func (s *Stream) Snapshot() Snapshot {
	now := time.Now()
	s.mu.Lock()
	out := Snapshot{Name: s.name, State: s.state, Since: s.since, Reason: s.reason, LatencyMode: s.last.LatencyMode}
	repaired, standby := s.last.Repaired, s.last.Standby
	if p := s.pub; p != nil {
		o := p.options
		out.Publisher = &Publisher{Session: o.Session, Protocol: o.Protocol, Peer: o.Peer, Encoder: o.Encoder, Backup: o.Backup, Since: p.since}
	}
	for _, f := range s.feeds {
		out.Readers += f.readers
		out.Kept += f.bytes
		if f.origin != published {
			continue
		}
		out.Bytes += f.received
		for i := range f.tracks {
			t := f.tracks[i].snapshot(now)
			out.Tracks = append(out.Tracks, t)
			out.Bitrate += t.Bitrate
		}
	}
	s.mu.Unlock()
	if standby != nil {
		out.Standby = standby()
	}
	if repaired != nil {
		out.Repaired = repaired()
	}
	return out
}
