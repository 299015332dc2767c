package transcode

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

const (
	// settingsTimeout bounds how long a stream's choice is waited for.
	settingsTimeout = 5 * time.Second
	// refusedFor is how long a rung that was refused is told as such.
	refusedFor = 10 * time.Second
	// firstPause is how long a rung is left alone after it failed or was shed; each time
	// it does so again at once doubles it, up to maxPause.
	firstPause, maxPause = time.Minute, 10 * time.Minute
	// alwaysTick is how often a ladder that is always on is looked after.
	alwaysTick = time.Second
	// firstTrackID is the first of the IDs of tracks that are made, which must differ from
	// the publisher's.
	firstTrackID = 1000
)

// rung is a rendition in its life. The stream's mutex guards what is not atomic.
type rung struct {
	name string
	id   int // of its track
	// wanted is set when somebody asks for it, until that is noticed: reading the clock for
	// each request would cost more than all else. serving is set while asking again needs
	// nothing but that.
	wanted  atomic.Bool
	serving atomic.Bool
	// last is the highest PTS that was written to its feed, as a time.Duration.
	last atomic.Int64

	wantedAt time.Time // when that was noticed last
	spec     *spec
	planned  bool // the present plan has it
	state    State
	since    time.Time
	reason   string
	// until is when a pause is over; zero if there is none, or no end of it.
	until time.Time
	// pauses counts those that came one after another.
	pauses   int
	encoder  string
	note     string // what to say of the encoder when it runs
	encode   *encode
	reserved float64 // of the budget
	asked    time.Time
	cpu      time.Duration // of encodes that are over
	restarts int
}

// stream is what is made of one stream.
type stream struct {
	t    *Transcoder
	hub  *hub.Stream
	id   string
	poke chan struct{} // holds 1
	// rungs are those of the present plan by the names of their feeds.
	rungs atomic.Pointer[map[string]*rung]
	wg    sync.WaitGroup // of encodes

	mu     sync.Mutex
	ctx    context.Context // of run
	known  bool            // choice was loaded
	reload bool            // it is out of date
	ladder ladder
	choice uint64 // counts loads
	key    planKey
	order  []*rung          // as planned
	all    map[string]*rung // every rung there ever was
	group  *encode          // of a ladder that is always on
	shedAt time.Time        // when a rung was shed last
	// declared is how many pictures a track says may be out of order.
	declared struct {
		track  *media.Track
		frames int
	}
}

// planKey is what a plan depends on.
type planKey struct {
	src    source
	choice uint64
}

func newStream(t *Transcoder, src *hub.Stream) *stream {
	s := &stream{t: t, hub: src, id: src.Name(), poke: make(chan struct{}, 1), all: make(map[string]*rung)}
	s.rungs.Store(&map[string]*rung{})
	return s
}

// run looks after the stream until it ends.
func (s *stream) run(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer s.close()
	defer s.wg.Wait()
	defer stop()
	s.mu.Lock()
	s.ctx, s.reload = ctx, true
	s.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.load(ctx)
		if next := s.reconcile(); next > 0 {
			timer.Reset(next)
		} else {
			timer.Stop()
		}
		select {
		case <-s.poke:
		case <-timer.C:
		case <-s.hub.Done():
			s.wg.Wait() // they end by themselves, with everything that came
			return
		case <-ctx.Done():
			return
		}
	}
}

// close forgets what was told of rungs that cannot be had.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.all {
		s.move(r, rest, "")
	}
	s.rungs.Store(&map[string]*rung{})
}

// changed tells run to look again, and to load the choice again if settings is set.
func (s *stream) changed(settings bool) {
	if settings {
		s.mu.Lock()
		s.reload = true
		s.mu.Unlock()
	}
	s.wake()
}

func (s *stream) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// load reads the stream's choice if it is out of date.
func (s *stream) load(ctx context.Context) {
	s.mu.Lock()
	due := s.reload
	s.reload = false
	s.mu.Unlock()
	if !due {
		return
	}
	var choice Choice
	if s.t.settings != nil {
		ctx, cancel := context.WithTimeout(ctx, settingsTimeout)
		defer cancel()
		c, err := s.t.settings.Ladder(ctx, s.id)
		if err != nil && ctx.Err() == nil {
			s.t.log.Warn("the stream's ladder cannot be read; the server's is used", "stream", s.id, "error", err)
		}
		choice = c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ladder, s.known = s.t.cfg.resolve(choice), true
	s.choice++
}

// source describes what the renditions are made of; the mutex is held.
func (s *stream) source() source {
	feed := s.hub.Feed()
	var src source
	for _, tr := range feed.Tracks() {
		switch {
		case tr.Kind() == media.Video && src.video == nil:
			src.video = tr
		case tr.Kind() == media.Audio && src.audio == nil:
			src.audio = tr
		}
	}
	for _, f := range s.hub.Feeds()[1:] {
		if !f.Derived() {
			src.taken += f.Name() + " "
			src.several = src.several || len(f.Tracks()) > 0 // those of a publisher before have none
		}
	}
	if src.video == nil {
		return src
	}
	if s.declared.track != src.video {
		s.declared.track = src.video
		s.declared.frames, _ = bitstream.Reorder(src.video)
	}
	src.reorders = reorders(feed, s.declared.frames)
	src.rate = src.video.FrameRate
	if src.rate == 0 {
		src.rate = s.measuredRate(src.video)
	}
	return src
}

// usualRates are what a measured frame rate stands for.
var usualRates = []float64{10, 15, 20, 24, 25, 30, 48, 50, 60}

// measuredRate is the frame rate of a track that declares none, as a usual one, so that it
// holds still.
func (s *stream) measuredRate(video *media.Track) float64 {
	for _, tr := range s.hub.Snapshot().Tracks {
		if tr.ID != video.ID || tr.MeasuredFrameRate == 0 || tr.Packets < slowRate {
			continue
		}
		return slices.MinFunc(usualRates, func(a, b float64) int {
			return cmp.Compare(math.Abs(a-tr.MeasuredFrameRate), math.Abs(b-tr.MeasuredFrameRate))
		})
	}
	if s.key.src.video == video {
		return s.key.src.rate // it may be silent for a moment
	}
	return 0
}

// replan works out the plan if what it depends on changed; the mutex is held.
func (s *stream) replan() {
	if !s.known {
		return
	}
	key := planKey{s.source(), s.choice}
	if key == s.key {
		return
	}
	s.key = key
	for _, r := range s.all {
		r.planned = false
	}
	rungs := make(map[string]*rung)
	s.order = s.order[:0:0]
	for _, sp := range plan(key.src, s.ladder, s.t.tool) {
		r := s.all[sp.name]
		if r == nil {
			r = &rung{name: sp.name, id: firstTrackID + len(s.all), state: Idle, since: time.Now()}
			r.last.Store(-1)
			s.all[sp.name] = r
		}
		r.spec, r.planned = sp, true
		s.order = append(s.order, r)
		rungs[sp.name] = r
		if sp.alias != "" {
			rungs[sp.alias] = r
		}
		switch {
		case sp.flaw != "" && !r.state.encodes():
			r.until = time.Time{}
			s.move(r, fail, sp.flaw)
		case sp.flaw == "" && r.state == Failed && r.until.IsZero():
			s.move(r, rest, "")
		}
	}
	for _, r := range s.all {
		if !r.planned && !r.state.encodes() {
			s.move(r, rest, "")
		}
	}
	s.rungs.Store(&rungs)
}

// move takes a rung through its life; the mutex is held.
func (s *stream) move(r *rung, t trigger, reason string) {
	next := r.state.after(t)
	if next == r.state && (reason == "" || reason == r.reason || next == Idle) {
		return
	}
	was := r.state
	r.state, r.reason, r.since = next, reason, time.Now()
	r.serving.Store(next.encodes())
	if !next.encodes() && r.reserved > 0 {
		s.t.budget.give(r.reserved)
		r.reserved = 0
	}
	if was != next {
		s.t.m.changed(was, next)
	}
	s.t.log.Info("rendition "+string(next), "stream", s.id, "rendition", r.name, "was", string(was), "reason", reason, "encoder", r.encoder)
	if s.t.bus != nil {
		s.t.bus.Publish(event.RenditionChanged{StreamID: s.id, Rendition: r.name, State: string(next), Reason: reason, Encoder: r.encoder})
	}
}

// pause leaves a rung alone for a while, each time twice as long; the mutex is held.
func (s *stream) pause(r *rung) {
	r.until = time.Now().Add(min(maxPause, firstPause<<min(r.pauses, 8)))
	r.pauses++
}

// ask wants a rendition that may not be made yet.
func (s *stream) ask(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hub.State() == hub.Ended || s.ctx == nil || s.ctx.Err() != nil {
		return fault.New(fault.Unavailable, "make rendition", name, "the stream has ended", "")
	}
	s.replan()
	r := (*s.rungs.Load())[name]
	if r == nil {
		return notOffered(name)
	}
	r.wantedAt = time.Now()
	return s.admit(r)
}

// admit lets a rung start if it may; the mutex is held.
func (s *stream) admit(r *rung) error {
	const op = "make rendition"
	now := time.Now()
	switch r.state {
	case Starting, Running:
		return nil
	case Failed, Shed:
		if r.until.IsZero() || now.Before(r.until) {
			return fault.New(fault.Unavailable, op, r.name, r.reason, "Choose another rendition")
		}
	}
	if r.spec.video == nil {
		// Without sound there is nothing to watch, and it costs little.
		r.reserved = s.t.budget.force(soundCost.decode + soundCost.encode)
	} else {
		need := r.spec.cost.encode
		if !s.joins(r) {
			need += r.spec.cost.decode
		}
		reserved, used, ok := s.t.budget.take(need)
		if !ok {
			s.t.m.refused.Inc()
			reason := fmt.Sprintf("it would take about %.1f cores, and %.1f of the %.1f that encoding may take are in use", reserved, used, s.t.budget.total)
			r.until = now.Add(refusedFor)
			if r.state != Refused { // the figures change; who was told need not hear it again
				s.move(r, refuse, reason)
			}
			return fault.New(fault.TooMany, op, r.name, reason, "Choose another rendition, or raise --transcode-cores")
		}
		r.reserved = reserved
	}
	r.asked, r.note = now, ""
	s.move(r, ask, "")
	s.wake()
	return nil
}

// joins reports whether a rung will share the decoder of another; the mutex is held.
func (s *stream) joins(r *rung) bool {
	if !s.kept(r) {
		return false
	}
	for _, o := range s.order {
		if o != r && o.state.encodes() && s.kept(o) && o.spec.video != nil {
			return true
		}
	}
	return false
}

// kept reports whether a rung is to be made as long as the stream lives; the mutex is held.
func (s *stream) kept(r *rung) bool { return s.ladder.mode == Always && r.planned && r.spec.listed }

// reconcile brings what runs in line with what is wanted. It returns when to look again; 0
// if nothing is due.
func (s *stream) reconcile() (next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replan()
	now := time.Now()
	due := func(d time.Duration) {
		if next == 0 || d < next {
			next = max(d, time.Millisecond)
		}
	}
	for _, r := range s.all {
		if r.until.IsZero() || r.state.encodes() || r.state == Idle {
			continue
		}
		if now.Before(r.until) {
			due(r.until.Sub(now))
			continue
		}
		if r.state == Refused && s.kept(r) {
			if s.admit(r) != nil { // as before: nobody need hear of it again
				due(refusedFor)
			}
			continue
		}
		s.move(r, rest, "")
	}
	if s.ladder.mode == Always && s.hub.State() != hub.Ended {
		due(alwaysTick)
		for i := len(s.order) - 1; i >= 0; i-- { // what costs least first
			if r := s.order[i]; s.kept(r) && r.state == Idle {
				_ = s.admit(r) // it has told why not
			}
		}
	}
	s.launch()
	return next
}

// launch starts encodes for rungs that are to start; the mutex is held.
func (s *stream) launch() {
	if s.ctx.Err() != nil {
		return
	}
	var together []*rung
	for _, r := range s.order {
		switch {
		case r.state != Starting || r.encode != nil:
		case s.kept(r) && r.spec.video != nil:
			together = append(together, r)
		default:
			newEncode(s, r).start()
		}
	}
	switch {
	case len(together) == 0:
	case s.group != nil: // it ends, and all begin together
		s.group.regroup = true
		s.group.stop()
	default:
		s.group = newEncode(s, together...)
		s.group.start()
	}
}

func (s *stream) offers() []media.Offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replan()
	var out, rest []media.Offer
	for _, r := range s.order {
		if r.spec.flaw != "" || r.spec.listed && r.spec.video != nil && (r.state == Failed || r.state == Shed) {
			continue
		}
		offers := r.spec.offers()
		out, rest = append(out, offers[0]), append(rest, offers[1:]...)
	}
	return append(out, rest...)
}

func (s *stream) renditions() []Rendition {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replan()
	var out []Rendition
	for _, r := range s.order {
		x := Rendition{
			State: r.state, Reason: r.reason, Encoder: r.encoder, Since: r.since, CPU: r.cpu, Restarts: r.restarts,
		}
		if e := r.encode; e != nil {
			x.CPU += e.used()
			if r.state == Running {
				x.Lag = e.lag()
			}
		}
		for _, o := range r.spec.offers() {
			x.Offer = o
			out = append(out, x)
		}
	}
	return out
}
