package bitstream_test

import (
	"math"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

// libraryRate asks the library for the frame rate of a configuration; false if it cannot
// read the sequence parameter set.
func libraryRate(c media.Codec, config []byte) (rate float64, ok bool) {
	see := func(kind byte, set []byte) bool {
		switch {
		case c == media.H264 && kind == 7:
			var s h264.SPS
			if ok = s.Unmarshal(set) == nil; ok && s.VUI != nil && s.VUI.TimingInfo != nil {
				rate = s.FPS()
			}
		case c == media.HEVC && kind == 33:
			var s h265.SPS
			if ok = s.Unmarshal(set) == nil; ok {
				rate = s.FPS()
			}
		default:
			return true
		}
		return false
	}
	if c == media.H264 {
		bitstream.AVCSets(config, see)
	} else {
		bitstream.HVCSets(config, see)
	}
	return rate, ok
}

func sameRate(t *testing.T, d *media.Track) {
	t.Helper()
	rate, ok := libraryRate(d.Codec, d.Config)
	if ok && math.Abs(rate-d.FrameRate) > 1e-9 && rate >= 1 && rate <= 300 {
		t.Errorf("frame rate %g, the library says %g", d.FrameRate, rate)
	}
}

// These parameter sets are legal, encoders send them, and the library's readers refuse
// them: the reason for having our own. When this test fails the library has learned it.
func TestReadsWhatTheLibraryRefuses(t *testing.T) {
	timing := []uint64{1, 1, 0, 8, 1, 1, 1, 32, 50, 32, 0, 3, 0, 1} // VUI with 50 frames a second
	// Two sub-layers, the lower with its own profile and level.
	layers := append([]byte{0x42, 0x01}, escape(bits(append([]uint64{
		0, 4, 1, 3, 1, 1, 1, 8, 0x60000000, 32, 0x90000000, 32, 0, 16, 93, 8,
		3, 2, 0, 14, 0, 32, 0, 32, 0, 24, 90, 8,
		0, 0, 1, 0, 1280, 0, 720, 0, 0, 1, 0, 0, 0, 0, 4, 0, 1, 1, 4, 0, 2, 0, 0, 0, 4, 0, 2, 0, 0, 0,
		0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1,
		0, 0, 0, 1, 0, 2}, timing...)...))...)
	// Two long-term pictures, and a set of short-term ones that is predicted from another.
	longTerm := hevcSPS(1280, 720, nil, 2, append(append(append([]uint64{}, tools...),
		2, 0, 2, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, // first set: two pictures
		1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 2, // second: predicted
		1, 1, 2, 0, 5, 8, 1, 1, 6, 8, 0, 1, // long-term
		0, 2), timing...)...)
	for name, sps := range map[string][]byte{"sub-layers": layers, "long-term pictures": longTerm} {
		if new(h265.SPS).Unmarshal(sps) == nil {
			t.Errorf("HEVC, %s: the library can read it", name)
		}
		d := describe(t, media.HEVC, bitstream.HVCC([][]byte{mediatest.HEVCVPS()}, [][]byte{sps}, [][]byte{mediatest.HEVCPPS()}))
		if d.Width != 1280 || d.Height != 720 || d.FrameRate != 50 {
			t.Errorf("HEVC, %s: %dx%d at %g", name, d.Width, d.Height, d.FrameRate)
		}
	}
	model := []uint64{1, 1, 1, 32, 25, 32, 1, 1, 0, 0, // timing
		1, 1, 9, 5, 1, 32, 9, 5, 9, 5, // decoder model, 10 bits of delay
		1, 1, 0, 5, 0, 12, 5, 5, 1, 1, 3, 10, 4, 10, 0, 1, 1, 1, 7, 4} // display delay, operating point
	v := append([]uint64{0, 3, 0, 1, 0, 1}, model...)
	v = append(v, 15, 4, 15, 4, 1279, 16, 719, 16, 0, 1, 0, 3, 0, 5, 1, 1, 1, 1, 0, 3, 0, 6, 0, 2)
	payload := bits(v...)
	header := append([]byte{0x0a, byte(len(payload))}, payload...)
	if new(av1.SequenceHeader).Unmarshal(header) == nil {
		t.Error("AV1: the library can read a decoder model")
	}
	d := describe(t, media.AV1, bitstream.AV1C(header))
	if d.Width != 1280 || d.Height != 720 || d.FrameRate != 25 || d.CodecString != "av01.0.05M.08" {
		t.Errorf("AV1: %s %dx%d at %g", d.CodecString, d.Width, d.Height, d.FrameRate)
	}
}
