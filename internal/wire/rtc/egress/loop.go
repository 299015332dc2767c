package egress

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pion/srtp/v3"

	"onair/internal/media"
)

// housekeepTime is how often a loop looks at what is due with time.
const housekeepTime = 200 * time.Millisecond

// viewer is a session as its loop sees it.
type viewer struct {
	session *Session
	loop    *loop
	path    *path
	seal    *sealer
	in, out *srtp.Context // of RTCP
	video   flow
	audio   flow
	est     estimator
	rep     repairs

	epoch     time.Duration // wall clock of presentation time 0
	reference *Fan          // whose time that is
	due       time.Time     // of the next reports
	reports   int
}

func (v *viewer) flows() [2]*flow { return [2]*flow{&v.video, &v.audio} }

// group is the flows of one loop that watch one fan.
type group struct {
	fan   *Fan
	loop  *loop
	flows []*flow
	next  uint64 // frame to be looked at
	dirty bool   // guarded by loop.mu
}

// feedback is RTCP of a viewer.
type feedback struct {
	session *Session
	data    []byte
}

// loop sends for its viewers. Its methods are called by its own goroutine but for those
// that say otherwise.
type loop struct {
	engine  *Engine
	batch   *batch
	now     time.Time
	viewers map[*Session]*viewer
	groups  map[*Fan]*group
	paced   []*flow
	tick    time.Time // of the next pacing
	keep    time.Time // of the next housekeeping
	frames  []*frame
	packets int
	bytes   int

	mu      sync.Mutex
	dirty   []*group
	inbox   []feedback
	orders  []func(now time.Time)
	stopped bool
	signal  chan struct{}
}

func newLoop(e *Engine) *loop {
	return &loop{
		engine: e, batch: newBatch(e.conn, e.metrics), viewers: map[*Session]*viewer{}, groups: map[*Fan]*group{},
		signal: make(chan struct{}, 1),
	}
}

// wake tells the loop that a fan has frames. It may be called by any goroutine.
func (l *loop) wake(g *group) {
	l.mu.Lock()
	if !g.dirty {
		g.dirty = true
		l.dirty = append(l.dirty, g)
	}
	l.mu.Unlock()
	l.ring()
}

func (l *loop) ring() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// do has the loop call something. It may be called by any goroutine.
func (l *loop) do(order func(now time.Time)) {
	l.mu.Lock()
	if !l.stopped {
		l.orders = append(l.orders, order)
	}
	l.mu.Unlock()
	l.ring()
}

// hear hands feedback to the loop. It may be called by any goroutine.
func (l *loop) hear(s *Session, data []byte) {
	l.mu.Lock()
	ok := !l.stopped && len(l.inbox) < maxInbox && s.unheard.Load() < maxFeedback
	if ok {
		s.unheard.Add(1)
		l.inbox = append(l.inbox, feedback{session: s, data: slices.Clone(data)})
	}
	l.mu.Unlock()
	if !ok {
		l.engine.metrics.dropped.WithLabelValues(dropInbox).Inc()
		return
	}
	if !measures(data) { // that can wait for the next frame
		l.ring()
	}
}

// run sends until ctx ends.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(housekeepTime)
	defer timer.Stop()
	var dirty []*group
	var inbox []feedback
	var orders []func(now time.Time)
	for {
		select {
		case <-ctx.Done():
			l.stop()
			return
		case <-l.signal:
		case <-timer.C:
		}
		l.now = time.Now()
		l.mu.Lock()
		dirty, l.dirty = l.dirty, dirty[:0]
		inbox, l.inbox = l.inbox, inbox[:0]
		orders, l.orders = l.orders, orders[:0]
		for _, g := range dirty {
			g.dirty = false
		}
		l.mu.Unlock()
		for _, order := range orders {
			order(l.now)
		}
		for _, f := range inbox {
			f.session.unheard.Add(-1)
			if v := l.viewers[f.session]; v != nil {
				v.hear(f.data, l.now)
			}
		}
		for _, g := range dirty {
			l.spread(g)
		}
		clear(dirty)
		clear(inbox)
		clear(orders)
		l.timely()
		l.batch.flush()
		l.account()
		wait := l.keep.Sub(l.now)
		if len(l.paced) > 0 {
			wait = min(wait, l.tick.Sub(l.now))
		}
		timer.Reset(max(wait-time.Since(l.now), 0))
	}
}

// timely does what is due with time.
func (l *loop) timely() {
	if len(l.paced) > 0 && !l.now.Before(l.tick) {
		l.tick = l.now.Add(paceTime)
		for _, f := range slices.Clone(l.paced) {
			if f.state == catching && !f.v.blocked(f) {
				f.catch(l.now)
			}
		}
	}
	if l.now.Before(l.keep) {
		return
	}
	l.keep = l.now.Add(housekeepTime)
	for _, v := range l.viewers {
		v.housekeep(l.now)
	}
}

// spread sends the new frames of a fan to all flows that watch it.
func (l *loop) spread(g *group) {
	frames, lost := g.fan.since(g.next, l.frames[:0])
	if len(frames) == 0 {
		return
	}
	if lost {
		g.fan.metrics.dropped.WithLabelValues(dropLag).Inc()
	}
	g.next = frames[len(frames)-1].no + 1
	from := 0
	if l.now.Sub(frames[0].in) > lagTime {
		for i := len(frames) - 1; i > 0; i-- {
			if frames[i].key {
				g.fan.metrics.dropped.WithLabelValues(dropLag).Add(float64(i))
				from = i
				break
			}
		}
	}
	for _, fr := range frames[from:] {
		// A flow that changes to another fan leaves the group meanwhile.
		for i := len(g.flows) - 1; i >= 0; i-- {
			if i < len(g.flows) {
				g.flows[i].take(g.fan, fr, l.now)
			}
		}
	}
	clear(frames)
	l.frames = frames[:0]
}

// meet lets a flow hear of a fan's frames, part ends that.
func (l *loop) meet(f *flow, fan *Fan) {
	g := l.groups[fan]
	if g == nil {
		g = &group{fan: fan, loop: l}
		l.groups[fan] = g
		fan.join(g)
	}
	g.flows = append(g.flows, f)
}

func (l *loop) part(f *flow, fan *Fan) {
	g := l.groups[fan]
	if g == nil {
		return
	}
	if i := slices.Index(g.flows, f); i >= 0 {
		g.flows = slices.Delete(g.flows, i, i+1)
	}
	if len(g.flows) == 0 {
		fan.leave(g)
		delete(l.groups, fan)
	}
}

// pace lets a flow be sent at a pace.
func (l *loop) pace(f *flow) {
	if len(l.paced) == 0 {
		l.tick = l.now.Add(paceTime)
	}
	if !slices.Contains(l.paced, f) {
		l.paced = append(l.paced, f)
	}
}

func (l *loop) unpace(f *flow) {
	if i := slices.Index(l.paced, f); i >= 0 {
		l.paced = slices.Delete(l.paced, i, i+1)
	}
}

// add makes a session a viewer of the loop.
func (l *loop) add(s *Session, seal *sealer, in, out *srtp.Context) {
	v := &viewer{session: s, loop: l, path: s.path.Load(), seal: seal, in: in, out: out}
	v.video, v.audio = newFlow(v, media.Video, s.params.Video), newFlow(v, media.Audio, s.params.Audio)
	v.due = l.now.Add(time.Hour) // until something is sent
	l.viewers[s] = v
}

// remove ends a viewer.
func (l *loop) remove(s *Session) {
	v := l.viewers[s]
	if v == nil {
		return
	}
	delete(l.viewers, s)
	for _, f := range v.flows() {
		l.unpace(f)
		for _, fan := range []*Fan{f.fan, f.pending} {
			if fan != nil {
				l.part(f, fan)
			}
		}
		f.fan, f.pending, f.state = nil, nil, idle
	}
}

// stop takes nothing more, and lets go of the fans.
func (l *loop) stop() {
	l.mu.Lock()
	l.stopped = true
	l.orders, l.inbox = nil, nil
	l.mu.Unlock()
	for s := range l.viewers {
		l.remove(s)
	}
}

func (l *loop) account() {
	if l.packets > 0 {
		l.engine.metrics.packets.Add(float64(l.packets))
		l.engine.metrics.bytes.Add(float64(l.bytes))
		l.packets, l.bytes = 0, 0
	}
}
