package doctor

import (
	"fmt"
	"math"
	"time"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

const (
	// window is how many seconds a meter remembers.
	window = 64
	// keptIntervals is how many key-frame intervals are looked at.
	keptIntervals = 8
	// jumpForward and jumpBack are how far a time stamp may lie from the one before it
	// and still be a pause, or disorder. What lies further is a jump of the clock.
	jumpForward = int64(10 * time.Second)
	jumpBack    = int64(time.Second)
	// gapFactor is how many usual frame durations apart two frames have one missing.
	gapFactor = 1.7
	// warmUp is how many packets are seen before their usual distance is trusted.
	warmUp = 32
)

// second is what happened to a track in one second.
type second struct {
	bytes, packets           uint64
	missing, jumps, backward uint64
	media                    int64 // by how much media time went on
	lead                     int64 // how far media time was ahead of the wall clock, at best
}

// meter takes notes of one track. Times are in nanoseconds.
type meter struct {
	id    int
	track *media.Track

	started  bool
	first    int64 // the first DTS, from the first of the publisher
	firstPTS int64
	begun    time.Time
	lastDTS  int64
	maxPTS   int64
	media    int64 // media time since the first packet, jumps left out
	highest  int64 // the most it ever was
	backs    int64 // the packets since then
	step     int64 // the usual distance of packets
	arrived  time.Time

	keySeen   bool
	keyMedia  int64
	intervals [keptIntervals]int64
	keys      uint64
	// sinceKey counts the pictures after the newest key frame; streak the key frames
	// that followed each other without another picture.
	sinceKey, streak uint64

	reordered, recovery, leading time.Time // when last seen
	jump                         int64     // the latest jump

	resized    time.Time
	resizes    int
	from       [2]int
	interlaced bool
	// altered is when codec, frame rate or sound layout changed, alteration how.
	altered    time.Time
	alteration [2]string

	now     second // the second that is being counted
	hasLead bool
	total   second
	past    [window]second
	seconds int // how many of past there have been
}

// note takes note of a packet that came at the given time, since the publisher's first.
func (m *meter) note(p *media.Packet, at time.Time, since time.Duration, base int64) {
	scale := int64(p.Track.Timescale)
	dts := media.Rescale(p.DTS, scale, int64(time.Second))
	pts := media.Rescale(p.PTS, scale, int64(time.Second))
	if m.track != p.Track {
		m.change(p.Track, at)
	}
	video := p.Track.Kind() == media.Video
	back := false
	if m.started {
		back = m.advance(dts-m.lastDTS, int64(at.Sub(m.arrived)), video)
	} else {
		m.started, m.begun, m.firstPTS, m.maxPTS = true, at, pts, pts
		if m.first = dts - base; m.first > jumpForward || m.first < -jumpForward {
			m.first = 0
		}
	}
	m.lastDTS, m.arrived = dts, at
	m.now.packets++
	m.now.bytes += uint64(len(p.Data))
	if lead := m.first + m.media - int64(since); !m.hasLead || lead > m.now.lead {
		m.now.lead, m.hasLead = lead, true
	}
	if video {
		m.picture(p, pts, at, back)
	}
}

// advance moves media time on by the distance d of two time stamps, whose packets came
// so long after one another, and reports whether that was back. A long pause that the
// time stamps have too is no jump.
func (m *meter) advance(d, pause int64, video bool) (back bool) {
	switch {
	case d < -jumpBack || d > jumpForward && d > pause+2*int64(time.Second):
		m.now.jumps++
		m.jump = d
		m.maxPTS = math.MinInt64
		d = m.step
	case d <= 0:
		m.now.backward++
		back = true
	default:
		if m.step == 0 {
			m.step = d
		}
		// A packet that went back is none that is missing.
		gap := m.media + d - m.highest - m.backs*m.step
		if video && m.total.packets+m.now.packets > warmUp && float64(gap) > gapFactor*float64(m.step) {
			m.now.missing += uint64((gap+m.step/2)/m.step) - 1
		}
		m.step += (min(d, 4*m.step) - m.step) / 16
	}
	m.media += d
	m.now.media += d
	if m.backs++; m.media > m.highest {
		m.highest, m.backs = m.media, 0
	}
	return back
}

// picture takes note of what only pictures have.
func (m *meter) picture(p *media.Packet, pts int64, at time.Time, back bool) {
	head := bitstream.PictureOf(p.Track.Codec, p.Data)
	if head.Type == bitstream.PictureB || pts < m.maxPTS && !back && !head.Leading {
		m.reordered = at
	}
	if head.Recovery && p.Track.Codec == media.H264 {
		m.recovery = at
	}
	if head.Leading {
		m.leading = at
	}
	m.maxPTS = max(m.maxPTS, pts)
	if !p.Key {
		m.sinceKey++
		m.streak = 0
		return
	}
	if m.keySeen {
		m.intervals[m.keys%keptIntervals] = m.media - m.keyMedia
		m.keys++
	}
	m.keySeen, m.keyMedia, m.sinceKey = true, m.media, 0
	m.streak++
}

// change takes note of a new version of the track's parameters.
func (m *meter) change(t *media.Track, at time.Time) {
	old := m.track
	m.track = t
	if old != nil {
		if was, is := formOf(old, t); was != is {
			m.altered, m.alteration = at, [2]string{was, is}
		}
	}
	if t.Kind() != media.Video {
		return
	}
	m.interlaced = bitstream.Interlaced(t)
	if old == nil || old.Width == 0 || t.Width == 0 || old.Width == t.Width && old.Height == t.Height {
		return
	}
	m.resizes++
	m.resized, m.from = at, [2]int{old.Width, old.Height}
}

// formOf says in which way two versions of a track differ, but for the size of a picture: the
// codec, and of what both tell, frames a second or sample rate and channels.
func formOf(old, now *media.Track) (was, is string) {
	was, is = old.Codec.String(), now.Codec.String()
	add := func(a, b float64, unit string) {
		if a > 0 && b > 0 && math.Abs(a-b) > 0.01 {
			was, is = fmt.Sprintf("%s, %.5g %s", was, a, unit), fmt.Sprintf("%s, %.5g %s", is, b, unit)
		}
	}
	if now.Kind() == media.Video {
		add(old.FrameRate, now.FrameRate, "frames/s")
		return was, is
	}
	add(float64(old.SampleRate), float64(now.SampleRate), "Hz")
	add(float64(old.Channels), float64(now.Channels), "channels")
	return was, is
}

// fold ends the second that is being counted.
func (m *meter) fold(since time.Duration) {
	if !m.hasLead {
		m.now.lead = m.first + m.media - int64(since)
	}
	m.total.bytes += m.now.bytes
	m.total.packets += m.now.packets
	m.total.missing += m.now.missing
	m.total.jumps += m.now.jumps
	m.total.backward += m.now.backward
	m.past[m.seconds%window] = m.now
	m.seconds++
	m.now, m.hasLead = second{}, false
}

// ago returns the n-th last second, the newest being 0; false if there was none.
func (m *meter) ago(n int) (second, bool) {
	if n >= min(m.seconds, window) {
		return second{}, false
	}
	return m.past[(m.seconds-1-n)%window], true
}

// sum adds up the last n seconds.
func (m *meter) sum(n int) (s second) {
	for i := range min(n, m.seconds, window) {
		x, _ := m.ago(i)
		s.bytes += x.bytes
		s.packets += x.packets
		s.missing += x.missing
		s.jumps += x.jumps
		s.backward += x.backward
		s.media += x.media
	}
	return s
}
