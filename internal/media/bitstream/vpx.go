package bitstream

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/vp9"

	"onair/internal/media"
)

// vpxSize returns the size that a key frame of VP8 (RFC 6386, section 9.1) or VP9
// declares; ok is false for any other frame.
func vpxSize(c media.Codec, frame []byte) (w, h int, ok bool) {
	if c == media.VP8 {
		if len(frame) < 10 || frame[0]&1 != 0 || frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
			return 0, 0, false
		}
		return int(frame[6]) | int(frame[7]&0x3f)<<8, int(frame[8]) | int(frame[9]&0x3f)<<8, true
	}
	if len(frame) == 0 || frame[0]&0x04 != 0 && frame[0]&0x30 != 0x30 {
		return 0, 0, false // most frames: spare them the allocations
	}
	header, ok := vp9Key(frame)
	return header.Width(), header.Height(), ok
}

// vp9Key reads the header of a key frame. The library takes a frame that only shows an
// earlier one for a key frame; it is none.
func vp9Key(frame []byte) (vp9.Header, bool) {
	var h vp9.Header
	if h.Unmarshal(frame) != nil || h.ShowExistingFrame || h.NonKeyFrame || h.FrameSize == nil {
		return vp9.Header{}, false
	}
	return h, true
}

// VPCC builds the content of a vpcC box, from the profile on, from a VP9 key frame; nil
// if it is none ("VP Codec ISO Media File Format Binding", section 2.2).
func VPCC(keyFrame []byte) []byte {
	h, ok := vp9Key(keyFrame)
	if !ok {
		return nil
	}
	full := byte(0)
	if h.ColorConfig.ColorRange {
		full = 1
	}
	b := []byte{h.Profile, vp9Level(h.Width(), h.Height()), h.ColorConfig.BitDepth<<4 | h.ChromaSubsampling()<<1 | full}
	b = append(b, vp9Color(h.ColorConfig.ColorSpace)...)
	return append(b, 0, 0)
}

// vp9Color maps color_space to primaries, transfer and matrix of ISO/IEC 23091-2.
func vp9Color(space uint8) []byte {
	switch space {
	case 1: // BT.601
		return []byte{6, 6, 6}
	case 2: // BT.709
		return []byte{1, 1, 1}
	case 3: // SMPTE 170
		return []byte{6, 6, 6}
	case 4: // SMPTE 240
		return []byte{7, 7, 7}
	case 5: // BT.2020
		return []byte{9, 14, 9}
	case 7: // sRGB
		return []byte{1, 13, 0}
	default:
		return []byte{2, 2, 2}
	}
}

// vp9Level is the lowest level whose picture size fits. The frame rate is not in the
// bitstream; levels above take double the rate, so the upper one of each pair is named.
func vp9Level(w, h int) byte {
	levels := []struct {
		area  int
		level byte
	}{{36864, 10}, {73728, 11}, {122880, 20}, {245760, 21}, {552960, 30}, {983040, 31}, {2228224, 41}, {8912896, 51}}
	for _, l := range levels {
		if w*h <= l.area {
			return l.level
		}
	}
	return 61
}

// unwrapVPCC takes off the version and flags of the box, which some senders leave on. A
// record cannot begin like that: its third byte, the bit depth, is never 0.
func unwrapVPCC(config []byte) []byte {
	if len(config) >= 12 && config[0] == 1 && config[1] == 0 && config[2] == 0 && config[3] == 0 {
		return config[4:]
	}
	return config
}

func describeVP9(config []byte) (videoInfo, error) {
	if len(config) < 8 {
		return videoInfo{}, fmt.Errorf("VPCodecConfigurationRecord is cut short")
	}
	profile, level, depth := config[0], config[1], config[2]>>4
	if profile > 3 || depth != 8 && depth != 10 && depth != 12 {
		return videoInfo{}, fmt.Errorf("profile %d with %d bits is not known", profile, depth)
	}
	return videoInfo{codec: fmt.Sprintf("vp09.%02d.%02d.%02d", profile, level, depth)}, nil
}
