package bitstream_test

import (
	"bytes"
	"strings"
	"testing"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

// fuzzDescribe checks what Describe promises of anything it accepts.
func fuzzDescribe(f *testing.F, codec media.Codec) {
	for _, tt := range encoders {
		if tt.codec == codec {
			f.Add(unhex(f, strings.ReplaceAll(tt.config, " ", "")))
		}
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		in := &media.Track{Codec: codec, Timescale: 90000, Config: config}
		before := bytes.Clone(config)
		d, err := bitstream.Describe(in)
		bitstream.CanonicalConfig(in)
		bitstream.SampleAspect(in)
		if n, known := bitstream.Reorder(in); n < 0 || n > 16 || n > 0 && !known {
			t.Fatalf("%d pictures out of order, %v", n, known)
		}
		if n := bitstream.SamplesPerPacket(in); n < 0 {
			t.Fatalf("%d samples a packet", n)
		}
		if !bytes.Equal(before, config) {
			t.Fatal("the config was written to")
		}
		if err != nil {
			return
		}
		if d.Width > bitstream.MaxWidth || d.Height > bitstream.MaxWidth || d.Width*d.Height > bitstream.MaxWidth*bitstream.MaxHeight {
			t.Fatalf("%dx%d", d.Width, d.Height)
		}
		if d.FrameRate != 0 && (d.FrameRate < 1 || d.FrameRate > 300) {
			t.Fatalf("frame rate %g", d.FrameRate)
		}
		if d.SampleRate < 0 || d.Channels < 0 || d.CodecString == "" {
			t.Fatalf("%+v", d)
		}
		if again, err := bitstream.Describe(d); err != nil || again.CodecString != d.CodecString || again.Width != d.Width {
			t.Fatalf("described again: %+v, %v", again, err)
		}
	})
}

func FuzzDescribeH264(f *testing.F) { fuzzDescribe(f, media.H264) }
func FuzzDescribeHEVC(f *testing.F) { fuzzDescribe(f, media.HEVC) }
func FuzzDescribeAV1(f *testing.F)  { fuzzDescribe(f, media.AV1) }
func FuzzDescribeVP9(f *testing.F)  { fuzzDescribe(f, media.VP9) }
func FuzzDescribeAAC(f *testing.F)  { fuzzDescribe(f, media.AAC) }
func FuzzDescribeOpus(f *testing.F) { fuzzDescribe(f, media.Opus) }
func FuzzDescribeAC3(f *testing.F)  { fuzzDescribe(f, media.AC3) }
func FuzzDescribeEAC3(f *testing.F) { fuzzDescribe(f, media.EAC3) }
func FuzzDescribeFLAC(f *testing.F) { fuzzDescribe(f, media.FLAC) }

func FuzzProbe(f *testing.F) {
	for _, tt := range []struct {
		c      media.Codec
		packet string
	}{
		{media.AC3, "0b77b50b1e40ebf8403eff99ff0841fc"}, {media.EAC3, "0b77017f3487c0002084210838008c06"},
		{media.MP3, "fffb50c400000a2c"}, {media.VP9, "82498342004ff02cf0"}, {media.VP8, "5001009d012a80073804"},
	} {
		f.Add(byte(tt.c), unhex(f, tt.packet))
	}
	f.Fuzz(func(t *testing.T, c byte, packet []byte) {
		in := &media.Track{Codec: media.Codec(c), Timescale: 48000}
		bitstream.IsKey(in.Codec, packet)
		bitstream.VPCC(packet)
		d, err := bitstream.Probe(in, packet)
		if err != nil {
			return
		}
		if n := bitstream.Duration(d, packet); n < 0 {
			t.Fatalf("duration %d", n)
		}
	})
}

func FuzzOpusHead(f *testing.F) {
	f.Add(unhex(f, "4f707573486561640102380180bb0000000000"))
	f.Fuzz(func(t *testing.T, head []byte) {
		if b, err := bitstream.OpusConfigFromHead(head); err == nil {
			describe(t, media.Opus, b)
		}
	})
}

func FuzzNormalize(f *testing.F) {
	f.Add(byte(0), units(4, aud, sps, pps, sei, idr))
	f.Add(byte(0), units(4, idr, fill, other, slice))
	f.Add(byte(0), []byte("\x00\x00\x00\x01\x67\x42\x00\x0a\x00\x00\x01\x65\x88"))
	f.Add(byte(1), units(2, sps, idr))
	f.Add(byte(2), units(4, mediatest.HEVCVPS(), mediatest.HEVCSPS(640, 360, 30, 1), mediatest.HEVCPPS(), []byte{0x26, 1, 0xaf}))
	f.Add(byte(3), join([]byte{0x12, 0}, mediatest.AV1SequenceHeader(640, 360, 30, 1), []byte{0x30, 0x10, 1}))
	short := *track(media.H264)
	short.Config = bytes.Clone(short.Config)
	short.Config[4] = 0xfd
	tracks := []*media.Track{track(media.H264), &short, track(media.HEVC), track(media.AV1)}
	f.Fuzz(func(t *testing.T, which byte, au []byte) {
		tr := tracks[int(which)%len(tracks)]
		before := bytes.Clone(au)
		out, params, err := bitstream.Normalize(tr, au)
		if !bytes.Equal(before, au) {
			t.Fatal("the access unit was written to")
		}
		if err != nil {
			return
		}
		if params != nil {
			_, _ = bitstream.Describe(&media.Track{Codec: tr.Codec, Config: params})
		}
		if len(out) > 4*len(au)+16 {
			t.Fatalf("%d bytes become %d", len(au), len(out))
		}
		bitstream.IsKey(tr.Codec, out)
		normal := *tr
		normal.Config = bitstream.CanonicalConfig(tr)
		again, _, err := bitstream.Normalize(&normal, out)
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("not normal: %x becomes %x, %v", out, again, err)
		}
		if tr.Codec == media.AV1 {
			for _, err := range bitstream.OBUs(out) {
				if err != nil {
					t.Fatal(err)
				}
			}
			return
		}
		for nal, err := range bitstream.NALUs(out) {
			if err != nil || len(nal) == 0 {
				t.Fatalf("unit %x, %v", nal, err)
			}
		}
	})
}

func FuzzNALUs(f *testing.F) {
	f.Add(units(4, idr, slice))
	f.Fuzz(func(t *testing.T, b []byte) {
		var nals [][]byte
		for nal, err := range bitstream.NALUs(b) {
			if err != nil {
				return
			}
			nals = append(nals, nal)
		}
		if !bytes.Equal(units(4, nals...), b) {
			t.Fatal("the units are not what was given")
		}
	})
}

func FuzzOBUs(f *testing.F) {
	f.Add(join([]byte{0x12, 0}, mediatest.AV1SequenceHeader(640, 360, 30, 1), []byte{0x30, 0x10, 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var all []byte
		for u, err := range bitstream.OBUs(b) {
			if err != nil {
				return
			}
			bitstream.AV1C(u.Raw)
			all = append(all, u.Raw...)
		}
		if !bytes.Equal(all, b) {
			t.Fatal("the OBUs are not what was given")
		}
	})
}

func FuzzAnnexB(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x67\x42\x00\x0a\x00\x00\x01\x65\x88"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		for nal := range bitstream.SplitAnnexB(b) {
			if len(nal) == 0 || bytes.Contains(nal, []byte{0, 0, 1}) {
				t.Fatalf("unit %x", nal)
			}
			n++
		}
		for _, err := range bitstream.NALUs(bitstream.FromAnnexB(b)) {
			if err != nil {
				t.Fatal(err)
			}
			n--
		}
		if n != 0 {
			t.Fatal("FromAnnexB and SplitAnnexB disagree")
		}
	})
}

func FuzzParameterSets(f *testing.F) {
	f.Add(sps, pps)
	f.Add(mediatest.HEVCSPS(640, 360, 30, 1), mediatest.HEVCPPS())
	f.Fuzz(func(t *testing.T, a, b []byte) {
		bitstream.AVCC([][]byte{a}, [][]byte{b})
		bitstream.HVCC(nil, [][]byte{a}, [][]byte{b})
		bitstream.AV1C(a)
	})
}
