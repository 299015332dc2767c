package doctor

import (
	"sync"
	"time"

	"onair/internal/media"
)

// maxTracks bounds the tracks of a publisher that are measured.
const maxTracks = 32

// Session is one publisher to be watched.
type Session struct {
	StreamID, Session, Protocol, Encoder string
	// Backup is set when it stands by for the main publisher.
	Backup bool
	Since  time.Time
	// Link tells about the way to it and Repaired what its timeline repaired; each may be
	// nil, never waits, and may be called from any goroutine until Ended.
	Link     func() media.Link
	Repaired func() map[string]int64
}

// Tap is where a publisher's packets pass the doctor. Received and Ended are called by
// the publisher's goroutine; the lock is held by others for microseconds.
type Tap struct {
	session Session
	// off is set for a publisher over the bound of streams: it is not watched.
	off bool

	mu      sync.Mutex
	started bool
	base    time.Time // when the first packet came
	baseDTS int64     // its DTS in nanoseconds
	meters  [maxTracks]*meter
	count   int
	sample  collector
	looks   looks
	ended   time.Time // zero while it is connected
	reason  string
}

// Received takes note of a packet as it came. It does not keep the packet, but while a
// sample is collected, and allocates only for a track's first one.
func (t *Tap) Received(p *media.Packet) {
	if t.off || p == nil || p.Track == nil || p.Track.Timescale <= 0 || p.Track.Kind() == 0 {
		return
	}
	at := p.Arrival
	if at.IsZero() {
		at = time.Now()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started {
		t.started, t.base = true, at
		t.baseDTS = media.Rescale(p.DTS, int64(p.Track.Timescale), int64(time.Second))
	}
	m := t.meter(p.Track.ID)
	if m == nil {
		return
	}
	m.note(p, at, at.Sub(t.base), t.baseDTS)
	if t.sample.wanted {
		t.sample.take(p)
	}
}

// meter finds the meter of a track; nil for one too many.
func (t *Tap) meter(id int) *meter {
	for _, m := range t.meters[:t.count] {
		if m.id == id {
			return m
		}
	}
	if t.count == maxTracks {
		return nil
	}
	m := &meter{id: id}
	t.meters[t.count] = m
	t.count++
	return m
}

// Ended tells that the publisher left; err is why, nil if by itself. What was measured
// last is kept.
func (t *Tap) Ended(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.off || !t.ended.IsZero() {
		return
	}
	t.ended = time.Now()
	t.sample.drop()
	if err != nil {
		t.reason = err.Error()
	}
}

// live reports whether the publisher is connected.
func (t *Tap) live() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended.IsZero()
}
