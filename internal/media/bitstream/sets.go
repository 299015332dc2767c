package bitstream

import (
	"slices"

	"onair/internal/media"
)

// ParameterSets returns the parameter sets in the configuration of a track, in the order in
// which a decoder needs them: SPS and PPS of H.264 (ISO/IEC 14496-15, section 5.3.3), VPS,
// SPS and PPS of HEVC (section 8.3.3). Other NAL units that an encoder put there, such as
// an SEI with its own settings, are left out. They are parts of Config; do not write to
// them. It is nil for other codecs, and for what is malformed.
func ParameterSets(t *media.Track) [][]byte {
	var out [][]byte
	kinds, walk := []byte{h264SPS, h264PPS}, avcSets
	switch t.Codec {
	case media.H264:
	case media.HEVC:
		kinds, walk = []byte{hevcVPS, hevcSPS, hevcPPS}, hvcSets
	default:
		return nil
	}
	for _, want := range kinds {
		ok := walk(t.Config, func(kind byte, set []byte) bool {
			if kind == want {
				out = append(out, slices.Clip(set))
			}
			return true
		})
		if !ok {
			return nil
		}
	}
	return out
}
