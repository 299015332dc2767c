package egress

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"onair/internal/media"
)

const (
	// maxBeginnings bounds how many beginnings a flow remembers for repairs.
	maxBeginnings = 8
	// settleTime is how long a viewer waits for a feed that is still being filled from the
	// past, and settleLag how old its newest frame then is.
	settleTime = 400 * time.Millisecond
	settleLag  = 250 * time.Millisecond
	// youngTime is how old a group may be for a viewer to change to it at once: what is
	// replayed of it comes on top of what the way carries anyway.
	youngTime = time.Second
	// largeGroup is the size from which a key frame is asked for rather than a group
	// replayed, in bytes, and askTime how long that is waited for.
	largeGroup = 3 << 20
	askTime    = 1200 * time.Millisecond
	// otherTime is how far two feeds may be apart and still count as of one timeline.
	otherTime = 5 * time.Second
	// compressedStep is the time between the frames of a replayed group, in milliseconds: a
	// player shows them as fast as it decodes them, and is at the live edge.
	compressedStep = 1
)

// State of a flow.
type state uint8

const (
	idle     state = iota // nothing to watch
	waiting               // for a key frame
	catching              // sent in pieces, at a pace, until it is live
	live                  // sent whole, as frames come
)

// beginning is where a flow began to send a fan, or to send it anew. It tells what
// numbers and times the packets from there on have, and so lets them be made again.
type beginning struct {
	out    uint64 // index of the first packet as sent
	in     uint64 // the same packet's index in the fan
	fan    *Fan
	no     uint64 // its frame
	ts     uint32 // its time, if that is later than its own
	offset uint32 // from the fan's time to the flow's
	pt     uint8
	rtxPT  uint8
}

// time is the timestamp of a frame: its own, or that of a replay if that is later. Both
// grow with each frame, so that they never go back.
func (b *beginning) time(fr *frame, step uint32) uint32 {
	own := fr.ts + b.offset
	if replayed := b.ts + uint32(fr.no-b.no)*step; int32(replayed-own) > 0 {
		return replayed
	}
	return own
}

// flow is what one viewer gets of one kind. It belongs to the viewer's loop.
type flow struct {
	v      *viewer
	kind   media.Kind
	rate   int64
	ssrc   uint32
	rtx    uint32 // SSRC of repetitions; 0 if they come as they were
	random uint32 // added to timestamps
	// transport is the id of the extension for transport-wide feedback; 0 for none.
	transport uint8

	state   state
	fan     *Fan
	pending *Fan // to be changed to at its next key frame
	no      uint64
	part    int // packets of frame no that were sent
	since   time.Time
	track   *media.Track // what pt was chosen for

	begun   []beginning
	out     uint64
	rtxOut  uint64
	last    uint32 // the newest timestamp
	packets uint32
	bytes   uint32
	asked   time.Time // when the viewer's last wish for a key frame was heard
	want    bool      // the viewer still waits for that key frame
	fresh   bool      // only a key frame that was not sent yet will do
}

func newFlow(v *viewer, kind media.Kind, m Media) flow {
	f := flow{v: v, kind: kind, rate: 90000, ssrc: m.SSRC, rtx: m.RTX, transport: m.Transport, random: rand.Uint32(),
		out: uint64(rand.Uint32N(1 << 15)), rtxOut: uint64(rand.Uint32N(1 << 15))}
	if kind == media.Audio {
		f.rate = 48000
	}
	return f
}

func (f *flow) step() uint32 { return uint32(f.rate/1000) * compressedStep }

// watch sets what is sent.
func (f *flow) watch(fan *Fan, now time.Time) {
	if f.ssrc == 0 || fan == f.fan && f.pending == nil || fan == f.pending && fan != nil {
		return
	}
	l := f.v.loop
	if f.pending != nil {
		l.part(f, f.pending)
		f.pending = nil
	}
	if fan == f.fan {
		return
	}
	if f.fan != nil && fan != nil && f.kind == media.Video && (f.state == live || f.state == catching) {
		f.pending = fan
		l.meet(f, fan)
		if key, _, _ := fan.newest(); key != nil && now.Sub(key.at) < youngTime {
			f.change(now)
		}
		return
	}
	if f.fan != nil {
		l.part(f, f.fan)
	}
	f.fan, f.state = fan, idle
	if fan == nil {
		return
	}
	l.meet(f, fan)
	f.wait(now)
	f.try(now)
}

// change makes the pending fan the one that is sent.
func (f *flow) change(now time.Time) {
	f.v.loop.part(f, f.fan)
	f.fan, f.pending = f.pending, nil
	f.wait(now)
	f.try(now)
}

func (f *flow) wait(now time.Time) {
	if f.state != waiting {
		f.state, f.since = waiting, now
	}
	f.v.loop.unpace(f)
}

// try begins with the newest group, if there is one that is worth it.
func (f *flow) try(now time.Time) {
	if f.state != waiting {
		return
	}
	if f.kind == media.Audio {
		// The newest packet: sound needs nothing before it.
		if _, last, _ := f.fan.newest(); last != nil && now.Sub(last.in) < settleLag && !f.fan.rushing() {
			f.begin(last, last, now)
		}
		return
	}
	key, last, bytes := f.fan.newest()
	waited := now.Sub(f.since)
	switch {
	case key == nil || now.Sub(last.in) > lagTime:
		// Nothing, or a feed that stands still.
		f.fan.requestKey(now)
		return
	case f.v.blocked(f) || f.fresh && f.fan == f.latest().fan && key.no < f.no:
		return
	case f.packets == 0 && last.in.Sub(last.at) > settleLag && waited < settleTime:
		return // it is being filled; what is the newest in a moment is nearer to live
	case bytes > largeGroup && f.fan.options.RequestKey != nil && waited < askTime:
		f.fan.requestKey(now)
		return
	}
	if key != last {
		f.fan.metrics.replays.Inc()
	}
	f.begin(key, last, now)
}

// begin sends a fan from a frame on; last is its newest.
func (f *flow) begin(fr, last *frame, now time.Time) {
	if !f.choose(fr.track) {
		f.wait(now) // the viewer cannot take it; whoever watches can ask Supports
		return
	}
	v := f.v
	v.align(f, last)
	pt, rtxPT := v.session.params.choose(f.kind, f.track)
	b := beginning{out: f.out, in: fr.first, fan: f.fan, no: fr.no, pt: pt, rtxPT: rtxPT}
	b.offset = uint32(media.Rescale(int64(v.epoch), int64(time.Second), f.rate)) + f.random
	b.ts = last.ts + b.offset - uint32(last.no-fr.no)*f.step()
	if f.packets > 0 && int32(b.ts-f.last) <= 0 {
		b.ts = f.last + f.step()
	}
	f.remember(b)
	f.no, f.part, f.want, f.fresh = fr.no, 0, false, false
	f.state = catching
	v.loop.pace(f)
	if f.packets == 0 {
		v.due = now // a report, so that the player can align the tracks
	}
	f.catch(now)
}

// choose reports whether the viewer takes a track.
func (f *flow) choose(t *media.Track) bool {
	if t == f.track {
		return true
	}
	pt, _ := f.v.session.params.choose(f.kind, t)
	if pt != 0 {
		f.track = t
	}
	return pt != 0
}

// align finds what is added to presentation times for the wall clock: one for sound and
// picture, and the same until the feeds' time is another one.
func (v *viewer) align(f *flow, fr *frame) {
	offset := time.Duration(fr.at.UnixNano()) - fr.pts
	switch {
	case v.reference == nil:
		v.epoch = offset
	case v.reference != f.fan:
		mine, ok := f.fan.clock()
		theirs, ok2 := v.reference.clock()
		if d := mine - theirs; ok && ok2 && (d > otherTime || d < -otherTime) {
			v.epoch = offset
		}
	case fr.jump:
		if d := offset - v.epoch; d > jumpTime || d < -jumpTime {
			v.epoch = offset
		}
	}
	if v.reference == nil || f.kind == media.Video {
		v.reference = f.fan
	}
}

// take is called with every new frame of a fan that the flow watches or will watch.
func (f *flow) take(from *Fan, fr *frame, now time.Time) {
	if from == f.pending {
		if fr.key {
			f.change(now)
		}
		return
	}
	if f.state == waiting {
		f.try(now)
		return
	}
	if f.state != live || fr.no < f.no {
		return
	}
	if fr.no != f.no {
		// What is missing is not caught up with: that would make what is late later still.
		f.fan.metrics.dropped.WithLabelValues(dropLag).Inc()
		f.fresh = true
		f.wait(now)
		f.try(now)
		return
	}
	if fr.jump || fr.track != f.track {
		f.begin(fr, fr, now)
		return
	}
	if fr.late {
		f.skip(fr)
		return
	}
	if f.v.blocked(f) {
		f.fresh = true
		f.wait(now)
		return
	}
	if n := len(fr.packets); n > burstPackets {
		f.state = catching
		f.v.loop.pace(f)
		f.send(fr, burstPackets)
		return
	}
	f.send(fr, len(fr.packets))
}

// skip leaves a packet of sound out. Its numbers stay free, so that nothing seems lost.
func (f *flow) skip(fr *frame) {
	f.fan.metrics.dropped.WithLabelValues(dropLag).Inc()
	b := *f.latest()
	b.out, b.in, b.no = f.out, fr.first+uint64(len(fr.packets)), fr.no+1
	b.ts = fr.ts + b.offset
	f.remember(b)
	f.no = fr.no + 1
}

func (f *flow) latest() *beginning { return &f.begun[len(f.begun)-1] }

func (f *flow) remember(b beginning) {
	if len(f.begun) == maxBeginnings {
		copy(f.begun, f.begun[1:])
		f.begun = f.begun[:maxBeginnings-1]
	}
	f.begun = append(f.begun, b)
}

// catch sends the next packets of a flow that is behind.
func (f *flow) catch(now time.Time) {
	for budget := burstPackets; budget > 0 && f.state == catching; {
		fr, ok := f.fan.frame(f.no)
		if !ok {
			if f.no < f.fan.head() {
				f.fan.metrics.dropped.WithLabelValues(dropLag).Inc()
				f.fresh = true
				f.wait(now) // it is gone
				f.try(now)
				return
			}
			f.state = live
			f.v.loop.unpace(f)
			return
		}
		if f.part == 0 && fr.no != f.latest().no && (fr.jump || fr.track != f.track) {
			f.begin(fr, fr, now)
			return
		}
		budget -= f.send(fr, budget)
	}
}

// send seals up to n packets of frame f.no and returns how many.
func (f *flow) send(fr *frame, n int) int {
	v, b := f.v, f.latest()
	ts := b.time(fr, f.step())
	end := min(f.part+n, len(fr.packets))
	sent := end - f.part
	for i := f.part; i < end; i++ {
		marker := f.kind == media.Video && i == len(fr.packets)-1
		v.packet(f, b.pt, f.ssrc, f.out, ts, marker, fr.packets[i], v.counted(f))
		f.out++
		f.bytes += uint32(len(fr.packets[i]))
	}
	f.packets += uint32(sent)
	f.last = ts
	f.want = f.want && !fr.key
	if f.part = end; end == len(fr.packets) {
		f.no, f.part = f.no+1, 0
	}
	return sent
}

// packet seals one packet. counted puts the number of transport-wide feedback in it.
func (v *viewer) packet(f *flow, pt uint8, ssrc uint32, index uint64, ts uint32, marker bool, payload []byte, counted bool) {
	l := v.loop
	buf := l.batch.space()
	buf[0], buf[1] = 0x80, pt
	if marker {
		buf[1] |= 0x80
	}
	binary.BigEndian.PutUint16(buf[2:], uint16(index))
	binary.BigEndian.PutUint32(buf[4:], ts)
	binary.BigEndian.PutUint32(buf[8:], ssrc)
	head := 12
	var number uint16
	if counted {
		buf[0] |= 0x10
		number = v.est.next()
		buf[12], buf[13], buf[14], buf[15] = 0xbe, 0xde, 0, 1
		buf[16], buf[17], buf[18], buf[19] = f.transport<<4|1, byte(number>>8), byte(number), 0
		head = 20
	}
	n, err := v.seal.seal(buf, head, payload, index)
	if err != nil {
		l.engine.metrics.dropped.WithLabelValues(dropSend).Inc()
		return
	}
	if counted {
		v.est.sent(number, n, l.now)
	}
	l.packets++
	l.bytes += n
	l.batch.commit(v.path, n)
}

// counted reports whether packets of a flow carry the number of transport-wide feedback.
// Those that are sent again as they were must be the same to the last bit.
func (*viewer) counted(f *flow) bool {
	return f.transport != 0 && (f.rtx != 0 || f.kind == media.Audio)
}

// blocked reports whether the way to a viewer takes no whole frame more.
func (v *viewer) blocked(f *flow) bool {
	return f.kind == media.Video && v.path.stream != nil && v.path.stream.full()
}
