package egress

import (
	"slices"
	"time"
)

const (
	// rushWindow is over how long it is seen whether media comes faster than it plays.
	rushWindow = 120 * time.Millisecond
	// rushLead is how far media may be ahead of its pace before it counts as a rush.
	rushLead = 100 * time.Millisecond
	// rushSlack is by how much a window may be off for packets being whole, beside a quarter.
	rushSlack = 20 * time.Millisecond
	// lateSound is how late sound may be in a rush, beside what is usual. What is later is left out: a player
	// would play all of it, and stay behind by as much.
	lateSound = 200 * time.Millisecond
	// lowTime is how long the least delay is remembered.
	lowTime = 10 * time.Second
	// usualTime is over how long it is seen how late sound gets, usualTimes how many such
	// times in a row make that usual: one stop of the network does not.
	usualTime, usualTimes = time.Second, 3
)

// rush watches the pace of a feed: whether its media comes faster than it plays, as it
// does at the beginning of what is made of a stream, and after a network stood still.
type rush struct {
	is       bool
	from     time.Time // of the window
	pts      time.Duration
	low      time.Duration // the least delay, of this and of the last lowTime
	low2     time.Duration
	lowFrom  time.Time
	anything bool

	// peaks are the greatest delays over the least in the last known times, peak that of the
	// present one, which began at peakFrom. MPEG-TS brings sound in heaps of some tenths of
	// a second, whose first packets are always late.
	peaks    [usualTimes]time.Duration
	known    int
	peak     time.Duration
	peakFrom time.Time
}

// see takes the next packet and reports whether it is late in a rush.
func (r *rush) see(pts time.Duration, now time.Time) bool {
	delay := time.Duration(now.UnixNano()) - pts
	if !r.anything || pts < r.pts-jumpTime || pts > r.pts+time.Hour {
		*r = rush{is: true, from: now, pts: pts, low: delay, low2: delay, lowFrom: now, anything: true, peakFrom: now}
		return true
	}
	switch {
	case now.Sub(r.lowFrom) > lowTime:
		r.low2, r.low, r.lowFrom = r.low, delay, now
	default:
		r.low = min(r.low, delay)
	}
	gone, played := now.Sub(r.from), pts-r.pts
	switch {
	case played-gone > rushLead:
		r.is = true
	case gone >= rushWindow:
		r.is = played > gone*5/4+rushSlack
	}
	if gone >= rushWindow {
		r.from, r.pts = now, pts
	}
	over := delay - min(r.low, r.low2)
	if now.Sub(r.peakFrom) >= usualTime {
		copy(r.peaks[1:], r.peaks[:])
		r.peaks[0], r.known = r.peak, min(r.known+1, usualTimes)
		r.peak, r.peakFrom = 0, now
	}
	r.peak = max(r.peak, over)
	return r.is && over > lateSound+r.usual()
}

// usual is how late sound gets again and again.
func (r *rush) usual() time.Duration {
	if r.known == 0 {
		return 0
	}
	return slices.Min(r.peaks[:r.known])
}
