package doctor

import (
	"math"
	"time"

	"onair/internal/media"
)

// exam is everything that is known of one publisher at one moment.
type exam struct {
	now     time.Time
	read    time.Time // when readings were taken; zero without packets
	session Session
	age     float64 // seconds since the first packet; unknown before it
	video   []reading
	audio   []reading
	// drift is how much media time gained on the wall clock in 10 s, ahead by how much it
	// is further than it ever was in the minute before. Seconds.
	drift, ahead float64
	skew         float64 // parts per million
	avOffset     float64
	avDrift      float64
	avStart      float64
	link         link
	looks        looks // without its picture
	every        time.Duration
	broadcast    broadcast
}

// broadcast is what happened to the stream, whoever published.
type broadcast struct {
	takeovers, resumes int // within their windows
	refusedAt          time.Time
	refusedCode        string
	refusedReason      string
	refused            int
	outputs            []output // the stream's own, while it is being examined
	stopped            stopped
}

// examiner keeps, for one publisher, what must be compared with later.
type examiner struct {
	startOffset float64 // the offset of sound and picture when both were settled
	leads       skewer
	links       links
}

func newExaminer() examiner { return examiner{startOffset: unknown} }

// examine folds the second that ended into the notes of a tap, and reads them.
func (x *examiner) examine(t *Tap, now time.Time, every time.Duration, e *exam) {
	*e = exam{now: now, session: t.session, age: unknown, drift: unknown, ahead: unknown, skew: unknown,
		avOffset: unknown, avDrift: unknown, avStart: unknown, every: every,
		video: e.video[:0], audio: e.audio[:0]}
	var l *media.Link
	if t.session.Link != nil {
		v := t.session.Link()
		l = &v
	}
	e.link = x.links.read(l, now)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started {
		return
	}
	e.read, e.age = now, now.Sub(t.base).Seconds()
	var video, audio *meter
	for _, m := range t.meters[:t.count] {
		m.fold(now.Sub(t.base))
		if m.track.Kind() == media.Video {
			e.video = append(e.video, m.read(now))
			video = first(video, m)
		} else {
			e.audio = append(e.audio, m.read(now))
			audio = first(audio, m)
		}
	}
	e.looks = t.looks
	e.looks.still = nil
	clock := video
	if clock == nil {
		clock = audio
	}
	x.clock(e, clock)
	if video != nil && audio != nil {
		x.together(e, audio, video)
	}
}

// first returns a, or b if there is no a; the source's rendition goes before others.
func first(a, b *meter) *meter {
	if a == nil || a.track.Rendition != "" && b.track.Rendition == "" {
		return b
	}
	return a
}

// clock compares media time with the wall clock.
func (x *examiner) clock(e *exam, m *meter) {
	now, _ := m.ago(0)
	e.skew = x.leads.add(now.lead, e.now)
	then, ok := m.ago(10)
	if !ok {
		return
	}
	e.drift = float64(now.lead-then.lead) / 1e9
	most := int64(math.MinInt64)
	for i := 10; i < 60; i++ {
		if s, ok := m.ago(i); ok {
			most = max(most, s.lead)
		}
	}
	e.ahead = float64(now.lead-most) / 1e9
}

// together compares sound and picture as they arrive. Muxers send one some time before
// the other, so that only a change tells of trouble.
func (x *examiner) together(e *exam, audio, video *meter) {
	const settle = 10 * time.Second
	e.avStart = float64(audio.firstPTS-video.firstPTS) / 1e9
	if math.Abs(e.avStart) > 10 {
		e.avStart = unknown // two clocks: a first stamp says nothing then
	}
	a, okA := bestLead(audio)
	v, okV := bestLead(video)
	if !okA || !okV {
		return
	}
	e.avOffset = float64(a-v) / 1e9
	began := audio.begun
	if video.begun.After(began) {
		began = video.begun
	}
	if e.now.Sub(began) < settle {
		return
	}
	if !known(x.startOffset) {
		x.startOffset = e.avOffset
	}
	e.avDrift = e.avOffset - x.startOffset
}

// bestLead is the least delayed packet's lead of the last seconds; false if there was
// none in one of them.
func bestLead(m *meter) (int64, bool) {
	best := int64(math.MinInt64)
	for i := range 5 {
		s, ok := m.ago(i)
		if !ok || s.packets == 0 {
			return 0, false
		}
		best = max(best, s.lead)
	}
	return best, true
}

// skewer finds the error of an encoder's clock from how media time moves against the
// wall clock over minutes.
type skewer struct {
	began  time.Time
	best   int64 // of the span that is being measured
	points [20]int64
	count  int
}

// skewSpan is how long one point is measured: the network's delay is least sometime.
const skewSpan = 15 * time.Second

// add takes the lead of one second and returns the skew in parts per million. It is
// known after two minutes, and only if media time went away evenly: a way that became
// longer is no wrong clock.
func (s *skewer) add(lead int64, now time.Time) float64 {
	if s.began.IsZero() {
		s.began, s.best = now, lead
	}
	s.best = max(s.best, lead)
	if now.Sub(s.began) >= skewSpan {
		s.points[s.count%len(s.points)] = s.best
		s.count++
		s.began, s.best = now, lead
	}
	return s.skew()
}

func (s *skewer) skew() float64 {
	const least = 8
	n := min(s.count, len(s.points))
	if n < least {
		return unknown
	}
	at := func(i int) float64 { return float64(s.points[(s.count-n+i)%len(s.points)]) }
	total := at(n-1) - at(0)
	for part := range 4 {
		from, to := part*(n-1)/4, (part+1)*(n-1)/4
		share := (at(to) - at(from)) * float64(n-1) / float64(to-from)
		if share*total < 0 || math.Abs(share) < math.Abs(total)/2 {
			return 0
		}
	}
	return total / (float64(n-1) * float64(skewSpan)) * 1e6
}

// link is what the transport tells, and what became of it in the last seconds.
type link struct {
	rtt, jitter          float64 // seconds
	loss, retransmission float64 // shares of the packets of 10 s
	dropped              *uint64
	bitrate, available   float64
}

// links keeps the counters of the last seconds.
type links struct {
	past  [11]media.Link
	count int
}

func (l *links) read(now *media.Link, _ time.Time) link {
	r := link{rtt: unknown, jitter: unknown, loss: unknown, retransmission: unknown, bitrate: unknown, available: unknown}
	if now == nil {
		return r
	}
	if now.RTT != nil {
		r.rtt = now.RTT.Seconds()
	}
	if now.Jitter != nil {
		r.jitter = now.Jitter.Seconds()
	}
	if now.Bitrate != nil {
		r.bitrate = *now.Bitrate
	}
	if now.Available != nil {
		r.available = *now.Available
	}
	r.dropped = now.Dropped
	if l.count > 0 {
		then := &l.past[(l.count-min(l.count, len(l.past)-1))%len(l.past)]
		if packets := grew(then.Packets, now.Packets); packets > 0 {
			if lost := grew(then.Lost, now.Lost); known(lost) {
				r.loss = lost / (packets + lost)
			}
			if again := grew(then.Retransmitted, now.Retransmitted); known(again) {
				r.retransmission = again / packets
			}
		}
	}
	l.past[l.count%len(l.past)] = *now
	l.count++
	return r
}

// grew is by how much a counter grew; unknown if it is, or went back.
func grew(then, now *uint64) float64 {
	if then == nil || now == nil || *now < *then {
		return unknown
	}
	return float64(*now - *then)
}
