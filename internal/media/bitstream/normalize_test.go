package bitstream_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

var (
	idr   = []byte{0x65, 0x88, 0x84, 0x21}
	slice = []byte{0x41, 0x9a, 0x24, 0x6c}
	sei   = []byte{0x06, 0x05, 0x01, 0x00, 0x80}
	aud   = []byte{0x09, 0xf0}
	fill  = []byte{0x0c, 0xff, 0xff, 0x80}
	eos   = []byte{0x0a}
	sps   = mediatest.H264SPS(1280, 720, 30, 1)
	pps   = mediatest.H264PPS()
	other = mediatest.H264SPS(640, 360, 30, 1)
)

func TestNormalizeNALUs(t *testing.T) {
	h := track(media.H264)
	pps1 := []byte{0x68, 0x5b, 0x8f} // id 1: 010...
	for _, tt := range []struct {
		name   string
		in     []byte
		want   []byte
		params []byte
		shares bool // out is a part of in
	}{
		{"as it must be", units(4, sei, idr, slice), units(4, sei, idr, slice), nil, true},
		{"delimiter in front", units(4, aud, idr), units(4, idr), nil, true},
		{"equal sets in front", units(4, aud, sps, pps, sei, idr), units(4, sei, idr), nil, true},
		{"filler behind", units(4, idr, fill, eos), units(4, idr), nil, true},
		{"filler between", units(4, idr, fill, slice), units(4, idr, slice), nil, false},
		{"sets between", units(4, sei, sps, pps, idr), units(4, sei, idr), nil, false},
		{"empty units", units(4, nil, idr, nil), units(4, idr), nil, true},
		{"nothing remains", units(4, aud, sps, pps), nil, nil, true},
		{"nothing", nil, nil, nil, true},
		{"new SPS", units(4, other, pps, idr), units(4, idr), bitstream.AVCC([][]byte{other}, [][]byte{pps}), true},
		{"new SPS alone", units(4, other, idr), units(4, idr), bitstream.AVCC([][]byte{other}, [][]byte{pps}), true},
		{"one more PPS", units(4, pps1, idr), units(4, idr), bitstream.AVCC([][]byte{sps}, [][]byte{pps, pps1}), true},
		{"PPS in place", units(4, append(bytes.Clone(pps), 0x55), idr), units(4, idr), bitstream.AVCC([][]byte{sps}, [][]byte{append(bytes.Clone(pps), 0x55)}), true},
		{"annex B", []byte("\x00\x00\x00\x01\x09\xf0\x00\x00\x01\x65\x88\x84\x21\x00\x00\x01\x41\x9a\x24\x6c\x00"), units(4, idr, slice), nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := bytes.Clone(tt.in)
			out, params, err := bitstream.Normalize(h, tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out, tt.want) {
				t.Errorf("got  %x\nwant %x", out, tt.want)
			}
			if !bytes.Equal(params, tt.params) {
				t.Errorf("params %x\nwant   %x", params, tt.params)
			}
			if !bytes.Equal(before, tt.in) {
				t.Error("Normalize wrote into the access unit")
			}
			if shares := testing.AllocsPerRun(1, func() { _, _, _ = bitstream.Normalize(h, tt.in) }) == 0; params == nil && shares != tt.shares {
				t.Errorf("without a copy: %v, want %v", shares, tt.shares)
			}
		})
	}
}

// The hot path: nothing changes, nothing is allocated, the same slice comes back.
func TestNormalizeDoesNotAllocate(t *testing.T) {
	for _, c := range []media.Codec{media.H264, media.HEVC, media.AV1, media.VP9, media.AAC, media.Opus} {
		o := mediatest.Options{Video: c, NoAudio: true}
		if c.Kind() == media.Audio {
			o = mediatest.Options{Audio: c, NoVideo: true}
		}
		g := mediatest.NewGenerator(o)
		for range 2 { // a key and another
			p := g.Next()
			n := testing.AllocsPerRun(100, func() {
				out, _, err := bitstream.Normalize(p.Track, p.Data)
				if err != nil || &out[0] != &p.Data[0] || len(out) != len(p.Data) {
					t.Errorf("%v: another slice comes back, %v", c, err)
				}
			})
			if n > 0 {
				t.Errorf("%v, key %v: %v allocations", c, p.Key, n)
			}
			// The parameters of a VP9 key frame are read by the library, which allocates.
			if n := testing.AllocsPerRun(100, func() { bitstream.IsKey(c, p.Data) }); n > 0 && (c != media.VP9 || !p.Key) {
				t.Errorf("IsKey of %v, key %v: %v allocations", c, p.Key, n)
			}
		}
	}
}

func TestNormalizeLengthSizes(t *testing.T) {
	for _, codec := range []media.Codec{media.H264, media.HEVC} {
		nals := [][]byte{idr, slice}
		pos := 4
		if codec == media.HEVC {
			nals, pos = [][]byte{{0x26, 0x01, 0xaf}, {0x02, 0x01, 0xd0}}, 21
		}
		for size := 1; size <= 4; size++ {
			tr := *track(codec)
			tr.Config = bytes.Clone(tr.Config)
			tr.Config[pos] = tr.Config[pos]&^3 | byte(size-1)
			out, params, err := bitstream.Normalize(&tr, units(size, nals...))
			if err != nil || params != nil || !bytes.Equal(out, units(4, nals...)) {
				t.Errorf("%v with lengths of %d: %x, %x, %v", codec, size, out, params, err)
			}
			if c := bitstream.CanonicalConfig(&tr); c[pos]&3 != 3 {
				t.Errorf("the canonical config says %d", c[pos]&3)
			}
		}
	}
}

func TestNormalizeHEVC(t *testing.T) {
	tr := track(media.HEVC)
	vps, pps := mediatest.HEVCVPS(), mediatest.HEVCPPS()
	old, small := mediatest.HEVCSPS(1280, 720, 30, 1), mediatest.HEVCSPS(640, 360, 30, 1)
	idr := []byte{0x26, 0x01, 0xaf, 0x11}
	out, params, err := bitstream.Normalize(tr, units(4, []byte{0x46, 0x01, 0x50}, vps, old, pps, idr))
	if err != nil || params != nil || !bytes.Equal(out, units(4, idr)) {
		t.Errorf("equal sets: %x, %x, %v", out, params, err)
	}
	out, params, err = bitstream.Normalize(tr, units(4, vps, small, pps, idr))
	if err != nil || !bytes.Equal(out, units(4, idr)) {
		t.Errorf("new sets: %x, %v", out, err)
	}
	if d := describe(t, media.HEVC, params); d.Width != 640 {
		t.Errorf("new sets say %dx%d", d.Width, d.Height)
	}
	if !bytes.Equal(params, bitstream.HVCC([][]byte{vps}, [][]byte{small}, [][]byte{pps})) {
		t.Errorf("params %x", params)
	}
}

func TestNormalizeOBUs(t *testing.T) {
	tr := track(media.AV1)
	header := mediatest.AV1SequenceHeader(1280, 720, 30, 1)
	changed := mediatest.AV1SequenceHeader(640, 360, 30, 1)
	frame := []byte{0x32, 3, 0x10, 1, 2}
	for _, tt := range []struct {
		name     string
		in, want []byte
		params   []byte
	}{
		{"as it must be", join(header, frame), join(header, frame), nil},
		{"delimiter", join([]byte{0x12, 0}, header, frame), join(header, frame), nil},
		{"padding between", join(header, []byte{0x7a, 1, 0}, frame), join(header, frame), nil},
		{"last without size", join(header, []byte{0x30, 0x10, 1, 2}), join(header, frame), nil},
		{"extension without size", []byte{0x34, 0x08, 0x10}, []byte{0x36, 0x08, 1, 0x10}, nil},
		{"other header", join(changed, frame), join(changed, frame), bitstream.AV1C(changed)},
		{"nothing remains", []byte{0x12, 0}, nil, nil},
	} {
		out, params, err := bitstream.Normalize(tr, tt.in)
		if err != nil || !bytes.Equal(out, tt.want) || !bytes.Equal(params, tt.params) {
			t.Errorf("%s: %x, %x, %v, want %x, %x", tt.name, out, params, err, tt.want, tt.params)
		}
	}
	bare := *tr
	bare.Config = tr.Config[:4]
	if _, params, _ := bitstream.Normalize(&bare, join(header, frame)); !bytes.Equal(params, tr.Config) {
		t.Errorf("a config without header becomes %x", params)
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestNormalizeRefuses(t *testing.T) {
	for _, in := range [][]byte{{0}, {0, 0, 0}, {0, 0, 0, 5, 0x65}, append(units(4, idr), 0, 0), append(units(4, idr), 0xff, 0, 0, 0, 1)} {
		out, params, err := bitstream.Normalize(track(media.H264), in)
		if !fault.Is(err, fault.Invalid) || out != nil || params != nil {
			t.Errorf("%x: %x, %x, %v", in, out, params, err)
		}
	}
}

// Whatever comes in: what comes out is whole units, none of them of a kind that has no
// place in a sample, and normal already.
func TestNormalizeIsIdempotent(t *testing.T) {
	tr := track(media.H264)
	rapid.Check(t, func(t *rapid.T) {
		nals := rapid.SliceOfN(rapid.SampledFrom([][]byte{idr, slice, sei, aud, fill, eos, sps, pps, other, nil}), 0, 8).Draw(t, "units")
		out, _, err := bitstream.Normalize(tr, units(4, nals...))
		if err != nil {
			t.Fatal(err)
		}
		var want [][]byte
		for _, n := range nals {
			if len(n) > 0 && (n[0] == idr[0] || n[0] == slice[0] || n[0] == sei[0]) {
				want = append(want, n)
			}
		}
		if !bytes.Equal(out, units(4, want...)) {
			t.Fatalf("got %x, want %x", out, units(4, want...))
		}
		again, params, err := bitstream.Normalize(tr, out)
		if err != nil || params != nil || !bytes.Equal(again, out) {
			t.Fatalf("again: %x, %x, %v", again, params, err)
		}
	})
}

func TestIsKey(t *testing.T) {
	header := mediatest.AV1SequenceHeader(1280, 720, 30, 1)
	for _, tt := range []struct {
		name string
		c    media.Codec
		in   []byte
		want bool
	}{
		{"IDR", media.H264, units(4, sei, idr), true},
		{"not IDR", media.H264, units(4, sei, slice), false},
		{"recovery point", media.H264, units(4, []byte{0x06, 0x06, 0x01, 0xc4, 0x80}, slice), false},
		{"cut", media.H264, units(4, idr)[:6], false},
		{"HEVC IDR", media.HEVC, units(4, []byte{0x26, 1, 0}), true},
		{"HEVC CRA", media.HEVC, units(4, []byte{0x2a, 1, 0}), true},
		{"HEVC BLA", media.HEVC, units(4, []byte{0x20, 1, 0}), true},
		{"HEVC 22", media.HEVC, units(4, []byte{0x2c, 1, 0}), false},
		{"HEVC trail", media.HEVC, units(4, []byte{0x02, 1, 0}), false},
		{"AV1 key", media.AV1, join(header, []byte{0x32, 1, 0x10}), true},
		{"AV1 key not shown", media.AV1, join(header, []byte{0x32, 1, 0x00}), false},
		{"AV1 shows an earlier one", media.AV1, join(header, []byte{0x1a, 1, 0x90}), false},
		{"AV1 inter", media.AV1, join(header, []byte{0x32, 1, 0x30}), false},
		{"AV1 without header", media.AV1, []byte{0x32, 1, 0x10}, false},
		{"VP9 key", media.VP9, unhex(t, "82498342004ff02cf0"), true},
		{"VP9 inter", media.VP9, []byte{0x86, 0, 0}, false},
		{"VP9 shows an earlier one", media.VP9, []byte{0x88, 0, 0}, false},
		{"VP8 key", media.VP8, unhex(t, "5001009d012a80073804"), true},
		{"VP8 inter", media.VP8, unhex(t, "5101009d012a80073804"), false},
		{"AAC", media.AAC, []byte{1}, true},
		{"unknown", media.UnknownCodec, []byte{1}, false},
	} {
		if got := bitstream.IsKey(tt.c, tt.in); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestAnnexB(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nal := rapid.Map(rapid.SliceOfN(rapid.ByteRange(1, 255), 1, 10), func(b []byte) []byte { return b })
		nals := rapid.SliceOfN(nal, 0, 6).Draw(t, "units")
		stream := rapid.SampledFrom([][]byte{nil, {0}, {0, 0}}).Draw(t, "leading")
		for _, n := range nals {
			stream = append(append(stream[:len(stream):len(stream)], rapid.SampledFrom([][]byte{{0, 0, 1}, {0, 0, 0, 1}, {0, 0, 0, 0, 0, 1}}).Draw(t, "start")...), n...)
		}
		if got := bitstream.FromAnnexB(stream); !bytes.Equal(got, units(4, nals...)) {
			t.Fatalf("%x: got %x, want %x", stream, got, units(4, nals...))
		}
	})
}

func TestWalks(t *testing.T) {
	n := 0
	for nal, err := range bitstream.NALUs(units(4, idr, nil, slice)) {
		if err != nil || len(nal) > 4 {
			t.Fatal(nal, err)
		}
		if n++; n == 2 {
			break // must be possible
		}
	}
	var last error
	for _, err := range bitstream.NALUs(append(units(4, idr), 0, 0, 0)) {
		last = err
	}
	if last == nil {
		t.Error("a cut length is no error")
	}
	for _, err := range bitstream.NALUs(binary.BigEndian.AppendUint32(nil, 1)) {
		last = err
	}
	if last == nil {
		t.Error("a missing unit is no error")
	}
	var types []uint8
	for u, err := range bitstream.OBUs(join([]byte{0x12, 0}, mediatest.AV1SequenceHeader(1280, 720, 30, 1), []byte{0x30, 0x10})) {
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, u.Type)
	}
	if !bytes.Equal(types, []byte{2, 1, 6}) {
		t.Errorf("OBU types %v", types)
	}
}

func BenchmarkNormalize(b *testing.B) {
	g := mediatest.NewGenerator(mediatest.Options{NoAudio: true, FrameSize: 20000})
	p := g.Next()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := bitstream.Normalize(p.Track, p.Data); err != nil {
			b.Fatal(err)
		}
	}
}
