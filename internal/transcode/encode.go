package transcode

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/media"
)

const (
	// quick is how long an encoder has to run so that breaking off counts as its first time.
	quick = 10 * time.Second
	// maxBreaks is how often in a row an encoder may break off quickly before its rungs fail.
	maxBreaks = 5
	// maxCircuitBreaks is the same for one in hardware, before another one takes over.
	maxCircuitBreaks = 2
	// firstBackoff is the wait before an encoder is started again. It doubles, up to maxBackoff.
	firstBackoff, maxBackoff = 250 * time.Millisecond, 4 * time.Second
)

// encode makes rungs of one stream: one ffmpeg at a time, again and again, until nobody
// wants them.
type encode struct {
	s     *stream
	rungs []*rung
	kind  media.Kind
	// quit ends it with everything that was read; hard ends it at once.
	quit, hard context.Context
	stop, kill context.CancelFunc
	// regroup is set if its rungs go on in another encode; the stream's mutex guards it.
	regroup bool

	tap     *tap
	outlets map[*rung]*outlet
	// encoders are those of the present job.
	encoders []ffmpeg.Encoder
	// breaks counts how often it broke off quickly in a row.
	breaks int

	began    atomic.Int64 // when the present job did, in Unix nanoseconds; 0 between jobs
	progress atomic.Pointer[ffmpeg.Progress]
	spent    atomic.Int64 // processor time of the jobs before, as a time.Duration
}

// newEncode makes an encode of rungs, which are Starting; the stream's mutex is held.
func newEncode(s *stream, rungs ...*rung) *encode {
	e := &encode{s: s, rungs: rungs, kind: rungs[0].spec.kind(), outlets: make(map[*rung]*outlet)}
	e.hard, e.kill = context.WithCancel(s.ctx)
	e.quit, e.stop = context.WithCancel(e.hard)
	back := time.Duration(0)
	if e.kind == media.Video && rungs[0].spec.listed {
		back = joinBack
	}
	e.tap = newTap(e.quit, s.hub.Feed(), e.kind, back)
	for _, r := range rungs {
		r.encode = e
	}
	return e
}

// start runs it in a goroutine that the stream waits for.
func (e *encode) start() { e.s.wg.Go(e.run) }

func (e *encode) run() {
	var wg sync.WaitGroup
	watching, stop := context.WithCancel(e.hard)
	wg.Go(func() { newWatch(e).run(watching) })
	for e.once() {
	}
	stop()
	wg.Wait()
	e.tap.close()
	e.finish()
	e.kill()
}

// once runs one ffmpeg. It reports whether another one is to follow.
func (e *encode) once() bool {
	track, err := e.tap.begin(e.after())
	if err != nil {
		return false // the stream has ended, or nobody wants it
	}
	job := ffmpeg.Job{Stream: e.s.id, Source: track, Outputs: e.prepare(track)}
	if len(job.Outputs) == 0 {
		return false
	}
	e.s.t.m.starts.WithLabelValues(e.kind.String()).Inc()
	began := time.Now()
	e.progress.Store(nil)
	e.began.Store(began.UnixNano())
	err = e.s.t.tool.Run(e.hard, job, e.tap, func(p ffmpeg.Progress) { e.progress.Store(&p) })
	e.began.Store(0)
	if p := e.progress.Swap(nil); p != nil {
		e.spent.Add(int64(p.CPU))
		e.s.t.m.cpu.Add(p.CPU.Seconds())
	}
	return e.judge(err, time.Since(began))
}

// after is the time that the next job has to begin after: what was written stays written.
func (e *encode) after() time.Duration {
	last := int64(-1)
	for _, r := range e.rungs {
		last = max(last, r.last.Load())
	}
	return time.Duration(last)
}

// prepare returns the outputs of a job that encodes a version of the source's track. A rung
// that has no place in it goes to rest.
func (e *encode) prepare(track *media.Track) []ffmpeg.Output {
	s := e.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replan()
	specs := s.specsFor(track)
	e.encoders = nil
	var outs []ffmpeg.Output
	for _, r := range e.rungs {
		if !e.has(r) {
			continue
		}
		sp := specs[r.name]
		if sp == nil || sp.flaw != "" {
			reason := ""
			if sp != nil {
				reason = sp.flaw
			}
			e.release(r, rest, reason)
			continue
		}
		encoder, ok := s.t.encoder(sp.codec())
		if !ok {
			e.release(r, fail, "its encoder is gone")
			continue
		}
		o := e.outlets[r]
		if o == nil {
			var err error
			if o, err = newOutlet(e, r, sp); err != nil {
				s.pause(r)
				e.release(r, fail, err.Error())
				continue
			}
			e.outlets[r] = o
		}
		o.begin()
		r.encoder = encoder.Name
		if !slices.Contains(e.encoders, encoder) {
			e.encoders = append(e.encoders, encoder)
		}
		out := ffmpeg.Output{Name: r.name, TrackID: r.id, Rendition: r.name, Sink: o}
		if sp.video != nil {
			how := *sp.video
			how.Encoder = encoder
			out.Video = &how
		} else {
			how := *sp.audio
			out.Audio = &how
		}
		outs = append(outs, out)
	}
	return outs
}

// specsFor plans for one version of a track, which may not be the newest; the mutex is held.
func (s *stream) specsFor(track *media.Track) map[string]*spec {
	src := s.key.src
	switch {
	case track.Kind() == media.Video && src.video != track:
		src.video = track
		if track.FrameRate > 0 {
			src.rate = track.FrameRate
		}
	case track.Kind() == media.Audio:
		src.audio = track
	}
	out := make(map[string]*spec)
	for _, sp := range plan(src, s.ladder, s.t.tool) {
		out[sp.name] = sp
	}
	return out
}

// has reports whether a rung still is this encode's; the mutex is held.
func (e *encode) has(r *rung) bool { return r.encode == e && r.state.encodes() }

// release takes a rung out of the encode; the mutex is held.
func (e *encode) release(r *rung, t trigger, reason string) {
	r.encode = nil
	r.cpu += e.used()
	if o := e.outlets[r]; o != nil {
		o.end()
	}
	e.s.move(r, t, reason)
}

// judge looks at how a job ended. It reports whether another one is to follow.
func (e *encode) judge(err error, ran time.Duration) bool {
	s := e.s
	switch {
	case e.hard.Err() != nil:
		return false
	case err == nil:
		return true // the source changed, or ended: then the tap says so
	case errors.Is(err, ffmpeg.ErrOutput) && errors.Is(err, io.ErrClosedPipe):
		return false // the stream ended, or the publisher sends that rendition now
	}
	cause := causeOf(err)
	s.t.m.breaks.WithLabelValues(cause).Inc()
	s.t.log.Warn("an encoder broke off", "stream", s.id, "rendition", e.rungs[0].name, "encoder", e.encoders[0].Name, "ran", ran, "error", err)
	if ran >= quick {
		e.breaks = 0
	}
	e.breaks++
	wait := min(maxBackoff, firstBackoff<<(e.breaks-1))
	note := ""
	var failed bool
	switch {
	case errors.Is(err, ffmpeg.ErrSource):
		failed = true
	case e.kind == media.Video && (errors.Is(err, ffmpeg.ErrEncoder) || e.inCircuit() && e.breaks >= maxCircuitBreaks):
		note, failed = e.fallBack(err)
		wait = 0
	default:
		failed = e.breaks >= maxBreaks
	}
	s.mu.Lock()
	mine := 0
	for _, r := range e.rungs {
		if !e.has(r) {
			continue
		}
		mine++
		if failed {
			s.t.m.failures.Inc()
			s.pause(r)
			e.release(r, fail, reasonOf(err))
			continue
		}
		r.restarts++
		r.note = note
		s.move(r, breakOff, reasonOf(err))
	}
	s.mu.Unlock()
	if failed || mine == 0 {
		return false
	}
	e.tap.rewind()
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-e.quit.Done():
			return false
		}
	}
	return true
}

// inCircuit reports whether one of the encoders is hardware.
func (e *encode) inCircuit() bool {
	return slices.ContainsFunc(e.encoders, func(x ffmpeg.Encoder) bool { return x.Hardware })
}

// fallBack lets other encoders take the place of those that broke off with err: of those in
// hardware, where there are any. It returns what to say of it, and whether there is none.
func (e *encode) fallBack(err error) (note string, none bool) {
	t := e.s.t
	var gone, instead []string
	for _, old := range e.encoders {
		if e.inCircuit() && !old.Hardware {
			continue
		}
		t.shun(old.Name)
		if next, ok := t.encoder(old.Codec); ok && next.Name != old.Name {
			gone, instead = append(gone, old.Name), append(instead, next.Name)
		}
	}
	if len(gone) == 0 {
		return "", e.breaks >= maxBreaks || errors.Is(err, ffmpeg.ErrEncoder)
	}
	t.m.fallbacks.Inc()
	e.breaks = 0
	return strings.Join(gone, ", ") + " does not work, so " + strings.Join(instead, ", ") + " is used: " + reasonOf(err), false
}

// finish gives back what the encode still has.
func (e *encode) finish() {
	s := e.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range e.rungs {
		if !e.has(r) {
			continue
		}
		if e.regroup {
			e.release(r, breakOff, "")
		} else {
			e.release(r, rest, "")
		}
	}
	for _, o := range e.outlets {
		o.end()
	}
	if s.group == e {
		s.group = nil
	}
	s.wake()
}

// used is the processor time that it has taken.
func (e *encode) used() time.Duration {
	d := time.Duration(e.spent.Load())
	if p := e.progress.Load(); p != nil {
		d += p.CPU
	}
	return d
}

// lag is how far what comes out is behind what the stream has.
func (e *encode) lag() time.Duration {
	d := e.tap.lag(time.Now())
	if p := e.progress.Load(); p != nil {
		d += p.Lag
	}
	return d
}

// causeOf is the label of an error in metrics.
func causeOf(err error) string {
	for label, target := range map[string]error{
		"died": ffmpeg.ErrDied, "stalled": ffmpeg.ErrStalled, "encoder": ffmpeg.ErrEncoder,
		"garbage": ffmpeg.ErrGarbage, "source": ffmpeg.ErrSource,
	} {
		if errors.Is(err, target) {
			return label
		}
	}
	return "other"
}

// reasonOf puts an error of ffmpeg in words for people: its cause, as the rest is known
// where it is told.
func reasonOf(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Cause != nil {
		return f.Cause.Error()
	}
	return err.Error()
}
