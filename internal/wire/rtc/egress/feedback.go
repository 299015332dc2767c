package egress

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
)

const (
	// repairTime is the least time between two repetitions of one packet.
	repairTime = 60 * time.Millisecond
	// repairShare is the part of what is sent that may be sent again, repairLeast the least
	// of it, in bytes a second, and repairBurst how much at once, in bytes.
	repairShare = 0.25
	repairLeast = 40_000
	repairBurst = 200_000
	// maxRepairs bounds the packets that one request repeats.
	maxRepairs = 128
	// repairAge is how old a frame may be to be of use to a viewer that misses part of it.
	repairAge = 1500 * time.Millisecond
	// remembered is how many repetitions are remembered for repairTime.
	remembered = 256
)

// repairs bounds what is sent again to a viewer.
type repairs struct {
	budget float64 // bytes
	filled time.Time
	// done holds what was repeated last, by the low bits of its index.
	done []repaired
}

type repaired struct {
	index uint64
	at    time.Time
}

// may reports whether a packet may be repeated now.
func (r *repairs) may(index uint64, rtt time.Duration, now time.Time) bool {
	if r.done == nil {
		r.done = make([]repaired, remembered)
	}
	d := &r.done[index%remembered]
	if d.index == index && now.Sub(d.at) < max(repairTime, rtt) {
		return false
	}
	*d = repaired{index: index, at: now}
	return true
}

// refill adds what time allows; rate is what is sent, in bits a second.
func (r *repairs) refill(rate float64, now time.Time) {
	if r.filled.IsZero() {
		r.budget, r.filled = repairBurst, now
	}
	r.budget = min(repairBurst, r.budget+now.Sub(r.filled).Seconds()*max(repairLeast, rate/8*repairShare))
	r.filled = now
}

// hear looks at RTCP of a viewer.
func (v *viewer) hear(data []byte, now time.Time) {
	m := v.loop.engine.metrics
	plain, err := v.in.DecryptRTCP(nil, data, nil)
	if err != nil {
		m.malformed.Inc()
		return
	}
	v.session.heard(now)
	v.react(plain, now)
}

// Types of RTCP packet that are read without the library, for how often they come.
const (
	typeTransport   = 205 // RTPFB (RFC 4585, section 6.1)
	formatTransport = 15  // transport-wide feedback
)

// measures reports whether sealed RTCP begins with what tells of the way only, such as ten
// times a second when each packet came. Its head is not sealed (RFC 3711, section 3.4).
func measures(data []byte) bool {
	return len(data) > 1 && data[1] == typeTransport && data[0]&31 == formatTransport
}

// react does what authentic RTCP asks for.
func (v *viewer) react(plain []byte, now time.Time) {
	m := v.loop.engine.metrics
	for len(plain) > 0 {
		if len(plain) < 4 {
			m.malformed.Inc()
			return
		}
		size := 4 * (int(binary.BigEndian.Uint16(plain[2:])) + 1)
		if size > len(plain) {
			m.malformed.Inc()
			return
		}
		one := plain[:size]
		plain = plain[size:]
		if one[1] == typeTransport && one[0]&31 == formatTransport {
			v.est.feedback(one, now)
			continue
		}
		packets, err := rtcp.Unmarshal(one)
		if err != nil {
			m.malformed.Inc()
			return
		}
		for _, p := range packets {
			v.reactTo(p, now)
		}
	}
}

func (v *viewer) reactTo(p rtcp.Packet, now time.Time) {
	switch p := p.(type) {
	case *rtcp.TransportLayerNack:
		v.repair(p, now)
	case *rtcp.PictureLossIndication:
		v.askKey(p.MediaSSRC, now)
	case *rtcp.FullIntraRequest:
		for _, e := range p.FIR {
			v.askKey(e.SSRC, now)
		}
	case *rtcp.ReceiverReport:
		v.received(p.Reports, now)
	case *rtcp.SenderReport:
		v.received(p.Reports, now)
	case *rtcp.ReceiverEstimatedMaximumBitrate:
		v.est.limit(float64(p.Bitrate), now)
	}
}

// askKey hears that a viewer cannot decode what it has.
func (v *viewer) askKey(ssrc uint32, now time.Time) {
	f := &v.video
	if ssrc != f.ssrc || f.fan == nil || now.Sub(f.asked) < keyTime {
		return
	}
	f.asked = now
	if f.state == live || f.state == waiting {
		f.want = true
		f.fan.requestKey(now)
	}
}

// received reads what a viewer reports of a stream.
func (v *viewer) received(reports []rtcp.ReceptionReport, now time.Time) {
	for _, r := range reports {
		if r.SSRC != v.video.ssrc && r.SSRC != v.audio.ssrc {
			continue
		}
		if r.SSRC == v.video.ssrc || v.video.ssrc == 0 {
			v.est.reported(float64(r.FractionLost)/256, now)
		}
		if r.LastSenderReport != 0 {
			// RFC 3550, section 6.4.1: in 1/65536 s.
			d := int32(uint32(ntp(now)>>16) - r.LastSenderReport - r.Delay)
			if d >= 0 && d < 10<<16 {
				v.est.rtt = time.Duration(d) * time.Second >> 16
			}
		}
	}
}

// ntp is a time in 1/2^32 s since 1900.
func ntp(t time.Time) uint64 {
	s := uint64(t.Unix()) + 2208988800
	return s<<32 | uint64(t.Nanosecond())<<32/1_000_000_000
}

// repair sends again what a viewer misses.
func (v *viewer) repair(p *rtcp.TransportLayerNack, now time.Time) {
	f := &v.video
	if p.MediaSSRC != f.ssrc || len(f.begun) == 0 {
		return
	}
	m := v.loop.engine.metrics
	v.rep.refill(v.est.rate, now)
	n := 0
	for _, pair := range p.Nacks {
		for _, seq := range pair.PacketList() {
			// The newest index with these low bits.
			index := f.out - 1 - uint64(uint16(f.out-1)-seq)
			if n == maxRepairs || index >= f.out || v.rep.budget < maxPayload || !v.rep.may(index, v.est.rtt, now) || !v.again(f, index) {
				m.refused.Inc()
				continue
			}
			n++
			m.repaired.Inc()
		}
	}
}

// again sends a packet once more.
func (v *viewer) again(f *flow, index uint64) bool {
	for i := len(f.begun) - 1; i >= 0; i-- {
		b := &f.begun[i]
		if index < b.out {
			continue
		}
		fr, n, ok := b.fan.packet(b.in + index - b.out)
		if !ok || v.loop.now.Sub(fr.in) > repairAge {
			return false
		}
		marker, payload := n == len(fr.packets)-1, fr.packets[n]
		v.rep.budget -= float64(len(payload))
		if f.rtx == 0 {
			v.packet(f, b.pt, f.ssrc, index, b.time(fr, f.step()), marker, payload, false)
			return true
		}
		var original [maxPayload + 2]byte
		binary.BigEndian.PutUint16(original[:], uint16(index))
		size := 2 + copy(original[2:], payload)
		v.packet(f, b.rtxPT, f.rtx, f.rtxOut, b.time(fr, f.step()), marker, original[:size], v.counted(f))
		f.rtxOut++
		return true
	}
	return false
}
