package bitstream_test

import (
	"encoding/binary"
	"testing"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

// unit puts NAL units behind their lengths.
func unit(nals ...[]byte) []byte {
	var b []byte
	for _, n := range nals {
		b = binary.BigEndian.AppendUint32(b, uint32(len(n)))
		b = append(b, n...)
	}
	return b
}

func TestPictureOf(t *testing.T) {
	recovery := []byte{0x06, 0x06, 0x01, 0xc4, 0x80}
	behindUserData := []byte{0x06, 0x05, 0x02, 0xaa, 0xbb, 0x06, 0x01, 0xc4, 0x80}
	timing := []byte{0x06, 0x01, 0x02, 0x06, 0x06, 0x80}
	for _, tt := range []struct {
		name string
		c    media.Codec
		au   []byte
		want bitstream.Picture
	}{
		{"IDR", media.H264, unit([]byte{0x65, 0x88, 0x84}), bitstream.Picture{Type: bitstream.PictureI}},
		{"P", media.H264, unit([]byte{0x41, 0x9a, 0x24}), bitstream.Picture{Type: bitstream.PictureP}},
		{"B", media.H264, unit([]byte{0x01, 0x9e, 0x45}), bitstream.Picture{Type: bitstream.PictureB}},
		{"open group", media.H264, unit(recovery, []byte{0x41, 0x88, 0x84}), bitstream.Picture{Type: bitstream.PictureI, Recovery: true}},
		{"recovery behind other messages", media.H264, unit(behindUserData, []byte{0x41, 0x88}), bitstream.Picture{Type: bitstream.PictureI, Recovery: true}},
		{"recovery at an IDR is no open group", media.H264, unit(recovery, []byte{0x65, 0x88}), bitstream.Picture{Type: bitstream.PictureI}},
		{"a message that holds sixes", media.H264, unit(timing, []byte{0x41, 0x9a}), bitstream.Picture{Type: bitstream.PictureP}},
		{"message without an end", media.H264, unit([]byte{0x06, 0xff, 0xff, 0xff}, []byte{0x41, 0x9a}), bitstream.Picture{Type: bitstream.PictureP}},
		{"nothing", media.H264, nil, bitstream.Picture{}},
		{"cut short", media.H264, []byte{0, 0, 0, 9, 0x41}, bitstream.Picture{}},
		{"slice without a header", media.H264, unit([]byte{0x41}), bitstream.Picture{}},
		{"empty unit", media.H264, unit(nil, []byte{0x41, 0x9a}), bitstream.Picture{}},
		{"HEVC IDR", media.HEVC, unit([]byte{0x26, 1, 0xaf}), bitstream.Picture{Type: bitstream.PictureI}},
		{"HEVC CRA", media.HEVC, unit([]byte{0x4e, 1, 5}, []byte{0x2a, 1, 0xaf}), bitstream.Picture{Type: bitstream.PictureI, Recovery: true}},
		{"HEVC RASL", media.HEVC, unit([]byte{0x10, 1, 0xaf}), bitstream.Picture{Leading: true}},
		{"HEVC trailing", media.HEVC, unit([]byte{0x02, 1, 0xd0}), bitstream.Picture{}},
		{"AV1", media.AV1, []byte{0x32, 1, 0x10}, bitstream.Picture{}},
	} {
		if got := bitstream.PictureOf(tt.c, tt.au); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestPictureOfDoesNotAllocate(t *testing.T) {
	au := unit([]byte{0x06, 0x05, 0x02, 0xaa, 0xbb, 0x80}, []byte{0x41, 0x9a, 0x24})
	if n := testing.AllocsPerRun(100, func() { bitstream.PictureOf(media.H264, au) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestInterlaced(t *testing.T) {
	progressive := mediatest.VideoTrack(mediatest.Options{Width: 1280, Height: 720, RateNum: 25, RateDen: 1})
	if bitstream.Interlaced(progressive) {
		t.Error("a progressive track is called interlaced")
	}
	// x264 320x180 with -flags +ildct+ilme.
	fields := bitstream.AVCC([][]byte{unhex(t, "674d4015f40a19f93011000003000100000300321f142aa0")}, [][]byte{unhex(t, "68de0fc8")})
	if !bitstream.Interlaced(&media.Track{Codec: media.H264, Config: fields}) {
		t.Error("fields of x264 are not seen")
	}
	hevc := make([]byte, 23)
	for flags, want := range map[byte]bool{0x80: false, 0x40: true, 0xc0: false, 0: false} {
		hevc[6] = flags
		if got := bitstream.Interlaced(&media.Track{Codec: media.HEVC, Config: hevc}); got != want {
			t.Errorf("HEVC with source flags %#x: %v", flags, got)
		}
	}
	if bitstream.Interlaced(&media.Track{Codec: media.H264, Config: []byte{1, 2}}) {
		t.Error("a broken configuration is called interlaced")
	}
}

func FuzzPictureOf(f *testing.F) {
	f.Add(true, unit([]byte{0x06, 0x06, 0x01, 0xc4, 0x80}, []byte{0x41, 0x88, 0x84}))
	f.Add(true, unit([]byte{0x06, 0xff, 0xff}, []byte{0x01, 0x9e}))
	f.Add(false, unit([]byte{0x2a, 1, 0xaf}))
	f.Fuzz(func(t *testing.T, avc bool, au []byte) {
		c := media.HEVC
		if avc {
			c = media.H264
		}
		p := bitstream.PictureOf(c, au)
		if p.Recovery && p.Leading || p.Type > bitstream.PictureB {
			t.Fatalf("%+v", p)
		}
		bitstream.Interlaced(&media.Track{Codec: c, Config: au})
	})
}
