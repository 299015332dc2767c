package ts

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// Stream ids of PES packets (ISO/IEC 13818-1, table 2-22).
const (
	idVideo   = 0xe0
	idAudio   = 0xc0
	idPrivate = 0xbd
)

// formOf tells how a track is announced, and what its payloads need in front.
func formOf(t *media.Track) (f form, head []byte, err error) {
	registered := func(kind, id byte, name string) form {
		return form{kind, id, append([]byte{0x05, 4}, name...)}
	}
	switch t.Codec {
	case media.H264:
		return form{kind: 0x1b, streamID: idVideo}, parameterSets(t), nil
	case media.HEVC:
		return registered(0x24, idVideo, "HEVC"), parameterSets(t), nil
	case media.AAC:
		head, err := adtsHeader(t)
		return form{kind: 0x0f, streamID: idAudio}, head, err
	case media.MP3:
		f = form{kind: 0x03, streamID: idAudio}
		if t.SampleRate > 0 && t.SampleRate < 32000 {
			f.kind = 0x04
		}
		return f, nil, nil
	case media.AC3:
		return registered(0x81, idPrivate, "AC-3"), nil, nil
	case media.EAC3:
		return registered(0x87, idPrivate, "EAC3"), nil, nil
	case media.Opus:
		code, err := opusCode(t)
		f = registered(0x06, idPrivate, "Opus")
		f.descriptors = append(f.descriptors, 0x7f, 2, 0x80, code)
		return f, nil, err
	}
	return f, nil, unwritable(t, "nothing reads it in a transport stream", "Use H.264 or HEVC and AAC, Opus, AC-3, E-AC-3 or MP3, or another protocol.")
}

func unwritable(t *media.Track, cause, hint string) error {
	return fault.New(fault.Unsupported, "write MPEG-TS with", t.Codec.String(), cause, hint)
}

// parameterSets returns the sets of the configuration as a byte stream.
func parameterSets(t *media.Track) []byte {
	var b []byte
	for _, set := range bitstream.ParameterSets(t) {
		b = append(append(b, 0, 0, 0, 1), set...)
	}
	return b
}

// adtsHeader returns the third and fourth byte of the header, which come from the
// configuration. The core of HE-AAC is announced; decoders find the rest.
func adtsHeader(t *media.Track) ([]byte, error) {
	var c mpeg4audio.AudioSpecificConfig
	hint := "Use AAC-LC or HE-AAC."
	if err := c.Unmarshal(t.Config); err != nil {
		return nil, unwritable(t, err.Error(), hint)
	}
	rate := -1
	for i, r := range [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350} {
		if c.SampleRate == r {
			rate = i
		}
	}
	if c.Type < 1 || c.Type > 4 || rate < 0 || c.ChannelConfig < 1 || c.ChannelConfig > 7 || c.FrameLengthFlag {
		return nil, unwritable(t, fmt.Sprintf("object type %d with %d Hz and channel layout %d has no place in ADTS", c.Type, c.SampleRate, c.ChannelConfig), hint)
	}
	return []byte{byte(c.Type-1)<<6 | byte(rate)<<2 | c.ChannelConfig>>2, c.ChannelConfig << 6}, nil
}

// opusCode returns the code of the channels for the descriptor.
func opusCode(t *media.Track) (byte, error) {
	c := t.Config
	if len(c) < 11 {
		return 0, unwritable(t, "it has no configuration", "")
	}
	channels := c[1]
	switch family := c[10]; {
	case family == 0 && channels >= 1 && channels <= 2:
		return channels, nil
	case family == 1 && channels >= 1 && channels <= 8 && len(c) >= 13+int(channels):
		if channels <= 2 || string(c[11:13+int(channels)]) == string(opusLayouts[channels-3]) {
			return channels, nil
		}
	case family == 255 && channels == 2 && len(c) >= 15 && c[11] == 2 && c[12] == 0:
		return 0, nil
	}
	return 0, unwritable(t, "its layout of channels has no code", "Use the usual layouts of 1 to 8 channels.")
}
