package transcode

import (
	"context"
	"fmt"
	"time"

	"onair/internal/media"
)

const (
	// watchTick is how often an encode is looked at.
	watchTick = 500 * time.Millisecond
	// startGrace is how long an encode may take to catch up with the group of pictures that
	// it began with.
	startGrace = 10 * time.Second
	// slowFor is how long it has to be behind to be given up.
	slowFor = time.Second
	// shedGrace is how long the others may take to catch up after a rung was shed.
	shedGrace = 5 * time.Second
	// measureEvery is over how long the cost of an encode is measured.
	measureEvery = 10 * time.Second
	// framesOnTheWay is how many pictures may be inside an encoder that keeps pace, maxStep
	// the most that is forgiven for them.
	framesOnTheWay, maxStep = 4, 20 * time.Second
	// settledAfter is how long a rung has to run so that its failures are forgotten.
	settledAfter = time.Minute
)

// watch ends an encode that nobody wants, gives up rungs for one that is too slow, and
// measures what it costs.
type watch struct {
	e *encode

	job    int64 // when the job did that is being watched
	caught bool  // it was abreast of the source
	made   int64
	// slow is since when it is behind and does not catch up, slowLag how far it was then.
	slow    time.Time
	slowLag time.Duration

	markAt  time.Time // where measuring began
	markCPU time.Duration
}

func newWatch(e *encode) *watch { return &watch{e: e} }

func (w *watch) run(ctx context.Context) {
	ticker := time.NewTicker(watchTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if !w.look(now) {
				return
			}
		}
	}
}

// look does what is due. It reports whether there is more to watch.
func (w *watch) look(now time.Time) bool {
	e := w.e
	s := e.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.idle(now) {
		for _, r := range e.rungs {
			if e.has(r) {
				e.release(r, rest, "")
			}
		}
		e.stop()
		return false
	}
	if e.kind != media.Video {
		return true
	}
	began := e.began.Load()
	if began != w.job {
		w.job, w.caught, w.slow, w.made, w.markAt = began, false, time.Time{}, 0, time.Time{}
	}
	if began == 0 {
		return true
	}
	w.behind(now, now.Sub(time.Unix(0, began)))
	w.measure(now)
	for _, r := range e.rungs {
		if e.has(r) && r.state == Running && r.pauses > 0 && now.Sub(r.since) > settledAfter {
			r.pauses = 0
		}
	}
	return true
}

// idle reports whether nobody wants any of the rungs; the mutex is held.
func (w *watch) idle(now time.Time) bool {
	idle := true
	for _, r := range w.e.rungs {
		if !w.e.has(r) {
			continue
		}
		if r.wanted.Swap(false) {
			r.wantedAt = now
		}
		if w.e.s.kept(r) || now.Sub(r.wantedAt) < w.e.s.t.cfg.Idle {
			idle = false
		}
	}
	return idle
}

// behind sheds the stream's top rung if the encode has been too far behind for too long. One
// that makes nothing at all is not slow but stands still, which ends its job.
func (w *watch) behind(now time.Time, age time.Duration) {
	e, s := w.e, w.e.s
	p := e.progress.Load()
	if p == nil {
		return
	}
	lag, moves := e.lag(), p.Made > w.made
	w.made = p.Made
	// A few pictures are always on their way, and where they are seconds apart that is no lag.
	lag = max(0, lag-min(maxStep, framesOnTheWay*time.Duration(e.tap.step.Load())))
	limit := s.t.cfg.MaxLag
	if lag < limit/2 {
		w.caught = true
	}
	if lag <= limit || !w.caught && age < startGrace {
		w.slow = time.Time{}
		return
	}
	switch {
	case w.slow.IsZero() || lag < w.slowLag-w.slowLag/10:
		w.slow = time.Time{}
		if moves {
			w.slow, w.slowLag = now, lag
		}
	case now.Sub(w.slow) < slowFor || now.Sub(s.shedAt) < shedGrace || !moves && now.Sub(w.slow) < 2*slowFor:
	case !moves:
		w.slow = time.Time{}
	default:
		w.slow = time.Time{}
		s.shed(lag)
	}
}

// shed gives up the top rung of the stream for a while; the mutex is held.
func (s *stream) shed(lag time.Duration) {
	var top *rung
	for _, r := range s.order {
		if r.encode == nil || !r.state.encodes() || r.spec.video == nil {
			continue
		}
		if top == nil || r.spec.cost.encode > top.spec.cost.encode {
			top = r
		}
	}
	if top == nil {
		return
	}
	s.shedAt = time.Now()
	s.t.m.shed.Inc()
	e := top.encode
	s.pause(top)
	e.release(top, shed, fmt.Sprintf("the machine is too slow to encode it: it was %.1f s behind the source", lag.Seconds()))
	if e == s.group {
		// The others go on without it.
		e.regroup = true
		e.stop()
		return
	}
	e.kill()
}

// measure corrects what the encode is reckoned to cost; the mutex is held.
func (w *watch) measure(now time.Time) {
	e := w.e
	p := e.progress.Load()
	if p == nil || p.CPU == 0 {
		return
	}
	if w.markAt.IsZero() {
		w.markAt, w.markCPU = now, p.CPU
		return
	}
	if now.Sub(w.markAt) < measureEvery {
		return
	}
	measured := (p.CPU - w.markCPU).Seconds() / now.Sub(w.markAt).Seconds()
	w.markAt, w.markCPU = now, p.CPU
	// The decoder is shared by the rungs, and each has its encoder.
	total, n := 0.0, 0
	for _, r := range e.rungs {
		if e.has(r) {
			total += r.spec.cost.encode
			n++
		}
	}
	if n == 0 {
		return
	}
	decode := e.rungs[0].spec.cost.decode
	for _, r := range e.rungs {
		if e.has(r) {
			estimate := r.spec.cost.encode + decode/float64(n)
			r.reserved = e.s.t.budget.correct(r.reserved, estimate, measured*estimate/(total+decode))
		}
	}
}
