package bitstream_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

func TestParameterSetsOfConfig(t *testing.T) {
	vps, sps, pps := mediatest.HEVCVPS(), mediatest.HEVCSPS(320, 180, 30, 1), mediatest.HEVCPPS()
	avcSPS, avcPPS := mediatest.H264SPS(320, 180, 30, 1), mediatest.H264PPS()
	config := bitstream.HVCC([][]byte{vps}, [][]byte{sps}, [][]byte{pps})
	// x265 puts an SEI with its settings in an array of its own.
	sei := []byte{39 << 1, 1, 5, 0x80}
	withSEI := append(append([]byte(nil), config...), 0x80|39, 0, 1, 0, byte(len(sei)))
	withSEI = append(withSEI, sei...)
	withSEI[22]++
	for name, tt := range map[string]struct {
		track media.Track
		want  [][]byte
	}{
		"H.264":                 {media.Track{Codec: media.H264, Config: bitstream.AVCC([][]byte{avcSPS}, [][]byte{avcPPS})}, [][]byte{avcSPS, avcPPS}},
		"HEVC":                  {media.Track{Codec: media.HEVC, Config: config}, [][]byte{vps, sps, pps}},
		"HEVC with an SEI":      {media.Track{Codec: media.HEVC, Config: withSEI}, [][]byte{vps, sps, pps}},
		"a box that is cut off": {media.Track{Codec: media.HEVC, Config: config[:len(config)-1]}, nil},
		"no configuration":      {media.Track{Codec: media.H264}, nil},
		"sound":                 {media.Track{Codec: media.AAC, Config: mediatest.AACConfig(48000, 2)}, nil},
	} {
		if diff := cmp.Diff(tt.want, bitstream.ParameterSets(&tt.track)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
