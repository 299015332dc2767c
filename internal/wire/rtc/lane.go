package rtc

import (
	"bytes"
	"slices"
	"time"

	"github.com/pion/rtp"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

const (
	videoRate = 90000
	audioRate = 48000
	// minKeyRequest is the least time between two requests for a key frame of a track.
	minKeyRequest = time.Second
	// firstKeyTime is how long a stream that begins may take to its key frame. Most
	// senders begin with one; a second one right behind it would cost them quality.
	firstKeyTime = 300 * time.Millisecond
	// silenceAfter is how long no sound may come before silence is put in its place, and
	// how far silence stays behind the wall clock.
	silenceAfter = 200 * time.Millisecond
	// silenceTicks is the length of a packet of silence.
	silenceTicks = 960
	// staleLimit packets of sound in a row for a time that is over show that the sender's
	// clock stood still meanwhile.
	staleLimit = 5
	// maxSilence bounds the silence between two packets; a longer leap is another clock.
	maxSilence = 10 * time.Second
	// maxSoundWait bounds how long sound waits for a missing packet: it is small, and what
	// is lost of it is hardly heard.
	maxSoundWait = 150 * time.Millisecond
	// maxReorder is the deepest reordering of pictures that is followed.
	maxReorder = 4
)

// silence is an Opus packet of 20 ms of stereo silence (RFC 6716, section 3.1).
var silence = []byte{0xfc, 0xff, 0xfe}

// unit is what a lane has to deliver: an access unit of the track's present version.
type unit struct {
	track   *media.Track
	clock   *clock
	ext     int64
	key     bool
	arrived time.Time
	data    []byte
}

// lane is one track: what the streams of one m-line, and one rid of it, become.
type lane struct {
	id          int
	rid         string
	codec       media.Codec
	track       *media.Track
	wait        time.Duration
	keyInterval time.Duration // how often key frames are asked for

	ssrc    uint32
	jitter  jitter
	parts   *assembler
	clock   *clock
	active  bool // a stream was heard
	nack    bool
	dropped func(reason string)

	// Pictures.
	waitKey bool
	keyAt   time.Time // when the last key frame came, or the stream began
	keys    int       // key frames since the stream began
	beganAt time.Time
	askedAt time.Time
	ask     bool // a key frame is needed now

	// Sound.
	filling   bool
	due       int64 // the time stamp due
	heard     time.Time
	heardTS   int64
	stale     int
	silenced  uint64
	out       []unit
	delivered bool
	lastDTS   int64
	order     []int64 // the last time stamps in order
	depth     int     // how many pictures one may be late
}

// newLane returns a lane that waits as long for what is repaired, and whose pictures are
// asked for a key frame at each keyInterval.
func newLane(id int, rid string, codec media.Codec, wait, keyInterval time.Duration, dropped func(string)) *lane {
	l := &lane{id: id, rid: rid, codec: codec, wait: wait, keyInterval: keyInterval, dropped: dropped}
	if codec == media.Opus {
		l.wait = min(wait, maxSoundWait)
		l.track = opusTrack(id)
	}
	return l
}

func (l *lane) video() bool { return l.codec.Kind() == media.Video }

// opusTrack describes what Opus over RTP is (RFC 7587): always 48 kHz, decoded to stereo.
func opusTrack(id int) *media.Track {
	t := &media.Track{
		ID: id, Codec: media.Opus, Timescale: audioRate, SampleRate: audioRate, Channels: 2, CodecString: "opus",
		// Version, channels, pre-skip 312, 48000 Hz, gain 0, mapping family 0.
		Config: []byte{0, 2, 1, 56, 0, 0, 0xbb, 0x80, 0, 0, 0},
	}
	if d, err := bitstream.Describe(t); err == nil {
		return d
	}
	return t
}

// begin starts a stream, or another one in place of the one before.
func (l *lane) begin(ssrc uint32, codec media.Codec, nack bool, now time.Time) {
	l.ssrc, l.nack, l.active = ssrc, nack, true
	if l.clock != nil && !l.clock.fixed {
		l.out = nil // nobody knows where it belongs
	}
	counts := l.jitter.counts
	l.jitter = jitter{wait: l.wait, counts: counts}
	rate := int64(audioRate)
	if l.video() {
		rate = videoRate
		l.codec = codec
		l.parts = newAssembler(codec)
		l.waitKey, l.ask, l.keyAt, l.beganAt, l.keys = true, false, now, now, 0
		if l.track != nil && l.track.Codec != codec {
			l.track = &media.Track{ID: l.id, Version: l.track.Version, Codec: codec, Timescale: videoRate}
		}
	}
	l.clock = &clock{rate: rate}
	l.filling, l.stale = false, 0
}

// push takes a packet of the lane's stream.
func (l *lane) push(p *rtp.Packet, at time.Duration, now time.Time) {
	l.jitter.push(p, now)
	if ext, ok := l.clock.near(p.Timestamp); ok {
		l.clock.arrived(ext, at, now)
	}
	l.drain(at, now)
}

// drain hands on what is in order now.
func (l *lane) drain(at time.Duration, now time.Time) {
	for l.active {
		p, arrived, lost := l.jitter.pop(now)
		if p == nil {
			return
		}
		if !l.clock.begun {
			l.clock.arrived(l.clock.next(p.Timestamp), at, now)
		}
		if l.video() {
			for _, f := range l.parts.push(p, lost) {
				l.picture(f, l.clock.next(f.timestamp), arrived)
			}
		} else if len(p.Payload) > 0 {
			l.sound(l.clock.next(p.Timestamp), p.Payload, arrived)
		}
	}
}

// picture takes an access unit. None that misses something goes on, nor any that was
// coded after one: decoding begins again at the next key frame.
func (l *lane) picture(f frame, ext int64, arrived time.Time) {
	drop := func(reason string) {
		l.dropped(reason)
		l.waitKey, l.ask = true, true
	}
	if f.broken != "" {
		if l.waitKey && f.broken == brokenLoss {
			l.dropped(brokenNoKey) // nothing more is lost by it
			l.ask = true
			return
		}
		drop(f.broken)
		return
	}
	t := l.track
	if t == nil {
		t = &media.Track{ID: l.id, Codec: l.codec, Timescale: videoRate, Version: -1}
	}
	data, params, err := bitstream.Normalize(t, f.data)
	if err != nil {
		drop(brokenMalformed)
		return
	}
	if len(data) == 0 && params == nil {
		return
	}
	key := bitstream.IsKey(l.codec, data)
	if changed, ok := l.describe(t, data, params, key); !ok {
		drop(brokenConfig)
		return
	} else if changed != nil {
		// Some encoders send their parameter sets alone, before the picture.
		if !key && len(data) > 0 {
			drop(brokenConfig)
			return
		}
		l.track = changed
	}
	if len(data) == 0 {
		return
	}
	if l.track == nil || l.track.CodecString == "" {
		drop(brokenConfig)
		return
	}
	if key {
		l.waitKey, l.ask, l.keyAt = false, false, arrived
		l.keys++
	} else if l.waitKey {
		drop(brokenNoKey)
		return
	}
	l.out = append(l.out, unit{track: l.track, clock: l.clock, ext: ext, key: key, arrived: arrived, data: data})
}

// describe returns another version of the track if the access unit asks for one; false
// if its parameters are of no use.
func (l *lane) describe(t *media.Track, data, params []byte, key bool) (*media.Track, bool) {
	next := *t
	var d *media.Track
	var err error
	switch {
	case params != nil:
		next.Config = params
		d, err = bitstream.Describe(&next)
	case key && (l.codec == media.VP8 || l.codec == media.VP9):
		next.Config = nil
		d, err = bitstream.Probe(&next, data)
	default:
		return nil, true
	}
	if err != nil {
		return nil, false
	}
	if bytes.Equal(d.Config, t.Config) && d.Width == t.Width && d.Height == t.Height && t.CodecString != "" {
		return nil, true
	}
	d.Version, d.KeyInterval = t.Version+1, l.keyInterval
	return d, true
}

// sound takes a packet of sound, and fills what is missing before it with silence: a
// sender with nothing to say (DTX), or muted, sends nothing or little.
func (l *lane) sound(ext int64, data []byte, arrived time.Time) {
	duration := bitstream.Duration(l.track, data)
	if duration <= 0 {
		l.dropped(brokenMalformed)
		return
	}
	l.heard, l.heardTS = arrived, ext
	ext += l.clock.shift
	if !l.filling {
		l.filling, l.due = true, ext
	}
	if leap := l.clock.ns(ext - l.due); leap > int64(maxSilence) {
		l.clock.move(l.due - ext)
		ext = l.due
	}
	if ext <= l.due-duration {
		// Silence stands where this belongs, or it comes again.
		if l.stale++; l.stale < staleLimit {
			l.dropped(brokenLate)
			return
		}
		l.clock.move(l.due - ext)
		ext = l.due
	}
	l.stale = 0
	l.fill(ext, arrived)
	l.out = append(l.out, unit{track: l.track, clock: l.clock, ext: max(ext, l.due), key: true, arrived: arrived, data: data})
	l.due = max(ext, l.due) + duration
}

// fill puts silence up to a time stamp, in whole packets.
func (l *lane) fill(until int64, now time.Time) {
	for l.filling && l.due+silenceTicks <= until {
		l.out = append(l.out, unit{track: l.track, clock: l.clock, ext: l.due, key: true, arrived: now, data: silence})
		l.due += silenceTicks
		l.silenced++
	}
}

// quiet fills in for sound that does not come.
func (l *lane) quiet(now time.Time) {
	if l.video() || !l.filling {
		return
	}
	since := now.Sub(l.heard) - silenceAfter
	if since <= 0 || l.jitter.held > 0 {
		return
	}
	l.fill(l.heardTS+l.clock.shift+int64(since)*audioRate/int64(time.Second), now)
}

// wants reports whether a key frame is to be asked for, as far as this lane knows.
func (l *lane) wants(now time.Time, interval time.Duration) bool {
	if !l.active || !l.video() || now.Sub(l.askedAt) < minKeyRequest {
		return false
	}
	// At the interval, and not before: segments are as long as that, and end at the first
	// key frame from there on. Only the first segment, which viewers wait for, is shorter.
	if l.keys < 2 {
		interval = min(interval, minKeyRequest)
	}
	return l.ask || l.waitKey && now.Sub(l.beganAt) >= firstKeyTime || now.Sub(l.keyAt) >= interval
}

// packet makes the packet of a unit.
func (l *lane) packet(u unit, master *clock) *media.Packet {
	if u.clock != master && l.video() {
		u.clock.slew(master, u.ext)
	}
	pts := u.clock.ticks(u.ext)
	p := &media.Packet{Track: u.track, DTS: pts, PTS: pts, Key: u.key, Arrival: u.arrived, Data: u.data}
	if l.video() {
		p.DTS = l.decodeTime(pts)
	} else {
		p.Duration = bitstream.Duration(u.track, u.data)
	}
	if l.delivered && p.DTS <= l.lastDTS {
		p.DTS = l.lastDTS + 1
		if !l.video() {
			p.PTS = p.DTS
		}
	}
	l.delivered, l.lastDTS = true, p.DTS
	return p
}

// decodeTime is the DTS of the next picture. RTP has presentation times only; where
// pictures are out of order, their times in order, late by the depth of the disorder, are
// when they are decoded.
func (l *lane) decodeTime(pts int64) int64 {
	at := len(l.order)
	for at > 0 && l.order[at-1] > pts {
		at--
	}
	late := len(l.order) - at
	if late > maxReorder {
		l.order, l.depth, at, late = l.order[:0], 0, 0, 0 // a clock that went back
	}
	l.depth = max(l.depth, late)
	l.order = slices.Insert(l.order, at, pts)
	if len(l.order) > maxReorder+1 {
		l.order = l.order[1:]
	}
	return l.order[max(0, len(l.order)-1-l.depth)]
}
