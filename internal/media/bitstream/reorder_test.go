package bitstream_test

import (
	"strings"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

func TestReorder(t *testing.T) {
	want := map[string]struct {
		frames int
		known  bool
	}{
		"x264 main 1080p NTSC":          {2, true},
		"x264 baseline 240p":            {0, true},
		"x264 4:4:4":                    {2, true},
		"x264 4:2:2 10 bits anamorphic": {2, true},
		"x264 interlaced":               {2, true},
		"x265 main 10":                  {2, true},
		"x265 main":                     {2, true},
		"libaom 10 bits":                {0, true},
		"SVT-AV1 2160p":                 {0, true},
		"AV1 without a sequence header": {0, true},
		"VP9":                           {0, true},
		"VP9 with the box's version":    {0, true},
		"AAC-LC":                        {0, false},
		"Opus":                          {0, false},
	}
	for _, tt := range encoders {
		w, listed := want[tt.name]
		if !listed {
			continue
		}
		config := unhex(t, strings.ReplaceAll(tt.config, " ", ""))
		tr := &media.Track{Codec: tt.codec, Config: config}
		if frames, known := bitstream.Reorder(tr); frames != w.frames || known != w.known {
			t.Errorf("%s: %d, %v; want %d, %v", tt.name, frames, known, w.frames, w.known)
		}
		if tt.codec != media.H264 {
			continue
		}
		// The library reads the same of the parameter set.
		var sps h264.SPS
		if err := sps.Unmarshal(bitstream.ParameterSets(tr)[0]); err != nil {
			t.Fatal(err)
		}
		if r := sps.VUI.BitstreamRestriction; r != nil && int(r.MaxNumReorderFrames) != w.frames {
			t.Errorf("%s: the library says %d", tt.name, r.MaxNumReorderFrames)
		}
	}
	if frames, known := bitstream.Reorder(&media.Track{Codec: media.H264, Config: []byte{1, 2, 3}}); frames != 0 || known {
		t.Errorf("of a broken configuration: %d, %v", frames, known)
	}
}

// spsOf writes the head of a sequence parameter set of 320x240 with a VUI that has nothing
// but what is given.
func spsOf(profile, constraints, orderCount uint64, vui ...uint64) []byte {
	fields := []uint64{profile, 8, constraints, 8, 30, 8, 0, 0}
	if profile == 100 {
		fields = append(fields, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1)
	}
	fields = append(fields, 0, 0, orderCount, 0)
	if orderCount == 0 {
		fields = append(fields, 4, 0)
	}
	fields = append(fields, 1, 0, 0, 1, 19, 0, 14, 0, 1, 1, 1, 1, 0, 1)
	if vui == nil {
		fields = append(fields, 0, 1)
	} else {
		fields = append(append(fields, 1, 1), vui...)
	}
	return append([]byte{0x67}, bits(append(fields, 1, 1)...)...)
}

func TestReorderH264(t *testing.T) {
	none := []uint64{0, 1, 0, 1, 0, 1, 0, 1, 0, 1} // aspect to timing
	hrd := []uint64{1, 1, 1, 0, 0x12, 8, 5, 0, 6, 0, 1, 1, 7, 0, 8, 0, 0, 1, 0x12345, 20}
	restriction := func(frames uint64) []uint64 {
		return []uint64{1, 1, 1, 1, 2, 0, 1, 0, 9, 0, 9, 0, frames, 0, 16, 0}
	}
	join := func(parts ...[]uint64) (out []uint64) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	no := []uint64{0, 1}
	for _, tt := range []struct {
		name   string
		sps    []byte
		frames int
		known  bool
	}{
		{"no VUI", spsOf(100, 0, 0), 0, false},
		{"no VUI, Constrained Baseline", spsOf(66, 0x40, 0), 0, true},
		{"no VUI, order of decoding", spsOf(100, 0, 2), 0, true},
		{"no VUI, key pictures only", spsOf(100, 0x10, 0), 0, true},
		{"no restriction", spsOf(100, 0, 0, join(none, no, no, no, no)...), 0, false},
		{"none", spsOf(100, 0, 0, join(none, no, no, no, restriction(0))...), 0, true},
		{"three", spsOf(100, 0, 0, join(none, no, no, no, restriction(3))...), 3, true},
		{"behind one HRD", spsOf(100, 0, 0, join(none, no, hrd, []uint64{1, 1}, no, restriction(2))...), 2, true},
		{"behind two HRDs", spsOf(100, 0, 0, join(none, hrd, hrd, []uint64{1, 1}, no, restriction(1))...), 1, true},
		{"more than there can be", spsOf(100, 0, 0, join(none, no, no, no, restriction(17))...), 0, false},
		{"cut short", spsOf(100, 0, 0, join(none, no, no, no, restriction(3)[:8])...), 0, false},
	} {
		config := bitstream.AVCC([][]byte{tt.sps}, [][]byte{mediatest.H264PPS()})
		tr := &media.Track{Codec: media.H264, Config: config}
		if d := describe(t, media.H264, config); d.Width != 320 || d.Height != 240 {
			t.Errorf("%s: the test's parameter set is wrong: %dx%d", tt.name, d.Width, d.Height)
		}
		if frames, known := bitstream.Reorder(tr); frames != tt.frames || known != tt.known {
			t.Errorf("%s: %d, %v; want %d, %v", tt.name, frames, known, tt.frames, tt.known)
		}
	}
}
