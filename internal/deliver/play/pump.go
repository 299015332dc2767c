package play

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"onair/internal/hub"
	"onair/internal/media"
)

const (
	// away is how long the track that is sent may be silent before another one of its feed
	// takes its place.
	away = 2 * time.Second
	// staleSound is how long ago sound may have arrived that is sent when a pump begins: what came
	// before would only make viewers late.
	staleSound = 300 * time.Millisecond
	// justNow is how long ago a key frame may have arrived at which viewers change to a picture.
	justNow = 800 * time.Millisecond
	// maxPumpLags in skipWindow is how often a pump may be taken to the newest key frame
	// before its viewers are sent something smaller.
	maxPumpLags = 3
	// rateSpan is the media over which a rate is measured.
	rateSpan = 2 * time.Second
)

// pumpKey names what a pump reads.
type pumpKey struct {
	stream *hub.Stream
	feed   string
	codec  media.Codec
}

// pump reads one track and writes it to one Fan, as long as somebody watches it.
type pump struct {
	key   pumpKey
	fan   Fan
	stop  context.CancelFunc
	done  chan struct{}
	users int // guarded by Realtime.mu

	keys atomic.Int64 // key frames that were written
	live atomic.Int64 // those of them that had just arrived: a viewer changes at one of these
	rate atomic.Int64 // in bits a second; 0 while it is not known
	slow atomic.Bool  // it was taken to the newest key frame too often, or cannot go on
}

// acquire returns the pump of a track, which it starts if need be. release it.
func (r *Realtime) acquire(m *room, key pumpKey) *pump {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := m.pumps[key]
	if p == nil {
		ctx, cancel := context.WithCancel(context.Background())
		p = &pump{key: key, stop: cancel, done: make(chan struct{}), fan: r.newFan(m.requestKey)}
		m.pumps[key] = p
		r.pumping.Inc()
		go p.run(ctx, r)
	}
	p.users++
	return p
}

// release gives a pump back; the last one to do so stops it and waits for its end.
func (r *Realtime) release(m *room, p *pump) {
	r.mu.Lock()
	p.users--
	last := p.users == 0
	if last {
		delete(m.pumps, p.key)
	}
	r.mu.Unlock()
	if last {
		p.stop()
		<-p.done
		p.fan.Close()
		r.pumping.Dec()
	}
}

// run copies until the stream ends or nobody watches any more.
func (p *pump) run(ctx context.Context, r *Realtime) {
	defer close(p.done)
	feed := p.find(ctx)
	if feed == nil {
		return
	}
	reader := feed.NewReader(hub.ReaderOptions{Name: "realtime", MaxLag: r.cfg.MaxLag})
	defer reader.Close()
	s := &pumped{pump: p}
	for {
		q, err := reader.ReadPacket(ctx)
		var gap *hub.Gap
		switch {
		case errors.As(err, &gap):
			r.lagged.Inc()
			s.lagged(time.Now(), r.cfg.MaxLag/2)
			continue
		case err != nil:
			return
		case q.Track.Codec != p.key.codec || !s.takes(q, time.Now()):
			continue
		}
		if err := p.fan.WritePacket(ctx, q); err != nil {
			if ctx.Err() == nil {
				p.slow.Store(true) // as good as too slow
				r.log.Warn("a feed cannot be sent to viewers in real time", "stream", p.key.stream.Name(), "rendition", p.key.feed, "error", err)
			}
			return
		}
		s.wrote(q)
	}
}

// find waits for the feed; nil when there will be none.
func (p *pump) find(ctx context.Context) *hub.Feed {
	for {
		grown := p.key.stream.FeedsChanged()
		for _, f := range p.key.stream.Feeds() {
			if f.Name() == p.key.feed {
				return f
			}
		}
		select {
		case <-grown:
		case <-p.key.stream.Done():
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// pumped is what a pump's own goroutine remembers.
type pumped struct {
	*pump
	track  int // the ID of the track that is sent
	heard  time.Time
	begun  bool          // with sound that is new enough
	age    time.Duration // of the last packet when it was written
	lags   []time.Time
	from   time.Duration // of the span that is measured
	bits   int64
	marked bool
}

// takes tells whether a packet of the right codec is one to send.
func (s *pumped) takes(q *media.Packet, now time.Time) bool {
	if s.heard.IsZero() || q.Track.ID != s.track && now.Sub(s.heard) > away {
		s.track = q.Track.ID
	}
	if q.Track.ID != s.track {
		return false
	}
	s.heard = now
	if q.Track.Kind() == media.Audio && !s.begun {
		if !q.Arrival.IsZero() && now.Sub(q.Arrival) > staleSound {
			return false
		}
		s.begun = true
	}
	return true
}

// wrote takes in that q was written.
func (s *pumped) wrote(q *media.Packet) {
	at := q.Track.Duration(q.DTS)
	if span := at - s.from; !s.marked || span < 0 {
		s.marked, s.from, s.bits = true, at, 0
	} else if span >= rateSpan {
		rate := int64(float64(s.bits) / span.Seconds())
		if before := s.rate.Load(); before > 0 {
			rate = (rate + before) / 2
		}
		s.rate.Store(rate)
		s.from, s.bits = at, 0
	}
	if s.age = 0; !q.Arrival.IsZero() {
		s.age = time.Since(q.Arrival)
	}
	s.bits += int64(len(q.Data)) * 8
	if q.Key {
		s.keys.Add(1)
		if q.Arrival.IsZero() || time.Since(q.Arrival) < justNow {
			s.live.Add(1)
		}
	}
}

// lagged counts a jump to the newest key frame. A publisher whose media comes in bursts
// makes everybody jump who was in time with what came before: that is not for the server
// to be too slow, for which the last packet must have been late as well.
func (s *pumped) lagged(now time.Time, late time.Duration) {
	s.begun = false
	if s.age < late {
		return
	}
	kept := s.lags[:0]
	for _, at := range s.lags {
		if now.Sub(at) < skipWindow {
			kept = append(kept, at)
		}
	}
	s.lags = append(kept, now)
	s.slow.Store(len(s.lags) > maxPumpLags)
}
