package doctor

import (
	"sync"
	"time"

	"onair/internal/event"
)

// eventTimes is how many takeovers and returns of a stream are remembered.
const eventTimes = 8

// stream is everything that is known of one live stream.
type stream struct {
	id string

	mu      sync.Mutex
	main    source
	backup  source
	status  Status
	score   int
	since   time.Time // when the status became what it is
	history history
	// over is set between the end of a broadcast and the next publisher.
	over bool
	// touched is when something was last heard of it.
	touched time.Time

	takeovers, resumes times
	refusedAt          time.Time
	refusedCode        string
	refusedReason      string
	refused            int
	// outputs are the renditions that the server makes, at most maxOutputs.
	outputs []output
	stopped stopped // the recording, if it is
}

// source is the place of the main or the backup publisher: the tap of the present or the
// last one, what was read of it last, and what was found.
type source struct {
	name       string // "main" or "backup"
	tap        *Tap
	examiner   examiner
	exam       exam
	conditions []condition // one for each entry of the catalogue
	repaired   map[string]int64
}

// times is a short ring of moments.
type times struct {
	ring  [eventTimes]time.Time
	count int
}

func (t *times) add(at time.Time) {
	t.ring[t.count%eventTimes] = at
	t.count++
}

// within counts the moments since then.
func (t *times) within(now time.Time, d time.Duration) int {
	n := 0
	for _, at := range t.ring {
		if !at.IsZero() && now.Sub(at) <= d {
			n++
		}
	}
	return n
}

func newStream(id string, now time.Time) *stream {
	return &stream{id: id, main: source{name: "main"}, backup: source{name: "backup"}, status: NoData, since: now, touched: now}
}

// watch puts a tap in its place. A broadcast that follows one that is over begins with
// nothing found.
func (s *stream) watch(t *Tap, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched = now
	if s.over {
		s.over = false
		s.main, s.backup = source{name: "main"}, source{name: "backup"}
		s.takeovers, s.resumes, s.outputs, s.stopped = times{}, times{}, nil, stopped{}
	}
	p := &s.main
	if t.session.Backup {
		p = &s.backup
	}
	p.tap, p.examiner, p.exam = t, newExaminer(), exam{}
	p.repaired = nil
}

// end takes note that the broadcast was over at that time. Word of it may come when the
// next one has begun, of which it says nothing.
func (s *stream) end(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.active(); p != nil && p.tap.session.Since.After(at) {
		return
	}
	s.over, s.outputs, s.stopped = true, nil, stopped{}
}

// active is the source that counts: the main one while it is connected, else a backup
// that is; nil without either.
func (s *stream) active() *source {
	for _, p := range []*source{&s.main, &s.backup} {
		if p.tap != nil && p.tap.live() {
			return p
		}
	}
	return nil
}

// activeTap is the tap of the active source.
func (s *stream) activeTap() *Tap {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.active(); p != nil {
		return p.tap
	}
	return nil
}

// examine reads every source, applies the rules, and returns the event if something
// changed; nil otherwise.
func (s *stream) examine(rules []entry, now time.Time, every time.Duration) *event.StreamHealth {
	s.mu.Lock()
	defer s.mu.Unlock()
	change := &event.StreamHealth{StreamID: s.id, Raised: []string{}, Cleared: []string{}}
	b := broadcast{
		takeovers: s.takeovers.within(now, takeoverWindow), resumes: s.resumes.within(now, reconnectWindow),
		refusedAt: s.refusedAt, refusedCode: s.refusedCode, refusedReason: s.refusedReason, refused: s.refused,
		outputs: s.outputs, stopped: s.stopped,
	}
	active := s.active()
	for _, p := range []*source{&s.main, &s.backup} {
		live := p.tap != nil && p.tap.live()
		if live {
			p.examiner.examine(p.tap, now, every, &p.exam)
			if p.tap.session.Repaired != nil {
				p.repaired = p.tap.session.Repaired()
			}
			s.touched = now
		}
		p.exam.now, p.exam.broadcast = now, b
		p.apply(rules, live, now, change)
	}
	if active != nil && !active.exam.read.IsZero() {
		s.history.add(&active.exam, now)
	} else if s.history.count > 0 && !s.over {
		s.history.add(nil, now)
	}
	before := s.status
	s.status, s.score = NoData, 0
	if active != nil && !active.exam.read.IsZero() {
		s.status, s.score = judge(s.findings(active))
		score := s.score
		change.Score = &score
	}
	if s.status != before {
		s.since = now
	}
	change.Status = string(s.status)
	if s.status == before && len(change.Raised)+len(change.Cleared) == 0 {
		return nil
	}
	return change
}

// apply asks every rule that can answer now.
func (p *source) apply(rules []entry, live bool, now time.Time, change *event.StreamHealth) {
	if p.conditions == nil {
		p.conditions = make([]condition, len(rules))
	}
	for i := range rules {
		e := &rules[i]
		if e.check == nil || !live && !e.always || e.always && p.name != "main" {
			continue
		}
		raised, cleared := p.conditions[i].update(e, e.check(&p.exam), now)
		if raised {
			change.Raised = append(change.Raised, e.code)
		}
		if cleared {
			change.Cleared = append(change.Cleared, e.code)
		}
	}
}

// findings are what is found of both sources, the worst first. A backup that only stands
// by is no more than a warning.
func (s *stream) findings(active *source) []Finding {
	all := []Finding{}
	for _, p := range []*source{&s.main, &s.backup} {
		for i := range p.conditions {
			c := &p.conditions[i]
			if !c.raised {
				continue
			}
			f := c.finding
			f.Source = p.name
			if p != active && p.name == "backup" && f.Severity == Critical {
				f.Severity = Warning
			}
			all = append(all, f)
		}
	}
	return sorted(all)
}

// touch keeps the stream from being forgotten.
func (s *stream) touch(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched = now
}

// idle reports whether nothing was heard of the stream for so long that it can be
// forgotten.
func (s *stream) idle(now time.Time, keep time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active() == nil && now.Sub(s.touched) > keep
}
