package pack

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/fmp4"
)

// History is a stream that was on the air when the server was killed, as far as its last
// window was on disk. It is served again from when Histories returned it, and goes on when
// a stream of its name begins in the hub.
type History struct {
	StreamID    string
	LatencyMode media.LatencyMode
	// Position is where the media on disk ends: on the hub's timeline, and on the wall clock.
	Position hub.Position
	// Keys are the last key packet of each video track, Tracks all tracks.
	Keys   []*media.Packet
	Tracks []*media.Track
}

// resumeWait is how long a history waits for its stream to begin in the hub, where it is
// restored at once.
const resumeWait = 10 * time.Second

// Histories reads the last windows of the server that ran before, and serves them from now
// on. Call it once, before Run and before publishers are served. What is older than
// Config.MaxHistory, or cannot be read, is removed. Without Config.Dir there are none.
func (p *Packer) Histories() []History {
	if p.disk == nil {
		return nil
	}
	list, err := os.ReadDir(p.cfg.Dir)
	if err != nil {
		return nil // nothing was ever written
	}
	var out []History
	for _, e := range list {
		folder := filepath.Join(p.cfg.Dir, e.Name())
		h, err := p.revive(folder)
		if err != nil {
			p.log.Warn("a last window on disk is of no use", "folder", e.Name(), "error", err)
		}
		if h == nil {
			_ = os.RemoveAll(folder) // tried again at the next start
			continue
		}
		out = append(out, *h)
	}
	return out
}

// revive makes the stream of a folder anew; nil if it is too old.
func (p *Packer) revive(folder string) (*History, error) {
	old, err := readPast(folder)
	if err != nil {
		return nil, err
	}
	if age := time.Since(old.newest.Wall); age > p.cfg.MaxHistory || age < -time.Minute {
		return nil, nil
	}
	name := old.head.Stream
	if p.disk.folder(name) != folder {
		return nil, os.ErrInvalid
	}
	s := newStream(p.cfg, name, nil, p.m, p.log)
	s.restore(old)
	for _, f := range old.files {
		p.disk.used.Add(f.size)
		p.m.diskBytes.Add(float64(f.size))
	}
	s.record(p.disk, p.disk.recorder(name, old.files, old.number))
	p.put(s)
	p.mu.Lock()
	p.revived[name] = s
	p.mu.Unlock()
	h := s.history()
	return &h, nil
}

// history describes a stream that was restored.
func (s *Stream) history() History {
	g := s.seg
	h := History{StreamID: s.name, LatencyMode: s.mode}
	end := g.lead.endTime
	for _, b := range s.all {
		if b.r.derived {
			continue // it is made anew
		}
		h.Tracks = append(h.Tracks, b.track)
		if b.video() {
			if k := b.keyPacket(); k != nil {
				h.Keys = append(h.Keys, k)
			}
		} else if g.lead.endTime-b.endTime < time.Second {
			end = min(end, b.endTime) // what one has more than the other is left out when it comes again
		}
	}
	h.Position = hub.Position{Media: end - g.shift, At: g.wall(end + g.delay)}
	return h
}

// lastKey returns the last key frame in the fragments of a track.
func lastKey(init *Init, chunks [][]byte) (key *media.Packet) {
	if len(chunks) == 0 {
		return nil
	}
	parts := []io.Reader{bytes.NewReader(init.Blob.Chunks[0])}
	for _, c := range chunks {
		parts = append(parts, bytes.NewReader(c))
	}
	r := fmp4.NewReader(io.MultiReader(parts...))
	for {
		p, err := r.ReadPacket(context.Background())
		if err != nil {
			return key // the end, or of no use from here on
		}
		if p.Key {
			key = p
		}
	}
}

// Forget lets go of a history that is not to go on, as of a stream that was deleted or
// waited too long for its publisher. It does nothing once the stream has begun again.
func (p *Packer) Forget(streamID string) {
	p.mu.Lock()
	s := p.revived[streamID]
	delete(p.revived, streamID)
	if s != nil && p.streams[streamID].Stream == s {
		delete(p.streams, streamID)
	}
	p.mu.Unlock()
	if s != nil {
		s.end()
		s.recorder.clear()
		p.gone(s)
	}
}

// forgetRest forgets the histories whose streams have not begun in time.
func (p *Packer) forgetRest(ctx context.Context) {
	wait := time.NewTimer(resumeWait)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return // they stay on disk
	}
	p.mu.RLock()
	var rest []string
	for name := range p.revived {
		rest = append(rest, name)
	}
	p.mu.RUnlock()
	for _, name := range rest {
		p.Forget(name)
	}
}

// resumed returns the history of a stream that begins, if there is one.
func (p *Packer) resumed(name string) (broadcast, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.revived[name]
	delete(p.revived, name)
	return p.streams[name], s != nil
}
