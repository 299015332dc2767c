package rtc

import (
	"slices"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"onair/internal/media"
)

const (
	// maxHeld bounds what is held back until sound and picture are aligned, in bytes.
	maxHeld = 16 << 20
	// heldOverhead is what a held unit costs beside its payload.
	heldOverhead = 128
	// rateTime is what bitrates are measured over.
	rateTime = time.Second
)

// receiver makes media packets of what all streams of a session bring. It has no
// goroutines and no clock: time comes in with every call.
type receiver struct {
	cfg     Config
	lanes   []*lane
	dropped func(reason string)
	// expected is how many tracks were offered, not counting layers.
	expected int

	begun   bool
	began   time.Time // when the first packet came
	heard   time.Time // when the last one did
	aligned bool
	master  *lane
	queue   []*media.Packet

	keyWanted bool
	keys      uint64

	bytes    uint64
	rateFrom time.Time
	rateBase uint64
	rate     float64
	haveRate bool
	// Of interarrival jitter (RFC 3550, section 6.4.1), of the first lane heard.
	jitterOf  *lane
	jitterNS  float64
	transitNS int64
	transits  int
}

// lane returns the lane of a track, making it if there is room; nil if there is none.
func (r *receiver) lane(codec media.Codec, rid string) *lane {
	video := codec.Kind() == media.Video
	n := 0
	for _, l := range r.lanes {
		if l.video() != video {
			continue
		}
		if l.rid == rid {
			return l
		}
		n++
	}
	if n >= maxLayers {
		return nil
	}
	id := 2*n + 1
	if !video {
		id = 2*n + 2
	}
	l := newLane(id, rid, codec, r.cfg.RepairTime, r.cfg.KeyInterval, r.dropped)
	r.lanes = append(r.lanes, l)
	return l
}

// elapsed is the session's time.
func (r *receiver) elapsed(now time.Time) time.Duration { return origin + now.Sub(r.began) }

// push takes an RTP packet of a lane's stream.
func (r *receiver) push(l *lane, p *rtp.Packet, size int, now time.Time) {
	if !r.begun {
		r.begun, r.began, r.rateFrom = true, now, now
	}
	r.heard = now
	r.bytes += uint64(size)
	r.measure(l, p, now)
	l.push(p, r.elapsed(now), now)
	r.deliver(now)
}

// measure keeps the interarrival jitter.
func (r *receiver) measure(l *lane, p *rtp.Packet, now time.Time) {
	if r.jitterOf == nil {
		r.jitterOf = l
	}
	if r.jitterOf != l || !l.clock.started {
		return
	}
	ext, _ := l.clock.near(p.Timestamp)
	transit := now.Sub(r.began).Nanoseconds() - l.clock.ns(ext)
	if r.transits++; r.transits > 1 {
		d := float64(max(transit-r.transitNS, r.transitNS-transit))
		r.jitterNS += (d - r.jitterNS) / 16
	}
	r.transitNS = transit
}

// report takes a sender report.
func (r *receiver) report(ssrc uint32, ntp uint64, ts uint32, now time.Time) {
	for _, l := range r.lanes {
		if l.active && l.ssrc == ssrc {
			l.clock.report(ntp, ts)
		}
	}
	r.deliver(now)
}

// tick does what is due with time.
func (r *receiver) tick(now time.Time) {
	if !r.begun {
		return
	}
	for _, l := range r.lanes {
		l.drain(r.elapsed(now), now)
		l.quiet(now)
	}
	if d := now.Sub(r.rateFrom); d >= rateTime {
		r.rate, r.haveRate = float64(r.bytes-r.rateBase)*8/d.Seconds(), true
		r.rateFrom, r.rateBase = now, r.bytes
	}
	r.deliver(now)
}

// feedback returns what is to be asked of the sender now.
func (r *receiver) feedback(now time.Time) []rtcp.Packet {
	var out []rtcp.Packet
	for _, l := range r.lanes {
		if !l.active || !l.nack {
			continue
		}
		if seqs := l.jitter.missing(now); len(seqs) > 0 {
			out = append(out, &rtcp.TransportLayerNack{MediaSSRC: l.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(seqs)})
		}
	}
	return append(out, r.keyRequests(now)...)
}

// keyRequests asks for the key frames that are needed or due. Layers are asked together,
// so that their key frames stand close to each other.
func (r *receiver) keyRequests(now time.Time) []rtcp.Packet {
	due := r.keyWanted
	for _, l := range r.lanes {
		due = due || l.wants(now, r.cfg.KeyInterval)
	}
	if !due {
		return nil
	}
	var out []rtcp.Packet
	for _, l := range r.lanes {
		if !l.active || !l.video() || now.Sub(l.askedAt) < minKeyRequest {
			continue
		}
		if l.wants(now, r.cfg.KeyInterval/2) || r.keyWanted {
			l.askedAt = now
			r.keys++
			out = append(out, &rtcp.PictureLossIndication{MediaSSRC: l.ssrc})
		}
	}
	if len(out) > 0 {
		r.keyWanted = false
	}
	return out
}

// deliver moves what the lanes have to the queue, once it is known how they stand to
// each other.
func (r *receiver) deliver(now time.Time) {
	if !r.aligned && !r.align(now) {
		return
	}
	for _, l := range r.lanes {
		if !l.active || len(l.out) == 0 {
			continue
		}
		r.join(l)
		for _, u := range l.out {
			r.queue = append(r.queue, l.packet(u, r.master.clock))
		}
		l.out = l.out[:0]
	}
}

// align decides how the tracks stand to each other when all have reported, or when it
// was waited for long enough; false if there is something to wait for.
func (r *receiver) align(now time.Time) bool {
	held, reported, kinds := 0, 0, 0
	var first *lane
	for _, l := range r.lanes {
		if len(l.out) > 0 && (first == nil || first.video() && !l.video()) {
			first = l
		}
		for _, u := range l.out {
			held += len(u.data) + heldOverhead
		}
		kinds++
		if l.active && l.clock.reported {
			reported++
		}
	}
	if first == nil {
		return false
	}
	if (reported < kinds || kinds < r.expected) && held < maxHeld && now.Sub(r.began) < r.cfg.AlignTime {
		return false
	}
	r.aligned, r.master = true, first
	first.clock.fix(nil)
	for _, l := range r.lanes {
		if l.active {
			l.clock.fix(first.clock)
		}
	}
	r.merge()
	return true
}

// merge delivers what was held, in the order of time.
func (r *receiver) merge() {
	for _, l := range r.lanes {
		if !l.clockFixed() {
			continue
		}
		for _, u := range l.out {
			r.queue = append(r.queue, l.packet(u, r.master.clock))
		}
		l.out = nil
	}
	slices.SortStableFunc(r.queue, func(a, b *media.Packet) int {
		x, y := a.Track.Duration(a.DTS), b.Track.Duration(b.DTS)
		return int(min(max(x-y, -1), 1))
	})
}

func (l *lane) clockFixed() bool { return l.active && l.clock.fixed }

// join takes a stream in that came later. Sound leads: it must not be moved.
func (r *receiver) join(l *lane) {
	if l.clock.fixed {
		return
	}
	l.clock.fix(r.master.clock)
	if !l.video() || !r.master.active {
		r.master = l
	}
}
