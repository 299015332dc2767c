package egress

import (
	"time"

	"github.com/pion/rtcp"

	"onair/internal/media"
)

const (
	// reportTime is how often a viewer is told how the clocks of its tracks belong together,
	// firstReport how soon for the second time.
	reportTime  = 3 * time.Second
	firstReport = 500 * time.Millisecond
	// impatience is how long a viewer that asked for a key frame waits for it before the
	// newest group is replayed.
	impatience = 600 * time.Millisecond
	// standstill is how long a fan may be silent before a viewer that is to change to another
	// does not wait for that one's key frame.
	standstill = time.Second
)

// housekeep does what is due with time.
func (v *viewer) housekeep(now time.Time) {
	s := v.session
	if s.silent(now) {
		s.lost()
		return
	}
	for _, f := range v.flows() {
		switch {
		case f.state == waiting:
			f.try(now)
		case f.pending != nil && f.fan.still(now):
			f.change(now)
		case f.want && f.state == live && now.Sub(f.asked) >= impatience:
			f.wait(now)
			f.try(now)
		}
	}
	if !now.Before(v.due) {
		v.report(now)
	}
	v.est.settle(now)
	s.estimate.Store(&Estimate{Bitrate: v.est.bitrate(now), Loss: v.est.loss, RTT: v.est.rtt})
	s.sent.Store(uint64(v.video.packets) + uint64(v.audio.packets))
}

// still reports whether nothing came for a while.
func (f *Fan) still(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed || len(f.frames) > 0 && now.Sub(f.frames[len(f.frames)-1].in) > standstill
}

// report sends the sender reports of both tracks (RFC 3550, section 6.4.1), whose clocks
// it puts in relation.
func (v *viewer) report(now time.Time) {
	v.due = now.Add(reportTime)
	if v.reports++; v.reports == 1 {
		v.due = now.Add(firstReport)
	}
	if v.reference == nil {
		return
	}
	clock, ok := v.reference.clock()
	if !ok {
		return
	}
	at := time.Duration(now.UnixNano()) - clock // the presentation time of now
	var packets []rtcp.Packet
	for _, f := range v.flows() {
		if f.packets == 0 {
			continue
		}
		ts := uint32(media.Rescale(int64(at+v.epoch), int64(time.Second), f.rate)) + f.random
		packets = append(packets, &rtcp.SenderReport{SSRC: f.ssrc, NTPTime: ntp(now), RTPTime: ts, PacketCount: f.packets, OctetCount: f.bytes})
	}
	for _, f := range v.flows() {
		if f.packets > 0 {
			packets = append(packets, rtcp.NewCNAMESourceDescription(f.ssrc, v.session.params.CNAME))
		}
	}
	if len(packets) == 0 {
		return
	}
	plain, err := rtcp.Marshal(packets)
	if err != nil {
		return
	}
	sealed, err := v.out.EncryptRTCP(nil, plain, nil)
	if err != nil || len(sealed) > maxPacket {
		return
	}
	l := v.loop
	l.batch.commit(v.path, copy(l.batch.space(), sealed))
}
