package srt

import (
	"time"

	"onair/internal/media"
)

// meter measures a rate over the last second or so.
type meter struct {
	total, totalBytes     uint64
	since                 time.Time
	packets, bytes        uint64 // since then
	packetRate, bytesRate float64
}

func (m *meter) add(size int, now time.Time) {
	m.roll(now)
	m.total++
	m.totalBytes += uint64(size)
	m.packets++
	m.bytes += uint64(size)
}

func (m *meter) roll(now time.Time) {
	if m.since.IsZero() {
		m.since = now
	}
	if d := now.Sub(m.since); d >= time.Second {
		m.packetRate, m.bytesRate = float64(m.packets)/d.Seconds(), float64(m.bytes)/d.Seconds()
		m.packets, m.bytes, m.since = 0, 0, now
	}
}

// rates returns packets and bytes a second; 0 before the first second is over.
func (m *meter) rates(now time.Time) (packets, bytes float64) {
	m.roll(now)
	return m.packetRate, m.bytesRate
}

// link describes the way to the peer, seen from the direction that media go.
func (c *conn) link() media.Link {
	c.mu.Lock()
	defer c.mu.Unlock()
	var l media.Link
	if c.measured {
		l.RTT = new(c.rtt)
	}
	m, capacity := &c.transmitted, c.peerCapacity
	if c.receives {
		m, capacity = &c.received, c.capacity
		l.Packets, l.Lost, l.Retransmitted = new(m.total), new(c.in.lost), new(c.in.again)
		l.Dropped = new(c.in.dropped + c.in.overflow + c.undecrypted)
		if m.total > 1 {
			l.Jitter = new(c.jitter)
		}
	} else {
		l.Packets, l.Retransmitted, l.Dropped = new(c.out.packets), new(c.out.again), new(c.out.dropped)
	}
	if _, bytes := m.rates(time.Now()); bytes > 0 {
		l.Bitrate = new(bytes * 8)
	}
	if capacity > 0 {
		l.Available = new(capacity * (maxPayload + headerSize + ipHeader) * 8)
	}
	return l
}
