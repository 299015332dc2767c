package pack

import (
	"sync"

	"onair/internal/media"
)

// Early is what has come of a stream that has not begun.
type Early struct {
	LatencyMode media.LatencyMode
	// Announced is set if the publisher said that there will be video.
	Announced bool
	// Packets are what parts will be made of, in the order in which they came: nothing that
	// comes before the first picture, and no renditions that are made here.
	Packets []*media.Packet
}

// early collects it. The packets are those that the learner has, and few more.
type early struct {
	mu    sync.Mutex
	all   Early
	bytes int
	over  bool
}

func (e *early) keep(p *media.Packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || e.bytes > maxStartBytes {
		return
	}
	e.all.Packets = append(e.all.Packets, p)
	e.bytes += len(p.Data) + packetOverhead
}

// stop lets go of it: the stream has begun.
func (e *early) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over, e.all = true, Early{}
}

// Early returns what has come so far of a stream that has not begun, and nothing once it has.
// What it returned before is the beginning of what it returns next. It is as much as is
// collected before a stream's first cut. The caller must not change the packets.
func (s *Stream) Early() Early {
	s.early.mu.Lock()
	defer s.early.mu.Unlock()
	out := s.early.all
	out.Packets = out.Packets[:len(out.Packets):len(out.Packets)]
	return out
}

// keepEarly takes a packet that came before the stream has begun.
func (s *Stream) keepEarly(p *media.Packet) {
	if !s.hasBegun && !s.derived[p.Track.Rendition] {
		s.early.keep(p)
	}
}

// Repack packages what Early returned of a stream whose server was killed, as it would have
// been: cut at the same places, with the same times. The stream has ended with it, all its
// segments are there, and Packer.Stream does not return it.
func (p *Packer) Repack(name string, e Early) *Stream {
	cfg := p.cfg
	cfg.MaxWindowBytes = max(cfg.MaxWindowBytes, 2*maxStartBytes) // nothing leaves it
	s := newStream(cfg, name, func() (media.LatencyMode, bool) { return e.LatencyMode, e.Announced }, newMetrics(nil), p.log)
	for _, p := range e.Packets {
		s.write(p)
	}
	s.end()
	return s
}
