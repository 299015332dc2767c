package bitstream

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"onair/internal/fault"
	"onair/internal/media"
)

// maxNALUs bounds the NAL units or OBUs of one access unit. Level 6.2 allows 600 slices.
const maxNALUs = 4096

var errTooManyUnits = fmt.Errorf("more than %d units in an access unit", maxNALUs)

// Normalize brings a payload as an encoder sent it into the shape that media.Codec
// documents. t.Config tells what it looks like.
//
// For H.264 and HEVC it checks the lengths of the NAL units, makes them 4 bytes where
// the configuration says 1, 2 or 3, and leaves out access unit delimiters, filler, end
// marks, empty units, and in-band parameter sets. An access unit that is an annex B
// byte stream after all is accepted. For AV1 it gives every OBU its size field and leaves
// out temporal delimiters, tile lists and padding. Other payloads stay as they are.
//
// out shares memory with accessUnit wherever that is possible: nothing is copied and
// nothing allocated when nothing must change. It is empty when nothing remains; then
// there is no packet.
//
// params is nil, or the new Config that in-band parameter sets ask for from this access
// unit on: the caller makes a new version of the track with it. It is not yet checked:
// Describe does that.
//
// The error is a fault.Invalid; the payload cannot be used then.
func Normalize(t *media.Track, accessUnit []byte) (out []byte, params []byte, err error) {
	switch t.Codec {
	case media.H264, media.HEVC:
		out, params, err = normalizeNALUs(t, accessUnit)
	case media.AV1:
		out, params, err = normalizeOBUs(t, accessUnit)
	default:
		return accessUnit, nil, nil
	}
	if err != nil {
		return nil, nil, fault.Wrap(fault.Invalid, "read a frame of", t.Codec.String(), err, "")
	}
	return out, params, nil
}

// lengthSize is the size of the NAL unit lengths that the configuration announces.
func lengthSize(t *media.Track) int {
	switch {
	case t.Codec == media.H264 && len(t.Config) > 4:
		return int(t.Config[4]&3) + 1
	case t.Codec == media.HEVC && len(t.Config) > 21:
		return int(t.Config[21]&3) + 1
	}
	return 4
}

// fate is what becomes of a NAL unit.
type fate uint8

const (
	keep fate = iota
	drop
	parameter
)

func fateOf(c media.Codec, nal []byte) (fate, byte) {
	if len(nal) == 0 {
		return drop, 0
	}
	if c == media.H264 {
		switch kind := nal[0] & 0x1f; kind {
		case h264SPS, h264PPS:
			return parameter, kind
		case h264AUD, h264EndOfSeq, h264EndOfStrm, h264Filler:
			return drop, kind
		default:
			return keep, kind
		}
	}
	switch kind := nal[0] >> 1 & 0x3f; kind {
	case hevcVPS, hevcSPS, hevcPPS:
		if len(nal) < 3 {
			return drop, kind
		}
		return parameter, kind
	case hevcAUD, hevcEndOfSeq, hevcEndOfStrm, hevcFiller:
		return drop, kind
	default:
		return keep, kind
	}
}

// nextNAL cuts the first NAL unit from b.
func nextNAL(b []byte, size int) (nal, rest []byte, err error) {
	if len(b) < size {
		return nil, nil, errShortLength
	}
	var n uint64
	for _, x := range b[:size] {
		n = n<<8 | uint64(x)
	}
	if n > uint64(len(b)-size) {
		return nil, nil, errLongNAL
	}
	return b[size : size+int(n)], b[size+int(n):], nil
}

func normalizeNALUs(t *media.Track, au []byte) (out, params []byte, err error) {
	size := lengthSize(t)
	out, changed, err := filterNALUs(t, au, size)
	if err != nil && (bytes.HasPrefix(au, []byte{0, 0, 0, 1}) || bytes.HasPrefix(au, []byte{0, 0, 1})) {
		// Some encoders send a byte stream where lengths belong. A start code read as a
		// length leads astray within the access unit, so it comes here.
		if tooManyStartCodes(au) {
			return nil, nil, errTooManyUnits
		}
		if b := FromAnnexB(au); b != nil {
			au, size = b, 4
			out, changed, err = filterNALUs(t, au, size)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if changed {
		params = mergeSets(t, au, size)
	}
	return out, params, nil
}

// tooManyStartCodes does not look at more of b than it must.
func tooManyStartCodes(b []byte) bool {
	for range maxNALUs {
		at := nextStartCode(b, 0)
		if at == len(b) {
			return false
		}
		b = b[at+3:]
	}
	return nextStartCode(b, 0) < len(b)
}

// filterNALUs keeps what belongs into a sample. As long as what it keeps is contiguous in
// au and the lengths have 4 bytes, the result is a part of au. changed tells that there
// is a parameter set that the configuration does not have.
func filterNALUs(t *media.Track, au []byte, size int) (out []byte, changed bool, err error) {
	from, to := -1, -1 // the part of au that is kept, while nothing was copied
	var copied []byte
	count := 0
	for rest := au; len(rest) > 0; {
		if count++; count > maxNALUs {
			return nil, false, errTooManyUnits
		}
		start := len(au) - len(rest)
		var nal []byte
		if nal, rest, err = nextNAL(rest, size); err != nil {
			return nil, false, err
		}
		what, kind := fateOf(t.Codec, nal)
		if what == parameter && !changed {
			changed = !hasSet(t, kind, nal)
		}
		if what != keep {
			continue
		}
		end := len(au) - len(rest)
		switch {
		case copied == nil && size == 4 && (from < 0 || to == start):
			if from < 0 {
				from = start
			}
			to = end
			continue
		case copied == nil:
			copied = make([]byte, 0, len(au)+(4-size)*16)
			if from >= 0 {
				copied = append(copied, au[from:to]...)
			}
		}
		copied = binary.BigEndian.AppendUint32(copied, uint32(len(nal)))
		copied = append(copied, nal...)
	}
	switch {
	case copied != nil:
		return copied, changed, nil
	case from < 0:
		return nil, changed, nil
	default:
		return au[from:to], changed, nil
	}
}

func sets(t *media.Track, f func(kind byte, set []byte) bool) {
	if t.Codec == media.H264 {
		avcSets(t.Config, f)
	} else {
		hvcSets(t.Config, f)
	}
}

func hasSet(t *media.Track, kind byte, nal []byte) bool {
	found := false
	sets(t, func(k byte, set []byte) bool {
		found = k == kind && bytes.Equal(set, nal)
		return !found
	})
	return found
}

// IsKey reports whether decoding can start at the payload, which has the shape that
// media.Codec documents: an IDR picture of H.264, a random access picture of HEVC (BLA,
// IDR or CRA), a shown key frame of AV1 with its sequence header, a key frame of VP8 or
// VP9. Sound is always a key. A payload that is not well formed is not.
func IsKey(c media.Codec, accessUnit []byte) bool {
	switch c {
	case media.H264, media.HEVC:
		count := 0
		for rest := accessUnit; len(rest) > 0; count++ {
			nal, r, err := nextNAL(rest, 4)
			if err != nil || count >= maxNALUs {
				return false
			}
			rest = r
			_, kind := fateOf(c, nal)
			if c == media.H264 && kind == h264IDR {
				return true
			}
			if c == media.HEVC && kind >= hevcFirstKey && kind <= hevcLastKey {
				return true
			}
		}
		return false
	case media.AV1:
		return isAV1Key(accessUnit)
	case media.VP8, media.VP9:
		_, _, ok := vpxSize(c, accessUnit)
		return ok
	default:
		return c.Kind() == media.Audio
	}
}
