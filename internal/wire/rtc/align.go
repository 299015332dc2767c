package rtc

import (
	"time"
)

const (
	// origin is where a session's time begins. What came before the first packet, such as
	// sound that the reports put earlier, stays above zero.
	origin = 10 * time.Second
	// maxSkew is how far reports may move a track from where its packets arrived.
	maxSkew = 2 * time.Second
	// slewDivisor: a track is moved by at most one part in so many of its own time.
	slewDivisor = 50
	// estimateTime is how long the least delay of a stream is looked for.
	estimateTime = time.Second
)

// unwrapper extends the 32 bits of RTP time stamps.
type unwrapper struct {
	started bool
	last    int64
}

// next extends ts so that it is as near as possible to the one before.
func (u *unwrapper) next(ts uint32) int64 {
	if !u.started {
		u.started = true
		u.last = 1<<32 + int64(ts)
		return u.last
	}
	u.last += int64(int32(ts - uint32(u.last)))
	return u.last
}

// near extends ts without moving on.
func (u *unwrapper) near(ts uint32) (int64, bool) {
	return u.last + int64(int32(ts-uint32(u.last))), u.started
}

// clock maps the RTP time of one stream to the session's.
type clock struct {
	rate int64
	unwrapper

	begun  bool
	begin  time.Time
	arrive int64 // the offset by arrival, in ns: of the packet that was delayed least
	offset int64 // the one in use
	fixed  bool  // offset is in use

	reported bool
	reportNS int64 // NTP time of the last report, in ns
	reportTS int64 // its RTP time, extended

	slewedAt int64
	// shift is by how many ticks the sender's clock was moved because it stood still or leapt.
	shift int64
}

// move shifts the sender's clock. What it reported before says nothing any more.
func (c *clock) move(ticks int64) {
	c.shift += ticks
	c.reported = false
}

func (c *clock) ns(ext int64) int64 {
	// Ticks are split so that days of them do not overflow.
	return ext/c.rate*int64(time.Second) + ext%c.rate*int64(time.Second)/c.rate
}

// arrived takes in when a packet came; at is the session's time.
func (c *clock) arrived(ext int64, at time.Duration, now time.Time) {
	off := int64(at) - c.ns(ext)
	if !c.begun {
		c.begun, c.begin, c.arrive = true, now, off
		return
	}
	if now.Sub(c.begin) <= estimateTime {
		c.arrive = min(c.arrive, off)
	}
}

// report takes in a sender report.
func (c *clock) report(ntp uint64, ts uint32) bool {
	ext, ok := c.near(ts)
	if !ok || ntp == 0 {
		return false
	}
	c.reported = true
	c.reportNS = ntpNanos(ntp)
	c.reportTS = ext + c.shift
	return true
}

func ntpNanos(ntp uint64) int64 {
	seconds, fraction := ntp>>32, ntp&0xffffffff
	return int64(seconds)*int64(time.Second) + int64(fraction*uint64(time.Second)>>32)
}

// sender is the sender's clock minus the session's, as this stream has it.
func (c *clock) sender() int64 { return c.reportNS - (c.ns(c.reportTS) + c.offset) }

// target is the offset that puts the stream where the master's reports say.
func (c *clock) target(m *clock) (int64, bool) {
	if !c.reported || !m.reported || !m.fixed || c == m {
		return 0, false
	}
	t := c.reportNS - m.sender() - c.ns(c.reportTS)
	if d := t - c.arrive; d > int64(maxSkew) || d < -int64(maxSkew) {
		return 0, false // one of the reports is wrong
	}
	return t, true
}

// fix takes an offset into use: by reports if there are some, else by arrival.
func (c *clock) fix(m *clock) {
	if c.fixed || !c.begun {
		return
	}
	c.fixed, c.offset = true, c.arrive
	if m != nil && m.fixed {
		if t, ok := c.target(m); ok {
			c.offset = t
		}
	}
}

// slew moves the offset towards where the master's reports say, a little at a time.
func (c *clock) slew(m *clock, ext int64) {
	at := c.ns(ext)
	elapsed := at - c.slewedAt
	c.slewedAt = at
	t, ok := c.target(m)
	if !ok || elapsed <= 0 {
		return
	}
	step := min(elapsed, int64(time.Second)) / slewDivisor
	c.offset += min(max(t-c.offset, -step), step)
}

// at is the session's time of a time stamp, in ticks of the stream's rate.
func (c *clock) ticks(ext int64) int64 {
	off := c.offset
	return ext + off/int64(time.Second)*c.rate + off%int64(time.Second)*c.rate/int64(time.Second)
}
