package bitstream_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

const huge = 1<<32 - 2 // the largest Exp-Golomb code of 32 bits

// avcSPS makes a baseline SPS: reference frames, size in macroblocks minus 1, crop
// (nil for none), and what follows (VUI) in pairs of value and width.
func avcSPS(references, w, h uint64, crop []uint64, rest ...uint64) []byte {
	v := []uint64{0, 0, 0, 0, 2, 0, references, 0, 0, 1, w, 0, h, 0, 1, 1, 1, 1}
	if crop != nil {
		v = append(v, 1, 1)
		for _, c := range crop {
			v = append(v, c, 0)
		}
	} else {
		v = append(v, 0, 1)
	}
	if rest == nil {
		rest = []uint64{0, 1}
	}
	return append([]byte{0x67, 66, 0, 30}, escape(bits(append(v, rest...)...))...)
}

// timing is a VUI with nothing but the frame rate.
func timing(units, scale uint64, rest ...uint64) []uint64 {
	return append([]uint64{1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1, 1, units, 32, scale, 32, 1, 1}, rest...)
}

func hevcSPS(w, h uint64, crop []uint64, reorder uint64, rest ...uint64) []byte {
	v := []uint64{0, 4, 0, 3, 1, 1, 1, 8, 0x60000000, 32, 0x90000000, 32, 0, 16, 93, 8, 0, 0, 1, 0, w, 0, h, 0}
	if crop != nil {
		v = append(v, 1, 1)
		for _, c := range crop {
			v = append(v, c, 0)
		}
	} else {
		v = append(v, 0, 1)
	}
	v = append(v, 0, 0, 0, 0, 4, 0, 1, 1, 4, 0, reorder, 0, 0, 0)
	return append([]byte{0x42, 0x01}, escape(bits(append(v, rest...)...))...)
}

// tools are the fields of an HEVC SPS between the sizes and the reference pictures.
var tools = []uint64{0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1}

func av1Header(w, h uint64, time ...uint64) []byte {
	v := append([]uint64{0, 3, 0, 1, 0, 1}, time...)
	v = append(v, 0, 1, 0, 5, 0, 12, 5, 5, 15, 4, 15, 4, w-1, 16, h-1, 16, 0, 1, 0, 3, 0, 5, 1, 1, 1, 1, 0, 3, 0, 6, 0, 2)
	payload := bits(v...)
	return append([]byte{0x0a, byte(len(payload))}, payload...)
}

func escape(b []byte) []byte {
	var out []byte
	zeros := 0
	for _, x := range b {
		if zeros == 2 && x <= 3 {
			out, zeros = append(out, 3), 0
		}
		if x == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, x)
	}
	return out
}

func avcC(sps []byte) []byte { return bitstream.AVCC([][]byte{sps}, [][]byte{mediatest.H264PPS()}) }

// hvcC builds the record around any SPS, also one that HVCC refuses.
func hvcC(sps []byte) []byte {
	b := append([]byte{1}, make([]byte, 20)...)
	b = append(b, 3, 2)
	for i, n := range [][]byte{sps, mediatest.HEVCPPS()} {
		b = append(b, byte(33+i), 0, 1, byte(len(n)>>8), byte(len(n)))
		b = append(b, n...)
	}
	return b
}

func av1C(header []byte) []byte { return append([]byte{0x81, 5, 0x0c, 0}, header...) }

func TestF6ParameterSetBombs(t *testing.T) {
	long := append(mediatest.H264SPS(1280, 720, 30, 1), make([]byte, 60000)...)
	sets := append([]byte{1, 66, 0, 30, 0xff, 0xff}, bytes.Repeat(append([]byte{0, 30}, long[:30]...), 31)...)
	var hevcSets []byte
	for range 255 {
		hevcSets = append(hevcSets, 33, 0xff, 0xff)
	}
	for _, tt := range []struct {
		name   string
		codec  media.Codec
		config []byte
		kind   fault.Kind // empty: accepted
		rate   float64
	}{
		{"plain", media.H264, avcC(avcSPS(1, 79, 44, nil)), "", 0},
		{"16k x 16k", media.H264, avcC(avcSPS(1, 1023, 1023, nil)), fault.TooLarge, 0},
		{"8192 x 8192", media.H264, avcC(avcSPS(1, 511, 511, nil)), fault.TooLarge, 0},
		{"8192 x 4320", media.H264, avcC(avcSPS(1, 511, 269, nil)), "", 0},
		{"4320 x 8192, upright", media.H264, avcC(avcSPS(1, 269, 511, nil)), "", 0},
		{"2^36 wide", media.H264, avcC(avcSPS(1, huge, 0, nil)), fault.TooLarge, 0},
		{"crop 2^31", media.H264, avcC(avcSPS(1, 79, 44, []uint64{1 << 31, 1 << 31, 0, 0})), fault.Invalid, 0},
		{"crop that wraps 32 bits", media.H264, avcC(avcSPS(1, 79, 44, []uint64{huge, 2, 0, 0})), fault.Invalid, 0},
		{"crop hides 16k", media.H264, avcC(avcSPS(1, 1023, 1023, []uint64{0, 8000, 0, 8000})), fault.TooLarge, 0},
		{"crop of all", media.H264, avcC(avcSPS(1, 79, 44, []uint64{0, 640, 0, 0})), fault.Invalid, 0},
		{"17 references", media.H264, avcC(avcSPS(17, 79, 44, nil)), fault.Invalid, 0},
		{"2^32 references", media.H264, avcC(avcSPS(huge, 79, 44, nil)), fault.Invalid, 0},
		{"offsets for 2^32 frames", media.H264, avcC(append([]byte{0x67, 66, 0, 30}, escape(bits(0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, huge, 0))...)), fault.Invalid, 0},
		{"rate 30", media.H264, avcC(avcSPS(1, 79, 44, nil, timing(1, 60)...)), "", 30},
		{"time_scale 0", media.H264, avcC(avcSPS(1, 79, 44, nil, timing(1, 0)...)), "", 0},
		{"time_scale 1", media.H264, avcC(avcSPS(1, 79, 44, nil, timing(1001, 1)...)), "", 0},
		{"num_units 0", media.H264, avcC(avcSPS(1, 79, 44, nil, timing(0, 60)...)), "", 0},
		{"rate 2^31", media.H264, avcC(avcSPS(1, 79, 44, nil, timing(1, 1<<32-1)...)), "", 0},
		{"VUI with 2^32 CPBs", media.H264, avcC(avcSPS(1, 79, 44, nil, timing(1, 50, 1, 1, huge, 0)...)), "", 25},
		{"VUI cut short", media.H264, avcC(avcSPS(1, 79, 44, nil, 1, 1, 0, 1)), "", 0},
		{"Exp-Golomb without end", media.H264, avcC(append([]byte{0x67, 66, 0, 30}, make([]byte, 60000)...)), fault.Invalid, 0},
		{"60 KB behind the SPS", media.H264, avcC(long), "", 30},
		{"31 sets of which the last is cut", media.H264, sets[:len(sets)-5], fault.Invalid, 0},
		{"HEVC plain", media.HEVC, hvcC(hevcSPS(1280, 720, nil, 2)), "", 0},
		{"HEVC 16k x 16k", media.HEVC, hvcC(hevcSPS(16384, 16384, nil, 2)), fault.TooLarge, 0},
		{"HEVC 2^32", media.HEVC, hvcC(hevcSPS(huge, huge, nil, 2)), fault.TooLarge, 0},
		{"HEVC crop that wraps", media.HEVC, hvcC(hevcSPS(1280, 720, []uint64{1 << 31, 1 << 31, 0, 0}, 2)), fault.Invalid, 0},
		{"HEVC reorders 17", media.HEVC, hvcC(hevcSPS(1280, 720, nil, 17)), fault.Invalid, 0},
		{"HEVC reorders 2^32", media.HEVC, hvcC(hevcSPS(1280, 720, nil, huge)), fault.Invalid, 0},
		{"HEVC 2^32 reference sets", media.HEVC, hvcC(hevcSPS(1280, 720, nil, 2, append(tools, huge, 0)...)), "", 0},
		{"HEVC set of 2^32 pictures", media.HEVC, hvcC(hevcSPS(1280, 720, nil, 2, append(tools, 1, 0, huge, 0, huge, 0)...)), "", 0},
		{"HEVC 2^32 long-term pictures", media.HEVC, hvcC(hevcSPS(1280, 720, nil, 2, append(tools, 0, 0, 1, 1, huge, 0)...)), "", 0},
		{"HEVC 255 arrays of 65535", media.HEVC, append(append([]byte{1}, make([]byte, 21)...), append([]byte{255}, hevcSets...)...), fault.Invalid, 0},
		{"AV1 plain", media.AV1, av1C(av1Header(1280, 720, 0, 1)), "", 0},
		{"AV1 64k x 64k", media.AV1, av1C(av1Header(65536, 65536, 0, 1)), fault.TooLarge, 0},
		{"AV1 time_scale 0", media.AV1, av1C(av1Header(1280, 720, 1, 1, 1, 32, 0, 32, 1, 1, 0, 0, 0, 1)), "", 0},
		{"AV1 rate 25", media.AV1, av1C(av1Header(1280, 720, 1, 1, 1, 32, 25, 32, 1, 1, 0, 0, 0, 1)), "", 25},
		{"AV1 2^32 ticks a picture", media.AV1, av1C(av1Header(1280, 720, 1, 1, 1<<32-1, 32, 25, 32, 1, 1, huge, 0, 0, 1)), "", 0},
		{"AV1 OBU of 2^56", media.AV1, av1C([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}), fault.Invalid, 0},
		{"AAC with 2^24 Hz", media.AAC, []byte{0x17, 0xff, 0xff, 0xff, 0x90}, fault.Invalid, 0},
		{"Opus with 255 channels", media.Opus, append([]byte{0, 255, 0, 0, 0, 0, 0xbb, 0x80, 0, 0, 255, 255, 0}, make([]byte, 255)...), fault.Invalid, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.config == nil {
				t.Fatal("the bomb was not built")
			}
			var d *media.Track
			var err error
			took, alloc := measure(func() {
				d, err = bitstream.Describe(&media.Track{Codec: tt.codec, Config: tt.config})
			})
			switch {
			case tt.kind == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.kind != "" && !fault.Is(err, tt.kind):
				t.Errorf("%v, want %s", err, tt.kind)
			case err == nil && d.FrameRate != tt.rate:
				t.Errorf("frame rate %g, want %g", d.FrameRate, tt.rate)
			}
			if took > tooLong {
				t.Errorf("took %v", took)
			}
			if alloc > 256<<10 {
				t.Errorf("allocated %d KiB", alloc>>10)
			}
		})
	}
}

// tooLong is what only work that grows faster than its input needs, on a busy machine too.
const tooLong = 5 * time.Second

// measure runs f and tells how long it took and what it allocated in total.
func measure(f func()) (time.Duration, uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return took, after.TotalAlloc - before.TotalAlloc
}

func TestF6AccessUnitBombs(t *testing.T) {
	idr := []byte{0x65, 0x88, 0x80}
	sps := mediatest.H264SPS(640, 360, 30, 1)
	for _, tt := range []struct {
		name  string
		codec media.Codec
		in    []byte
		fails bool
	}{
		{"a million empty units", media.H264, make([]byte, 4<<20), true},
		{"a million delimiters", media.H264, bytes.Repeat([]byte{0, 0, 0, 1, 9}, 1<<20), true},
		{"length of 4 GiB", media.H264, []byte{0xff, 0xff, 0xff, 0xff, 0x65}, true},
		{"4096 slices", media.H264, bytes.Repeat(units(4, idr), 4096), false},
		{"4097 slices", media.H264, bytes.Repeat(units(4, idr), 4097), true},
		{"4000 equal sets", media.H264, bytes.Repeat(units(4, sps), 4000), false},
		{"start codes only", media.H264, bytes.Repeat([]byte{0, 0, 1}, 1<<20), true},
		{"start codes of one byte", media.H264, bytes.Repeat([]byte{0, 0, 1, 9}, 1<<20), true},
		{"a million delimiters", media.AV1, bytes.Repeat([]byte{0x12, 0}, 1<<20), true},
		{"size of 2^56", media.AV1, []byte{0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, true},
		{"size without end", media.AV1, append([]byte{0x32}, bytes.Repeat([]byte{0xff}, 100)...), true},
		{"forbidden bit", media.AV1, []byte{0xb2, 0}, true},
	} {
		t.Run(tt.codec.String()+" "+tt.name, func(t *testing.T) {
			tr := track(tt.codec)
			var err error
			took, alloc := measure(func() {
				_, _, err = bitstream.Normalize(tr, tt.in)
				bitstream.IsKey(tt.codec, tt.in)
			})
			if (err != nil) != tt.fails || err != nil && !fault.Is(err, fault.Invalid) {
				t.Errorf("%v", err)
			}
			if took > tooLong {
				t.Errorf("took %v", took)
			}
			if limit := uint64(3*len(tt.in) + 64<<10); alloc > limit {
				t.Errorf("allocated %d KiB for %d KiB", alloc>>10, len(tt.in)>>10)
			}
		})
	}
}
