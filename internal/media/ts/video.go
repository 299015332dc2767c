package ts

import (
	"bytes"

	h264codec "github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// maxPictures bounds the access units of one PES packet; more are dropped.
const maxPictures = 64

// videoStream cuts a byte stream into access units.
type videoStream struct {
	// aligned is set once a PES packet was seen to begin with an access unit, spread when
	// one did not: then the last access unit is complete only when the next one begins.
	aligned, spread bool
	// hold is the beginning of the access unit that waits for its end, held its time.
	hold []byte
	held times
	// carried is the time of an access unit whose start code began in the PES packet before.
	carried times
	// last is the time of the access unit before, step its distance to the one before it.
	last times
	step int64
	// sets says which kinds of parameter sets were seen, config holds them, before there is a
	// track.
	sets   map[byte]bool
	config []byte
}

type times struct {
	pts, dts int64
	known    bool
}

// lost drops what waits for its end, for that will not come.
func (v *videoStream) lost(r *Reader) {
	r.held -= len(v.hold)
	v.hold = nil
}

func (s *stream) endVideo(r *Reader) {
	v := &s.video
	if len(v.hold) > 0 {
		s.picture(r, v.hold, v.held)
	}
	v.lost(r)
}

// addVideo takes the payload of a PES packet. follows is the beginning of the payload after
// it, if that is there already.
func (s *stream) addVideo(r *Reader, p pes, follows []byte) {
	v := &s.video
	codec := s.codec()
	begins := beginsUnit(codec, p.payload)
	if !begins {
		if v.aligned || len(v.hold) > 0 {
			v.spread = true
		}
	} else if len(v.hold) > 0 && !v.spread {
		v.aligned = true
	}
	if len(follows) > 4 {
		if beginsUnit(codec, follows) {
			v.aligned = true
		} else {
			v.spread = true
		}
	}
	b, old := p.payload, 0
	if len(v.hold) > 0 {
		if len(v.hold)+len(p.payload) > maxPES {
			v.lost(r)
			r.stats.Damaged++
		}
		old = len(v.hold)
		b = append(v.hold, p.payload...)
	}
	r.held -= len(v.hold)
	v.hold = nil
	stamped := times{p.pts, p.dts, p.timed}
	starts := s.pairFields(r, b, unitStarts(codec, b))
	for i, start := range starts {
		end := len(b)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		at := times{}
		switch {
		case start < old && i == 0:
			at = v.held
		case start < old && !(begins && start == old-1): // not a zero behind the unit before
			at, v.carried = v.carried, times{}
		case stamped.known:
			at, stamped.known = stamped, false
		}
		if end == len(b) && (v.spread || !v.aligned) {
			v.hold, v.held, v.carried = bytes.Clone(b[start:]), at, stamped
			r.held += len(v.hold)
			return
		}
		if i >= maxPictures {
			r.stats.Damaged++
			return
		}
		s.picture(r, b[start:end], at)
	}
}

// pairFields leaves the two fields of an interlaced picture together where they come in one
// PES packet: they have one time, and are one sample of a file.
func (s *stream) pairFields(r *Reader, b []byte, starts []int) []int {
	if s.coding != h264 || len(starts) != 2 || starts[0] > 3 {
		return starts
	}
	if s.track == nil {
		s.parameters(r, bitstream.FromAnnexB(b[starts[0]:starts[1]]))
	}
	if s.track == nil || !interlaced(s.track.Config) {
		return starts
	}
	return starts[:1]
}

// interlaced reports whether an avcC allows pictures of one field.
func interlaced(config []byte) bool {
	if len(config) < 8 {
		return false
	}
	size := int(config[6])<<8 | int(config[7])
	var sps h264codec.SPS
	return len(config) >= 8+size && sps.Unmarshal(config[8:8+size]) == nil && !sps.FrameMbsOnlyFlag
}

func (s *stream) codec() media.Codec {
	if s.coding == h264 {
		return media.H264
	}
	return media.HEVC
}

// picture hands on one access unit.
func (s *stream) picture(r *Reader, unit []byte, at times) {
	v := &s.video
	if !at.known {
		if !v.last.known {
			r.stats.Damaged++
			return
		}
		at = times{v.last.pts + s.frame(), v.last.dts + s.frame(), true}
	}
	b := bitstream.FromAnnexB(unit)
	if !s.parameters(r, b) {
		return
	}
	out, params, err := bitstream.Normalize(s.track, b)
	if err != nil {
		r.stats.Damaged++
		return
	}
	if params != nil && !s.describe(r, media.Track{Codec: s.codec(), Config: params}, nil) {
		return
	}
	if d := at.dts - v.last.dts; v.last.known && d > 0 && d < Timescale {
		v.step = d
	}
	v.last = at
	if len(out) == 0 {
		return
	}
	key := bitstream.IsKey(s.track.Codec, out) || s.track.Codec == media.H264 && recovers(out)
	r.queue = append(r.queue, &media.Packet{Track: s.track, PTS: at.pts, DTS: at.dts, Key: key, Arrival: r.now, Data: out})
}

// frame is how long a picture lasts, as far as it can be told.
func (s *stream) frame() int64 {
	switch {
	case s.track != nil && s.track.FrameRate > 0:
		return int64(Timescale/s.track.FrameRate + 0.5)
	case s.video.step > 0:
		return s.video.step
	default:
		return Timescale / 25
	}
}

// parameters collects parameter sets until there is a track.
func (s *stream) parameters(r *Reader, unit []byte) bool {
	if s.track != nil {
		return true
	}
	v := &s.video
	if v.sets == nil {
		v.sets = map[byte]bool{}
	}
	need := []byte{7, 8}
	if s.coding == hevc {
		need = []byte{32, 33, 34}
	}
	for nal, err := range bitstream.NALUs(unit) {
		if err != nil || len(nal) == 0 {
			continue
		}
		v.sets[nalType(s.codec(), nal)] = true
	}
	bare := media.Track{Codec: s.codec(), Config: v.config}
	if _, params, err := bitstream.Normalize(&bare, unit); err == nil && params != nil {
		v.config = params
	}
	for _, kind := range need {
		if !v.sets[kind] {
			return false
		}
	}
	return v.config != nil && s.describe(r, media.Track{Codec: s.codec(), Config: v.config}, nil)
}

func nalType(c media.Codec, nal []byte) byte {
	if c == media.H264 {
		return nal[0] & 0x1f
	}
	return nal[0] >> 1 & 0x3f
}

// role is what a NAL unit means for the border of access units (ITU-T H.264, section
// 7.4.1.2.3; H.265, section 7.4.2.4.4).
type role uint8

const (
	neutral role = iota
	opens        // the first of its kind behind a picture begins a new access unit
	slice        // a further part of the picture
	first        // the first part of a picture
)

func roleOf(c media.Codec, nal []byte) role {
	if len(nal) < 3 {
		if len(nal) > 0 && c == media.H264 && nal[0]&0x1f == 9 {
			return opens
		}
		return neutral
	}
	kind := nalType(c, nal)
	if c == media.H264 {
		switch {
		case kind == 1 || kind == 2 || kind == 5:
			if nal[1]&0x80 != 0 { // first_mb_in_slice is 0
				return first
			}
			return slice
		case kind >= 6 && kind <= 9:
			return opens
		}
		return neutral
	}
	switch {
	case kind < 32:
		if nal[2]&0x80 != 0 && nal[0]&1 == 0 && nal[1]>>3 == 0 { // first_slice_segment_in_pic_flag
			return first
		}
		return slice
	case kind <= 35 || kind == 39 || kind >= 41 && kind <= 44 || kind >= 48 && kind <= 55:
		return opens
	}
	return neutral
}

// nextUnit returns where the start code at or behind from begins and where its NAL unit does;
// len(b) if there is none.
func nextUnit(b []byte, from int) (code, nal int) {
	i := bytes.Index(b[from:], []byte{0, 0, 1})
	if i < 0 {
		return len(b), len(b)
	}
	code = from + i
	nal = code + 3
	if code > from && b[code-1] == 0 {
		code--
	}
	return code, nal
}

// beginsUnit reports whether b begins with an access unit.
func beginsUnit(c media.Codec, b []byte) bool {
	trimmed := bytes.TrimLeft(b[:min(len(b), 64)], "\x00")
	if len(trimmed) == len(b) || len(trimmed)+1 >= min(len(b), 64) || len(trimmed) < 2 || trimmed[0] != 1 {
		return false
	}
	switch roleOf(c, trimmed[1:]) {
	case opens, first:
		return true
	default:
		return len(trimmed) < 4
	}
}

// unitStarts returns where the access units of a byte stream begin. What stands before the
// first is a part of none.
func unitStarts(c media.Codec, b []byte) []int {
	var starts []int
	picture := true // so that the first unit begins an access unit
	for code, nal := nextUnit(b, 0); nal < len(b); {
		r := roleOf(c, b[nal:])
		switch {
		case starts == nil, picture && (r == opens || r == first):
			starts = append(starts, code)
			picture = r == first || r == slice
		case r == first || r == slice:
			picture = true
		}
		code, nal = nextUnit(b, nal)
	}
	return starts
}

// recovers reports whether an H.264 access unit is an intra picture from which decoding can
// start though it is no IDR: it has a recovery point that takes no further pictures (ITU-T
// H.264, section D.2.8). Broadcast encoders send nothing else.
func recovers(unit []byte) bool {
	for nal, err := range bitstream.NALUs(unit) {
		if err != nil || len(nal) == 0 {
			return false
		}
		switch nal[0] & 0x1f {
		case 1, 5:
			return false
		case 6:
			if recoveryPoint(nal[1:]) {
				return true
			}
		}
	}
	return false
}

// recoveryPoint walks the messages of a SEI unit.
func recoveryPoint(b []byte) bool {
	number := func() int {
		n := 0
		for len(b) > 0 {
			x := b[0]
			b = b[1:]
			n += int(x)
			if x != 0xff {
				break
			}
		}
		return n
	}
	for len(b) > 2 {
		kind, size := number(), number()
		if kind == 6 {
			return len(b) > 0 && b[0]&0x80 != 0 // recovery_frame_cnt is 0
		}
		if size > len(b) {
			return false
		}
		b = b[size:]
	}
	return false
}
