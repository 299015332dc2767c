package doctor

import (
	"context"
	"errors"
	"time"

	"onair/internal/media"
)

// collectFactor bounds for how many publishers samples are collected at the same time,
// as a multiple of the samplers.
const collectFactor = 4

// job is a sample that is to be looked at.
type job struct {
	tap   *Tap
	audio []*media.Packet
	key   *media.Packet
}

// collect asks a publisher's tap for a sample when one is due, and hands a complete one
// to the samplers. When these are busy it waits for the next second.
func (d *Doctor) collect(s *stream, now time.Time, jobs chan<- job, collecting *int) {
	t := s.activeTap()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended.IsZero() || !t.started {
		return
	}
	c := &t.sample
	if !c.wanted {
		if now.Before(t.looks.next) || *collecting >= collectFactor*d.cfg.Samplers {
			return
		}
		*collecting++
		c.want(now)
		return
	}
	*collecting++
	audio, video := t.kinds()
	if !c.enough(now, audio, video) {
		return
	}
	j := job{tap: t, audio: append([]*media.Packet(nil), c.audio[:c.count]...), key: c.key}
	if len(j.audio) == 0 && j.key == nil {
		c.drop()
		t.looks.next = now.Add(d.cfg.SampleInterval)
		return
	}
	select {
	case jobs <- j:
		c.drop()
		t.looks.next = now.Add(d.cfg.SampleInterval)
	default:
		d.metrics.looks.WithLabelValues("busy").Inc()
	}
}

// kinds tells which kinds of track the source's rendition has.
func (t *Tap) kinds() (audio, video bool) {
	for _, m := range t.meters[:t.count] {
		if m.track.Rendition != "" {
			continue
		}
		audio = audio || m.track.Kind() == media.Audio
		video = video || m.track.Kind() == media.Video
	}
	return audio, video
}

// sampler looks at samples, one after the other, until ctx ends.
func (d *Doctor) sampler(ctx context.Context, jobs <-chan job) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-jobs:
			d.study(ctx, j)
		}
	}
}

// study lets the decoder look at a sample and keeps what it says.
func (d *Doctor) study(ctx context.Context, j job) {
	if len(j.audio) > 0 {
		heard, err := within(ctx, d.cfg.SampleTimeout, func(ctx context.Context) (sound, error) { return d.decoder.listen(ctx, j.audio) })
		if d.counted(err) {
			j.tap.mu.Lock()
			j.tap.looks.heard(heard, j.audio[len(j.audio)-1].Arrival)
			j.tap.mu.Unlock()
		}
	}
	if j.key != nil {
		seen, err := within(ctx, d.cfg.SampleTimeout, func(ctx context.Context) (still, error) { return d.decoder.look(ctx, j.key) })
		if d.counted(err) {
			j.tap.mu.Lock()
			j.tap.looks.seen(seen, j.key.Arrival)
			j.tap.mu.Unlock()
		}
	}
}

// within runs f with a time limit.
func within[T any](ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}

// counted counts the result of a look and reports whether there is one. A failure is
// not the operator's trouble: encoders send what ffmpeg cannot decode, and the readings
// are unknown then.
func (d *Doctor) counted(err error) bool {
	switch {
	case err == nil:
		d.metrics.looks.WithLabelValues("ok").Inc()
		return true
	case errors.Is(err, context.DeadlineExceeded):
		d.metrics.looks.WithLabelValues("timeout").Inc()
	case errors.Is(err, context.Canceled):
	default:
		d.metrics.looks.WithLabelValues("failed").Inc()
		d.log.Debug("a sample could not be decoded", "reason", err.Error())
	}
	return false
}
