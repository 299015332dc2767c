package transcode

import (
	"context"
	"time"

	"onair/internal/hub"
	"onair/internal/media"
)

// outlet takes what an encoder makes of a rung to the rung's feeds. It belongs to one
// goroutine at a time.
type outlet struct {
	e     *encode
	r     *rung
	video bool
	feed  *hub.Derivation
	// other gets the same packets under another name; nil if there is no such feed.
	other *hub.Derivation
	alias string
	from  *media.Track // whose like under that name is to
	to    *media.Track

	// floor is what a packet's PTS has to be over; opened is set when one was.
	floor  time.Duration
	opened bool
}

// newOutlet makes the feeds of a rung; the stream's mutex is held.
func newOutlet(e *encode, r *rung, sp *spec) (*outlet, error) {
	o := &outlet{e: e, r: r, video: sp.video != nil, alias: sp.alias}
	var err error
	if o.feed, err = e.s.hub.Derive(r.name, hub.DeriveOptions{Private: !sp.listed}); err != nil {
		return nil, err
	}
	if sp.alias != "" {
		if o.other, err = e.s.hub.Derive(sp.alias, hub.DeriveOptions{Private: true}); err != nil {
			o.feed.End()
			return nil, err
		}
	}
	return o, nil
}

// begin readies the outlet for another encoder.
func (o *outlet) begin() {
	o.floor = time.Duration(o.r.last.Load())
	o.opened = false
}

// end leaves the feeds, which stay.
func (o *outlet) end() {
	o.feed.End()
	if o.other != nil {
		o.other.End()
	}
}

// WritePacket writes a packet to the feeds. What an encoder makes of what came before it,
// and what is not after what the feeds have, is left out.
func (o *outlet) WritePacket(ctx context.Context, p *media.Packet) error {
	pts := p.Track.Duration(p.PTS)
	if p.DTS < 0 || pts <= o.floor || !o.opened && !p.Key {
		o.e.s.t.m.dropped.Inc()
		return nil
	}
	if !o.video { // an encoder of sound begins before what it is given
		o.floor = pts
	}
	if err := o.feed.WritePacket(ctx, p); err != nil {
		return err
	}
	if o.other != nil {
		if o.from != p.Track {
			to := *p.Track
			to.Rendition = o.alias
			o.from, o.to = p.Track, &to
		}
		q := *p
		q.Track = o.to
		if err := o.other.WritePacket(ctx, &q); err != nil {
			return err
		}
	}
	if last := int64(pts); last > o.r.last.Load() {
		o.r.last.Store(last)
	}
	if !o.opened {
		o.opened = true
		o.e.s.came(o.e, o.r)
	}
	return nil
}

// came says that the first packet of a rung came from its encoder.
func (s *stream) came(e *encode, r *rung) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.has(r) || r.state != Starting {
		return
	}
	if !r.asked.IsZero() {
		s.t.m.first.Observe(time.Since(r.asked).Seconds())
		r.asked = time.Time{}
	}
	s.move(r, come, r.note)
	r.note = ""
}
