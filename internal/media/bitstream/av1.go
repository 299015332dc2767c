package bitstream

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"onair/internal/media"
)

// OBU types (AV1 specification, section 6.2.2).
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
	obuFrameHeader       = 3
	obuFrame             = 6
	obuTileList          = 8
	obuPadding           = 15
)

// OBU is one open bitstream unit of AV1. Its slices are parts of the temporal unit.
type OBU struct {
	// Type is the obu_type (AV1 specification, section 6.2.2).
	Type uint8
	// Payload is what follows the header and the size field.
	Payload []byte
	// Raw is the whole unit with header and size field.
	Raw []byte
}

var (
	errForbiddenBit = errors.New("an OBU's forbidden bit is set")
	errShortOBU     = errors.New("an OBU is cut short")
	errOBUSize      = errors.New("an OBU's size is malformed")
)

// OBUs walks the OBUs of a temporal unit in the low-overhead format (AV1 specification,
// section 5.3.1). An OBU without a size field reaches to the end. A unit that does not
// fit ends the walk with an error.
func OBUs(temporalUnit []byte) iter.Seq2[OBU, error] {
	return func(yield func(OBU, error) bool) {
		for rest := temporalUnit; len(rest) > 0; {
			u, r, err := nextOBU(rest)
			if err != nil {
				yield(OBU{}, err)
				return
			}
			if !yield(u, nil) {
				return
			}
			rest = r
		}
	}
}

// nextOBU cuts the first OBU from b, which is not empty.
func nextOBU(b []byte) (u OBU, rest []byte, err error) {
	if b[0]&0x80 != 0 {
		return u, nil, errForbiddenBit
	}
	u.Type = b[0] >> 3 & 15
	head := 1 + int(b[0]>>2&1)
	if len(b) < head {
		return u, nil, errShortOBU
	}
	size := len(b) - head
	if b[0]&2 != 0 {
		var n int
		var ok bool
		if size, n, ok = leb128(b[head:]); !ok {
			return u, nil, errOBUSize
		}
		head += n
		if size > len(b)-head {
			return u, nil, errShortOBU
		}
	}
	u.Payload, u.Raw = b[head:head+size], b[:head+size]
	return u, b[head+size:], nil
}

// leb128 reads a size (section 4.10.5), which must fit in 31 bits.
func leb128(b []byte) (value, n int, ok bool) {
	var v uint64
	for i := 0; i < 8 && i < len(b); i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return int(v), i + 1, v <= 1<<31-1
		}
	}
	return 0, 0, false
}

func appendLEB128(b []byte, v int) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// appendOBU appends the OBU with a size field.
func appendOBU(b []byte, u OBU) []byte {
	if u.Raw[0]&2 != 0 {
		return append(b, u.Raw...)
	}
	b = append(b, u.Raw[0]|2)
	if u.Raw[0]&4 != 0 {
		b = append(b, u.Raw[1])
	}
	b = appendLEB128(b, len(u.Payload))
	return append(b, u.Payload...)
}

// sequence is what a sequence header says (AV1 specification, section 5.5).
type sequence struct {
	videoInfo
	profile, level, tier    byte
	highDepth, twelve, mono bool
	subX, subY              bool
	chromaPosition, depth   byte
	still                   bool
}

// parseSequenceHeader reads the payload of a sequence header OBU. It goes through the
// decoder model and the display delay, which the library's reader refuses although
// hardware encoders send them.
func parseSequenceHeader(payload []byte) (sequence, error) {
	var s sequence
	r := bitReader{data: payload[:min(len(payload), maxParameterSet)]}
	s.profile = byte(r.bits(3))
	r.skip(1)
	s.still = r.flag() // reduced_still_picture_header
	if s.still {
		s.level = byte(r.bits(5))
	} else {
		readOperatingPoints(&r, &s)
	}
	w, h := int(r.bits(4))+1, int(r.bits(4))+1
	width, height := uint64(r.bits(w))+1, uint64(r.bits(h))+1
	if !s.still && r.flag() {
		r.skip(7)
	}
	r.skip(3)
	if !s.still {
		r.skip(4)
		orderHint := r.flag()
		if orderHint {
			r.skip(2)
		}
		screen := uint32(2)
		if !r.flag() {
			screen = r.bits(1)
		}
		if screen > 0 && !r.flag() {
			r.skip(1)
		}
		if orderHint {
			r.skip(3)
		}
	}
	r.skip(3)
	readAV1Color(&r, &s)
	if r.bad {
		return s, fmt.Errorf("sequence header is cut short")
	}
	if s.profile > 2 {
		return s, fmt.Errorf("profile %d is not known", s.profile)
	}
	if err := checkSize(width, height); err != nil {
		return s, err
	}
	s.width, s.height = int(width), int(height)
	s.codec = av1CodecString(s.profile, s.level, s.tier, s.depth)
	return s, nil
}

func readOperatingPoints(r *bitReader, s *sequence) {
	decoderModel, delayBits := false, 0
	if r.flag() { // timing_info_present_flag
		units, scale := r.bits(32), r.bits(32)
		if r.flag() { // equal_picture_interval
			ticks := uint64(r.ue()) + 1
			s.rate = frameRate(uint64(scale), uint64(units)*ticks)
		}
		if decoderModel = r.flag(); decoderModel {
			delayBits = int(r.bits(5)) + 1
			r.skip(32 + 5 + 5)
		}
	}
	displayDelay := r.flag()
	for i := range r.bits(5) + 1 {
		r.skip(12)
		level, tier := byte(r.bits(5)), byte(0)
		if level > 7 {
			tier = byte(r.bits(1))
		}
		if i == 0 {
			s.level, s.tier = level, tier
		}
		if decoderModel && r.flag() {
			r.skip(2*delayBits + 1)
		}
		if displayDelay && r.flag() {
			r.skip(4)
		}
	}
}

// readAV1Color reads color_config (section 5.5.2).
func readAV1Color(r *bitReader, s *sequence) {
	s.highDepth = r.flag()
	s.depth = 8
	if s.highDepth {
		s.depth = 10
		if s.profile == 2 {
			if s.twelve = r.flag(); s.twelve {
				s.depth = 12
			}
		}
	}
	if s.profile != 1 {
		s.mono = r.flag()
	}
	srgb := false
	if r.flag() {
		srgb = r.bits(24) == 1<<16|13<<8 // BT.709, sRGB, identity
	}
	s.subX, s.subY = true, true
	switch {
	case s.mono:
		r.skip(1)
		return
	case srgb:
		s.subX, s.subY = false, false
		return
	}
	r.skip(1)
	switch {
	case s.profile == 1:
		s.subX, s.subY = false, false
	case s.profile == 2 && s.depth == 12:
		s.subX = r.flag()
		s.subY = s.subX && r.flag()
	case s.profile == 2:
		s.subY = false
	}
	if s.subX && s.subY {
		s.chromaPosition = byte(r.bits(2))
	}
}

// av1CodecString builds the name of "AV1 Codec ISO Media File Format Binding",
// section 5, without its optional part.
func av1CodecString(profile, level, tier, depth byte) string {
	t := 'M'
	if tier == 1 {
		t = 'H'
	}
	return fmt.Sprintf("av01.%d.%02d%c.%02d", profile, level, t, depth)
}

// AV1C builds the content of an av1C box from a sequence header OBU, with or without its
// size field; nil if it is unusable.
func AV1C(sequenceHeader []byte) []byte {
	if len(sequenceHeader) == 0 {
		return nil
	}
	u, rest, err := nextOBU(sequenceHeader)
	if err != nil || u.Type != obuSequenceHeader || len(rest) > 0 {
		return nil
	}
	s, err := parseSequenceHeader(u.Payload)
	if err != nil {
		return nil
	}
	bit := func(v bool, shift int) byte {
		if v {
			return 1 << shift
		}
		return 0
	}
	b := []byte{0x81, s.profile<<5 | s.level,
		s.tier<<7 | bit(s.highDepth, 6) | bit(s.twelve, 5) | bit(s.mono, 4) | bit(s.subX, 3) | bit(s.subY, 2) | s.chromaPosition, 0}
	return appendOBU(b, u)
}

// describeAV1 reads an av1C. Its sequence header may be missing; the size then is not
// known before the first key frame.
func describeAV1(config []byte) (videoInfo, error) {
	if len(config) < 4 || config[0] != 0x81 {
		return videoInfo{}, fmt.Errorf("not an AV1CodecConfigurationRecord")
	}
	if payload, err := configSequence(config); err != nil {
		return videoInfo{}, err
	} else if payload != nil {
		s, err := parseSequenceHeader(payload)
		return s.videoInfo, err
	}
	depth := byte(8)
	if config[2]&0x40 != 0 {
		depth = 10
		if config[2]&0x20 != 0 {
			depth = 12
		}
	}
	return videoInfo{codec: av1CodecString(config[1]>>5, config[1]&31, config[2]>>7, depth)}, nil
}

// configSequence returns the payload of the sequence header in an av1C; nil if none.
func configSequence(config []byte) ([]byte, error) {
	if len(config) < 4 {
		return nil, errShortOBU
	}
	for rest := config[4:]; len(rest) > 0; {
		u, r, err := nextOBU(rest)
		if err != nil {
			return nil, err
		}
		if u.Type == obuSequenceHeader {
			return u.Payload, nil
		}
		rest = r
	}
	return nil, nil
}

func normalizeOBUs(t *media.Track, tu []byte) (out, params []byte, err error) {
	from, to := -1, -1 // the part of tu that is kept, while nothing was copied
	var copied []byte
	count := 0
	for rest := tu; len(rest) > 0; {
		if count++; count > maxNALUs {
			return nil, nil, errTooManyUnits
		}
		start := len(tu) - len(rest)
		var u OBU
		if u, rest, err = nextOBU(rest); err != nil {
			return nil, nil, err
		}
		switch u.Type {
		case obuTemporalDelimiter, obuTileList, obuPadding:
			continue
		case obuSequenceHeader:
			if known, _ := configSequence(t.Config); params == nil && !bytes.Equal(known, u.Payload) {
				params = AV1C(u.Raw)
			}
		}
		end := len(tu) - len(rest)
		sized := u.Raw[0]&2 != 0
		if copied == nil && sized && (from < 0 || to == start) {
			if from < 0 {
				from = start
			}
			to = end
			continue
		}
		if copied == nil {
			copied = make([]byte, 0, len(tu)+8)
			if from >= 0 {
				copied = append(copied, tu[from:to]...)
			}
		}
		copied = appendOBU(copied, u)
	}
	switch {
	case copied != nil:
		return copied, params, nil
	case from < 0:
		return nil, params, nil
	default:
		return tu[from:to], params, nil
	}
}

// isAV1Key looks for a sequence header in front of a key frame that is shown (AV1 in
// ISO BMFF, section 2.4).
func isAV1Key(tu []byte) bool {
	still, sequence := false, false
	for rest := tu; len(rest) > 0; {
		u, r, err := nextOBU(rest)
		if err != nil {
			return false
		}
		rest = r
		switch u.Type {
		case obuSequenceHeader:
			if len(u.Payload) == 0 {
				return false
			}
			sequence, still = true, u.Payload[0]>>3&1 == 1
		case obuFrame, obuFrameHeader:
			if !sequence || len(u.Payload) == 0 {
				return false
			}
			// show_existing_frame 0, frame_type 0 (key), show_frame 1
			return still || u.Payload[0]&0xf0 == 0x10
		}
	}
	return false
}
