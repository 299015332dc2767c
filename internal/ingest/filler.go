package ingest

import (
	"context"
	"sync"
	"time"

	"onair/internal/media"
)

const (
	// tickEvery is how often silence is looked for and filler is written.
	tickEvery = 50 * time.Millisecond
	// soundAhead is how far silence goes beyond the last repeated picture: so far that what
	// is sent in parts ends with a whole one.
	soundAhead = 100 * time.Millisecond
	// longestFill is the longest time that is filled at once.
	longestFill = 5 * time.Minute
)

// Run keeps the streams going whose publishers are silent or away, until ctx ends.
func (i *Ingest) Run(ctx context.Context) error {
	var slates sync.WaitGroup
	defer slates.Wait()
	if i.slate != nil {
		slates.Go(func() { i.makeSlates(ctx) })
	}
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	var desks []*desk
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		desks = desks[:0]
		i.mu.Lock()
		for _, d := range i.desks {
			desks = append(desks, d)
		}
		i.mu.Unlock()
		for _, d := range desks {
			if !d.tick(time.Now()) {
				i.forget(d)
			}
		}
		clear(desks)
	}
}

// still is how long one repeated picture lasts, by the latency mode: about a part.
func (d *desk) still() time.Duration {
	if d.mode == media.LatencyUltra {
		return 200 * time.Millisecond
	}
	return 500 * time.Millisecond
}

// fill writes filler on every lane that has fallen silent, up to now if nobody is on the
// air, and else up to where the others are. A picture is written when it is due to be shown:
// it lasts until the next one, which may be the publisher's.
func (d *desk) fill(now time.Time) {
	from, until := d.gap(now)
	// In steps, so that the tracks stay interleaved.
	for at := from; from < until; at = min(at+d.still(), until) {
		// Sound goes little further than the pictures: what follows is the publisher's to use.
		pictured, pictures := time.Duration(0), false
		for _, l := range d.lanes {
			if l.track.Kind() != media.Video || !d.silent(l, now) || !l.fillable() {
				continue
			}
			if err := d.hold(l, at); err != nil {
				return // the stream is over
			}
			pictured, pictures = max(pictured, l.track.Duration(l.last)), true
		}
		if !pictures {
			pictured = until
		}
		for _, l := range d.lanes {
			if l.track.Kind() == media.Audio && d.silent(l, now) && l.fillable() {
				if err := d.mute(l, min(at, pictured+soundAhead)); err != nil {
					return
				}
			}
		}
		if at >= until {
			return
		}
	}
}

// gap is what fill has to fill: from where the first lane fell silent that can be filled,
// and no more than longestFill.
func (d *desk) gap(now time.Time) (from, until time.Duration) {
	until = d.awaits(now).Sub(d.zero)
	from = until
	for _, l := range d.lanes {
		// One that no filler can be made for stays where it is, ever further back.
		if d.silent(l, now) && l.fillable() {
			from = min(from, l.track.Duration(l.next))
		}
	}
	if d.air != nil {
		until = min(until, d.frontier(now))
	}
	if until-from > longestFill {
		for _, l := range d.lanes {
			l.next = max(l.next, l.track.Ticks(until-longestFill))
		}
		from = until - longestFill
	}
	return from, until
}

// silent tells whether a lane has to be filled.
func (d *desk) silent(l *lane, now time.Time) bool {
	return l.started && (d.air == nil || now.Sub(l.arrived) > l.patience())
}

// fillable tells whether filler can be made for a lane: there is no silence of some codecs,
// and no picture before the first key frame.
func (l *lane) fillable() bool {
	if l.track.Kind() == media.Audio {
		return l.hush()
	}
	return l.track.Kind() == media.Video && l.sample != nil
}

// frontier is how far the tracks have come that are not silent.
func (d *desk) frontier(now time.Time) (at time.Duration) {
	for _, l := range d.lanes {
		if l.started && !d.silent(l, now) {
			at = max(at, l.track.Duration(l.last))
		}
	}
	return at
}

// mute writes silence on a lane that ends at a time at the latest.
func (d *desk) mute(l *lane, until time.Duration) error {
	for end := l.track.Ticks(until); l.next+l.quiet.samples <= end; {
		l.filled = true
		if err := d.pub.Fill(l.silent(d.wall(l, l.next+l.quiet.samples))); err != nil {
			return err
		}
	}
	return nil
}

// hold repeats the last picture of a lane as often as it was due before a time.
func (d *desk) hold(l *lane, before time.Duration) error {
	end, step := l.track.Ticks(before), l.track.Ticks(d.still())
	for l.next < end {
		q := &media.Packet{
			Track: l.track, DTS: l.next, PTS: l.next + l.moved, Duration: step, Key: true,
			Arrival: d.wall(l, l.next), Data: l.sample,
		}
		l.wrote(q)
		l.filled, l.needKey = true, true
		d.metrics.filler.Inc()
		if err := d.pub.Fill(q); err != nil {
			return err
		}
	}
	return nil
}

// wall is the wall clock at a time of a lane.
func (d *desk) wall(l *lane, ticks int64) time.Time { return d.zero.Add(l.track.Duration(ticks)) }
