package egress

import (
	"bytes"
	"testing"

	"github.com/pion/rtp/codecs"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

// unpacked undoes packetise with the library's readers.
func unpacked(t *testing.T, c media.Codec, payloads [][]byte) []byte {
	t.Helper()
	var out []byte
	var h264 codecs.H264Packet
	h265 := codecs.H265Depacketizer{}
	av1 := codecs.AV1Depacketizer{}
	for i, p := range payloads {
		var b []byte
		var err error
		switch c {
		case media.H264:
			b, err = h264.Unmarshal(p)
		case media.HEVC:
			b, err = h265.Unmarshal(p)
		case media.AV1:
			b, err = av1.Unmarshal(p)
		case media.VP8:
			b, err = (&codecs.VP8Packet{}).Unmarshal(p)
		case media.VP9:
			v := &codecs.VP9Packet{}
			if b, err = v.Unmarshal(p); v.B != (i == 0) || v.E != (i == len(payloads)-1) {
				t.Errorf("packet %d of %d begins a frame: %v, ends one: %v", i, len(payloads), v.B, v.E)
			}
		default:
			b = p
		}
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		out = append(out, b...)
	}
	return out
}

// annexB writes NAL units behind start codes, those that are sent.
func annexB(t *testing.T, p *media.Packet) []byte {
	t.Helper()
	var out []byte
	add := func(n []byte) { out = append(append(out, 0, 0, 0, 1), n...) }
	if p.Key {
		for _, s := range bitstream.ParameterSets(p.Track) {
			add(s)
		}
	}
	for n, err := range bitstream.NALUs(p.Data) {
		if err != nil {
			t.Fatal(err)
		}
		add(n)
	}
	return out
}

func TestPacketisedFramesAreWhole(t *testing.T) {
	for _, codec := range []media.Codec{media.H264, media.HEVC, media.AV1, media.VP9} {
		for _, size := range []int{60, 900, 1170, 1190, 2400, 30000} {
			g := mediatest.NewGenerator(mediatest.Options{Video: codec, NoAudio: true, FrameSize: size, GOP: 4})
			for range 6 {
				p := g.Next()
				payloads, err := packetise(p)
				if err != nil {
					t.Fatalf("%v of %d bytes: %v", codec, size, err)
				}
				for i, b := range payloads {
					if len(b) > maxPayload || len(b) == 0 {
						t.Errorf("%v: packet %d has %d bytes", codec, i, len(b))
					}
					if i > 1 && i < len(payloads)-1 && len(b) != len(payloads[i-1]) && codec != media.AV1 {
						t.Errorf("%v: packets %d and %d have %d and %d bytes", codec, i-1, i, len(payloads[i-1]), len(b))
					}
				}
				got, want := unpacked(t, codec, payloads), p.Data
				switch codec {
				case media.H264, media.HEVC:
					want = annexB(t, p)
				case media.AV1:
					got, want = withoutSizes(t, got), withoutSizes(t, p.Data)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%v of %d bytes, key %v: %d bytes came of %d", codec, size, p.Key, len(got), len(want))
				}
			}
		}
	}
}

// withoutSizes joins the payloads of OBUs.
func withoutSizes(t *testing.T, b []byte) []byte {
	t.Helper()
	var out []byte
	for o, err := range bitstream.OBUs(b) {
		if err != nil {
			t.Fatal(err)
		}
		if o.Type != obuTemporalDelimiter {
			out = append(append(out, o.Type), o.Payload...)
		}
	}
	return out
}

func TestWhatCannotBePacketised(t *testing.T) {
	h264 := &media.Track{Codec: media.H264, Timescale: 90000}
	for name, p := range map[string]*media.Packet{
		"nothing":           {Track: h264},
		"a length too long": {Track: h264, Data: []byte{0, 0, 9, 9, 1}},
		"only a delimiter":  {Track: h264, Data: []byte{0, 0, 0, 2, 9, 0x10}},
		"AAC":               {Track: &media.Track{Codec: media.AAC}, Data: []byte{1}},
		"no OBU":            {Track: &media.Track{Codec: media.AV1}, Data: []byte{0x12, 0}},
		"broken OBU":        {Track: &media.Track{Codec: media.AV1}, Data: []byte{0x80}},
		"long Opus":         {Track: &media.Track{Codec: media.Opus}, Data: make([]byte, 2000)},
	} {
		if _, err := packetise(p); err == nil {
			t.Errorf("%s was packetised", name)
		}
	}
}

func TestVP8FramesInPieces(t *testing.T) {
	data := bytes.Repeat([]byte{1, 2, 3, 4, 5}, 1000)
	payloads, err := packetise(&media.Packet{Track: &media.Track{Codec: media.VP8}, Data: data})
	if err != nil || !bytes.Equal(unpacked(t, media.VP8, payloads), data) {
		t.Errorf("%d packets, %v", len(payloads), err)
	}
}

func FuzzPacketise(f *testing.F) {
	for i, codec := range []media.Codec{media.H264, media.HEVC, media.AV1, media.VP9} {
		g := mediatest.NewGenerator(mediatest.Options{Video: codec, NoAudio: true, FrameSize: 3000, GOP: 2})
		f.Add(uint8(i), true, g.Next().Data)
		f.Add(uint8(i), false, g.Next().Data)
	}
	f.Fuzz(func(t *testing.T, c uint8, key bool, data []byte) {
		all := []media.Codec{media.H264, media.HEVC, media.AV1, media.VP9, media.VP8, media.Opus}
		payloads, err := packetise(&media.Packet{Track: &media.Track{Codec: all[int(c)%len(all)], Timescale: 90000}, Key: key, Data: data})
		if err != nil {
			return
		}
		total := 0
		for _, p := range payloads {
			if len(p) == 0 || len(p) > maxPayload {
				t.Fatalf("a packet has %d bytes", len(p))
			}
			total += len(p)
		}
		if total > 4*len(data)+1000 {
			t.Fatalf("%d bytes of %d", total, len(data))
		}
	})
}
