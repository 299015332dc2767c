package egress

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// taken reads and removes the packets that wait in a viewer's TCP connection.
func taken(v *viewer) (out [][]byte) {
	s := v.path.stream
	for b := s.buf; len(b) > 0; {
		n := int(binary.BigEndian.Uint16(b))
		out = append(out, b[2:2+n])
		b = b[2+n:]
	}
	s.buf = nil
	return out
}

// spreads gives all new frames of a fan to the loop's viewers, at once.
func (l *loop) spreads(f *Fan, now time.Time) {
	l.now = now
	if g := l.groups[f]; g != nil {
		l.spread(g)
	}
}

// opened is a viewer whose packets can be taken.
func opened(t *testing.T) (*Engine, *viewer) {
	e, v := watching(t)
	v.path = &path{stream: &stream{signal: make(chan struct{}, 1)}}
	return e, v
}

func TestGroupIsReplayedAtAPace(t *testing.T) {
	e, v := opened(t)
	fan := e.NewFan(FanOptions{})
	g := mediatest.NewGenerator(mediatest.Options{NoAudio: true, FrameSize: 3000, GOP: 1000})
	fill(t, fan, g, 30)
	now := time.Now()
	v.loop.now = now
	v.video.watch(fan, now)
	first := len(taken(v))
	if first == 0 || first > burstPackets {
		t.Fatalf("%d packets went out at once", first)
	}
	var last uint32
	total, ticks := first, 0
	for v.video.state == catching {
		ticks++
		v.loop.now = v.loop.now.Add(paceTime)
		v.loop.timely()
		packets := taken(v)
		total += len(packets)
		if len(packets) > burstPackets {
			t.Fatalf("%d packets went out at once", len(packets))
		}
		for _, p := range packets {
			ts := binary.BigEndian.Uint32(p[4:])
			if last != 0 && int32(ts-last) < 0 {
				t.Fatalf("a timestamp goes back by %d", int32(last-ts))
			}
			last = ts
		}
	}
	if uint64(total) != fan.next || v.video.state != live || ticks < 3 {
		t.Errorf("%d of %d packets were sent in %d ticks, and the viewer is %d", total, fan.next, ticks, v.video.state)
	}
	fill(t, fan, g, 1)
	v.loop.spreads(fan, v.loop.now)
	if n := len(taken(v)); n == 0 {
		t.Error("the next frame was not sent")
	}
}

func TestFanKeepsTheGroupAndWhatMayBeMissed(t *testing.T) {
	e, _ := opened(t)
	fan := e.NewFan(FanOptions{})
	g := mediatest.NewGenerator(mediatest.Options{NoAudio: true, FrameSize: 5000, GOP: 60})
	for range 40 {
		fill(t, fan, g, 50)
		key, last, _ := fan.newest()
		if key == nil || !key.key || last.no != fan.nextNo-1 {
			t.Fatal("the newest group is not there")
		}
		for i := range min(fan.next, repairPackets) {
			fr, n, ok := fan.packet(fan.next - 1 - i)
			if !ok || fr.first+uint64(n) != fan.next-1-i {
				t.Fatalf("packet %d of %d is not there", fan.next-1-i, fan.next)
			}
		}
		if n := len(fan.frames); n > repairPackets+61 {
			t.Fatalf("%d frames are kept", n)
		}
	}
	if _, _, ok := fan.packet(fan.next); ok {
		t.Error("a packet of the future is there")
	}
	if _, _, ok := fan.packet(0); ok {
		t.Error("the first packet is still there")
	}
}

func TestGroupWithoutEndIsNotKept(t *testing.T) {
	e, _ := opened(t)
	fan := e.NewFan(FanOptions{})
	fill(t, fan, mediatest.NewGenerator(mediatest.Options{NoAudio: true, FrameSize: 100, GOP: 1 << 30}), maxGroupFrames+2*repairPackets)
	if key, _, _ := fan.newest(); key != nil {
		t.Error("it is kept")
	}
	if n := len(fan.frames); n > repairPackets+1 {
		t.Errorf("%d frames are kept", n)
	}
}

func TestTooManyRepairsAreRefused(t *testing.T) {
	e, v := opened(t)
	fan := e.NewFan(FanOptions{})
	fill(t, fan, mediatest.NewGenerator(mediatest.Options{NoAudio: true, FrameSize: 20000, GOP: 20}), 40)
	v.video.watch(fan, v.loop.now)
	for v.video.state == catching {
		v.loop.now = v.loop.now.Add(paceTime)
		v.loop.timely()
		taken(v)
	}
	out := v.video.out
	ask := func(lost uint16) int {
		v.repair(&rtcp.TransportLayerNack{MediaSSRC: 1, Nacks: []rtcp.NackPair{{PacketID: uint16(out) - 17, LostPackets: rtcp.PacketBitmap(lost)}}}, v.loop.now)
		packets := taken(v)
		for _, p := range packets {
			if ssrc := binary.BigEndian.Uint32(p[8:]); ssrc != 2 {
				t.Errorf("a repetition came as stream %d", ssrc)
			}
		}
		return len(packets)
	}
	if n := ask(0xffff); n != 17 {
		t.Errorf("%d packets were repeated of 17", n)
	}
	if n := ask(0xffff); n != 0 {
		t.Errorf("%d packets were repeated at once again", n)
	}
	v.loop.now = v.loop.now.Add(2 * repairTime)
	if n := ask(0); n != 1 {
		t.Errorf("%d packets were repeated later", n)
	}
	v.rep.budget = 0
	v.loop.now = v.loop.now.Add(2 * repairTime)
	if n := ask(0xffff); n > 6 {
		t.Errorf("%d packets were repeated beyond what is allowed", n)
	}
}

func TestViewerThatAsksInVainGetsTheGroupAgain(t *testing.T) {
	e, v := opened(t)
	asked := 0
	fan := e.NewFan(FanOptions{RequestKey: func() { asked++ }})
	g := mediatest.NewGenerator(mediatest.Options{NoAudio: true, FrameSize: 500, GOP: 1000})
	fill(t, fan, g, 5)
	v.video.watch(fan, v.loop.now)
	begun := v.video.out
	for i := range 5 {
		v.askKey(1, v.loop.now.Add(time.Duration(i)*time.Millisecond))
	}
	if asked != 1 || v.video.out != begun {
		t.Errorf("%d key frames were asked for, %d packets sent", asked, v.video.out-begun)
	}
	fill(t, fan, g, 1)
	v.loop.spreads(fan, v.loop.now)
	v.loop.now = v.loop.now.Add(impatience - lagTime/2)
	v.housekeep(v.loop.now)
	if v.video.out != begun+uint64(len(fan.frames[len(fan.frames)-1].packets)) {
		t.Error("it was not waited")
	}
	v.loop.now = v.video.asked.Add(impatience)
	fill(t, fan, g, 1)
	v.loop.spreads(fan, v.loop.now)
	at := v.video.out
	for _, fr := range fan.frames { // as if it had come just now
		fr.in = v.loop.now
	}
	v.housekeep(v.loop.now)
	if v.video.out < at+uint64(len(fan.frames)) {
		t.Errorf("%d packets were sent again of %d frames", v.video.out-at, len(fan.frames))
	}
}

func TestFullConnectionWaitsForTheNextKeyFrame(t *testing.T) {
	e, v := opened(t)
	fan := e.NewFan(FanOptions{})
	g := mediatest.NewGenerator(mediatest.Options{NoAudio: true, FrameSize: 4000, GOP: 60})
	fill(t, fan, g, 1)
	v.video.watch(fan, v.loop.now)
	for v.video.state != waiting {
		fill(t, fan, g, 1)
		v.loop.spreads(fan, v.loop.now)
		if v.video.state == catching {
			v.loop.now = v.loop.now.Add(paceTime)
			v.loop.timely()
		}
	}
	if n := len(v.path.stream.buf); n > streamFull+40000 {
		t.Errorf("%d bytes wait", n)
	}
	taken(v)
	sent := v.video.out
	for !fan.frames[len(fan.frames)-1].key {
		if v.video.out != sent {
			t.Fatal("it went on in the middle of a group")
		}
		fill(t, fan, g, 1)
		v.loop.spreads(fan, v.loop.now)
	}
	if v.video.out == sent {
		t.Error("it did not go on at the key frame")
	}
}

func TestOtherTimelineDoesNotGoBack(t *testing.T) {
	e, v := opened(t)
	var last uint32
	for i := range 3 {
		fan := e.NewFan(FanOptions{})
		g := mediatest.NewGenerator(mediatest.Options{NoAudio: true, FrameSize: 500, GOP: 30, Offset: time.Duration(3-i) * time.Hour})
		fill(t, fan, g, 1)
		v.video.watch(nil, v.loop.now)
		v.video.watch(fan, v.loop.now)
		for range 40 {
			fill(t, fan, g, 1)
			v.loop.spreads(fan, v.loop.now)
		}
		for _, p := range taken(v) {
			ts := binary.BigEndian.Uint32(p[4:])
			if d := int32(ts - last); last != 0 && (d < 0 || d > 20*90000) {
				t.Fatalf("the timestamp goes on by %d", d)
			}
			last = ts
		}
	}
}

func TestEstimateFallsWithTheWay(t *testing.T) {
	e := &estimator{}
	now := time.Now()
	begin := now
	// 2 Mbit/s are sent; the way delays what it does not carry.
	run := func(seconds int, carries float64) {
		var queue float64 // bytes
		for range seconds * 20 {
			var deltas []*rtcp.RecvDelta
			first := e.no + 1
			reference := now.Sub(begin).Truncate(64 * time.Millisecond)
			at := reference
			for range 10 {
				now = now.Add(5 * time.Millisecond)
				e.sent(e.next(), 1250, now)
				queue = max(0, queue+1250-carries/8*0.005)
				arrival := now.Sub(begin) + 20*time.Millisecond + time.Duration(queue*8/max(carries, 1)*1e9)
				deltas = append(deltas, &rtcp.RecvDelta{Type: rtcp.TypeTCCPacketReceivedLargeDelta, Delta: (arrival - at).Microseconds()})
				at = arrival
			}
			b, err := (&rtcp.TransportLayerCC{Header: rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: 10},
				BaseSequenceNumber: first, PacketStatusCount: 10, ReferenceTime: uint32(reference / (64 * time.Millisecond)),
				PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedLargeDelta, RunLength: 10}}, RecvDeltas: deltas}).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			e.feedback(b, now)
		}
	}
	run(5, 20e6)
	wide := e.bitrate(now)
	if wide < 1_900_000 {
		t.Errorf("the estimate is %d on a wide way", wide)
	}
	run(4, 1e6)
	if narrow := e.bitrate(now); narrow > 1_300_000 || narrow < 300_000 {
		t.Errorf("the estimate is %d on a way of 1 Mbit/s", narrow)
	}
	run(20, 20e6)
	if again := e.bitrate(now); again < 1_900_000 {
		t.Errorf("the estimate is %d on a way that is wide again", again)
	}
}

func TestFeedbackTellsWhatCame(t *testing.T) {
	symbol := func(p *rtcp.TransportLayerCC, large int64, sizes ...uint16) {
		for _, s := range sizes {
			switch s {
			case rtcp.TypeTCCPacketReceivedSmallDelta:
				p.RecvDeltas = append(p.RecvDeltas, &rtcp.RecvDelta{Type: s, Delta: 5000})
			case rtcp.TypeTCCPacketReceivedLargeDelta:
				p.RecvDeltas = append(p.RecvDeltas, &rtcp.RecvDelta{Type: s, Delta: large})
			}
		}
	}
	const lost, small, large = rtcp.TypeTCCPacketNotReceived, rtcp.TypeTCCPacketReceivedSmallDelta, rtcp.TypeTCCPacketReceivedLargeDelta
	one := []uint16{small, lost, small, small, lost, small, small, small, small, small, small, small, small, small}
	two := []uint16{small, large, lost, small, large, small, small}
	p := &rtcp.TransportLayerCC{BaseSequenceNumber: 65530, PacketStatusCount: 14 + 7 + 20, ReferenceTime: 5, PacketChunks: []rtcp.PacketStatusChunk{
		&rtcp.StatusVectorChunk{SymbolSize: rtcp.TypeTCCSymbolSizeOneBit, SymbolList: one},
		&rtcp.StatusVectorChunk{SymbolSize: rtcp.TypeTCCSymbolSizeTwoBit, SymbolList: two},
		&rtcp.RunLengthChunk{PacketStatusSymbol: small, RunLength: 20}}}
	symbol(p, -3000, one...)
	symbol(p, -3000, two...)
	for range 20 {
		symbol(p, 0, small)
	}
	p.Header = rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: uint16(p.MarshalSize()/4 - 1)}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	e := &estimator{no: 65529}
	now := time.Now()
	for range 41 {
		e.sent(e.next(), 100, now)
	}
	e.feedback(b, now)
	if e.came != 38 || e.lost != 3 || e.arrived != 3800 {
		t.Errorf("%d came, %d were lost, of %d bytes", e.came, e.lost, e.arrived)
	}
	if want := 5*64*time.Millisecond + 36*5*time.Millisecond - 2*3*time.Millisecond; e.at != want {
		t.Errorf("the last came at %v, not at %v", e.at, want)
	}
	e.feedback(b, now)
	if e.came != 38 {
		t.Error("a report counts twice")
	}
}

func TestClockRates(t *testing.T) {
	if clockRate(media.Opus) != 48000 || clockRate(media.VP9) != 90000 {
		t.Error("a clock is wrong")
	}
}
