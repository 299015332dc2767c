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
// air, and else up to where the others are.
func (d *desk) fill(now time.Time) {
	until := now.Sub(d.zero)
	from := until
	for _, l := range d.lanes {
		if d.silent(l, now) {
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
	// In steps, so that the tracks stay interleaved.
	step := d.still()
	for at := from + step; from < until; at += step {
		for _, l := range d.lanes {
			if d.silent(l, now) {
				if err := d.fillTo(l, min(at, until)); err != nil {
					return // the stream is over
				}
			}
		}
		if at >= until {
			return
		}
	}
}

// silent tells whether a lane has to be filled.
func (d *desk) silent(l *lane, now time.Time) bool {
	return l.started && (d.air == nil || now.Sub(l.arrived) > l.patience())
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

func (d *desk) fillTo(l *lane, until time.Duration) error {
	end := l.track.Ticks(until)
	if l.track.Kind() == media.Audio {
		if !l.hush() {
			return nil
		}
		for l.next+l.quiet.samples <= end {
			l.filled = true
			if err := d.pub.Fill(l.silent(d.wall(l, l.next+l.quiet.samples))); err != nil {
				return err
			}
		}
		return nil
	}
	if l.sample == nil {
		return nil
	}
	step := l.track.Ticks(d.still())
	for l.next+step <= end {
		q := &media.Packet{
			Track: l.track, DTS: l.next, PTS: l.next + l.moved, Duration: step, Key: true,
			Arrival: d.wall(l, l.next+step), Data: l.sample,
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
