package rtc

import (
	"time"

	"onair/internal/media"
)

// Link implements media.Linked. The round trip is measured by packets that had to be
// asked for again, so it is not known while none is lost.
func (r *PublishRequest) Link() media.Link {
	r.linkMu.Lock()
	defer r.linkMu.Unlock()
	return r.link
}

// measure makes what Link returns.
func (r *PublishRequest) measure(now time.Time) {
	if !r.rx.begun || now.Sub(r.rx.began)%(200*time.Millisecond) >= 2*tickTime {
		return
	}
	c, rtt := r.rx.counts()
	lost := c.lost
	link := media.Link{Packets: &c.received, Lost: &lost, Retransmitted: &c.repaired, Dropped: &c.lost}
	missing := c.lost + c.repaired
	link.Lost = &missing
	if rtt > 0 {
		link.RTT = &rtt
	}
	if r.rx.transits > 1 {
		j := time.Duration(r.rx.jitterNS)
		link.Jitter = &j
	}
	if r.rx.haveRate {
		rate := r.rx.rate
		link.Bitrate = &rate
	}
	r.linkMu.Lock()
	defer r.linkMu.Unlock()
	r.link = link
}

// counts sums up what the lanes' jitter buffers counted.
func (r *receiver) counts() (c jitterCounts, rtt time.Duration) {
	for _, l := range r.lanes {
		n := l.jitter.counts
		c.received += n.received
		c.lost += n.lost
		c.late += n.late
		c.repaired += n.repaired
		c.nacked += n.nacked
		c.overflow += n.overflow
		rtt = max(rtt, l.jitter.rtt)
	}
	return c, rtt
}

// account adds a session to the metrics at its end.
func (r *PublishRequest) account() {
	if r.rx == nil {
		return
	}
	m := r.server.metrics
	c, _ := r.rx.counts()
	m.packets.Add(float64(c.received))
	m.lost.Add(float64(c.lost))
	m.repaired.Add(float64(c.repaired))
	m.nacks.Add(float64(c.nacked))
	m.reordered.Add(float64(c.late))
	m.overflow.Add(float64(c.overflow))
	m.keys.Add(float64(r.rx.keys))
	for _, l := range r.rx.lanes {
		m.silence.Add(float64(l.silenced))
	}
}
