package mediatest

import (
	"bytes"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// VideoTrack returns the video track of the Options with Codec, Timescale and Config
// set, as a container would announce it before bitstream.Describe.
func VideoTrack(o Options) *media.Track {
	o.fill()
	num, den := o.RateNum, o.RateDen
	if o.UndeclaredRate {
		num, den = 0, 0
	}
	t := &media.Track{ID: VideoID, Codec: o.Video, Timescale: o.VideoTimescale}
	switch o.Video {
	case media.H264:
		t.Config = bitstream.AVCC([][]byte{H264SPS(o.Width, o.Height, num, den)}, [][]byte{H264PPS()})
	case media.HEVC:
		t.Config = bitstream.HVCC([][]byte{HEVCVPS()}, [][]byte{HEVCSPS(o.Width, o.Height, num, den)}, [][]byte{HEVCPPS()})
	case media.AV1:
		t.Config = bitstream.AV1C(AV1SequenceHeader(o.Width, o.Height, num, den))
	case media.VP9:
		t.Config = bitstream.VPCC(vp9Key(o.Width, o.Height))
		t.Width, t.Height = o.Width, o.Height
	default:
		panic("mediatest: no generator for " + o.Video.String())
	}
	return t
}

// AudioTrack returns the audio track of the Options, as VideoTrack does.
func AudioTrack(o Options) *media.Track {
	o.fill()
	t := &media.Track{ID: AudioID, Codec: o.Audio, Timescale: o.AudioTimescale}
	switch o.Audio {
	case media.AAC:
		t.Config = AACConfig(o.SampleRate, o.Channels)
	case media.Opus:
		t.Config = []byte{0, byte(o.Channels), 0x01, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0}
	default:
		panic("mediatest: no generator for " + o.Audio.String())
	}
	return t
}

// AACConfig returns the AudioSpecificConfig of AAC-LC.
func AACConfig(sampleRate, channels int) []byte {
	rates := [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}
	var w bitWriter
	w.bits(2, 5)
	index := 15
	for i, r := range rates {
		if r == sampleRate {
			index = i
		}
	}
	w.bits(uint64(index), 4)
	if index == 15 {
		w.bits(uint64(sampleRate), 24)
	}
	w.bits(uint64(channels), 4)
	w.bits(0, 3)
	w.bits(0, w.free)
	return w.data
}

// frame makes the access unit of a frame of that kind.
func (g *Generator) frame(kind byte) []byte {
	size := g.o.FrameSize
	if kind == 'I' {
		size *= 5
	}
	if g.o.VariableRate || g.o.Seed != 0 {
		size += g.random.IntN(size/4 + 1)
	}
	switch g.o.Video {
	case media.H264:
		// first_mb_in_slice 0 and slice_type I, P or B stand in the first byte.
		header := map[byte][]byte{'I': {0x65, 0x88}, 'P': {0x41, 0x9a}, 'B': {0x01, 0x9e}}[kind]
		return nal(nil, header, g.filling(size))
	case media.HEVC:
		header := map[byte][]byte{'I': {0x26, 0x01, 0xaf}, 'P': {0x02, 0x01, 0xd0}, 'B': {0x00, 0x01, 0xe0}}[kind]
		return nal(nil, header, g.filling(size))
	case media.AV1:
		if kind == 'I' {
			return append(bytes.Clone(g.sequence), obu(append([]byte{0x10}, g.filling(size)...))...)
		}
		return obu(append([]byte{0x30}, g.filling(size)...))
	case media.VP9:
		if kind == 'I' {
			return append(vp9Key(g.o.Width, g.o.Height), g.filling(size)...)
		}
		return append([]byte{0x86}, g.filling(size)...)
	default:
		panic("mediatest: no generator for " + g.o.Video.String())
	}
}
