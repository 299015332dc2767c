package flv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// streamInfoSize is the size of FLAC's STREAMINFO block (RFC 9639, 8.2).
const streamInfoSize = 34

// lengthSizeAt is where a configuration keeps the size of NAL length prefixes, in the
// low two bits; -1 for codecs without NAL units.
func lengthSizeAt(c media.Codec) int {
	switch c {
	case media.H264:
		return 4
	case media.HEVC:
		return 21
	default:
		return -1
	}
}

// configOf turns the payload of a sequence header into the content of the codec's box.
// It returns nil where the parameters stand in the frames instead.
func configOf(t *track, codec media.Codec, b []byte) ([]byte, error) {
	switch codec {
	case media.MP3, media.AC3, media.EAC3:
		return nil, nil
	case media.VP8, media.VP9:
		return b, nil // may be empty: key frames tell as well
	case media.Opus:
		if len(b) == 0 {
			b = opusHead(t.channels)
		}
		config, err := bitstream.OpusConfigFromHead(b)
		if err != nil {
			return nil, headerFault(codec, err)
		}
		return config, nil
	case media.FLAC:
		return flacConfig(b)
	default:
		if len(b) == 0 {
			return nil, headerFault(codec, errors.New("the sequence header is empty"))
		}
		return b, nil
	}
}

// opusHead makes the ID header (RFC 7845, 5.1) of a sender that sent none.
func opusHead(channels int) []byte {
	if channels < 1 || channels > 2 {
		channels = 2
	}
	b := append([]byte("OpusHead"), 1, byte(channels))
	b = binary.LittleEndian.AppendUint16(b, 312) // the delay of libopus
	b = binary.LittleEndian.AppendUint32(b, 48000)
	return append(b, 0, 0, 0)
}

// opusHeadFrom is the inverse of bitstream.OpusConfigFromHead: a dOps box's content as
// an ID header.
func opusHeadFrom(config []byte) ([]byte, error) {
	if len(config) < 11 {
		return nil, headerFault(media.Opus, errors.New("the configuration is too short"))
	}
	b := append([]byte("OpusHead"), 1, config[1])
	b = binary.LittleEndian.AppendUint16(b, binary.BigEndian.Uint16(config[2:]))
	b = binary.LittleEndian.AppendUint32(b, binary.BigEndian.Uint32(config[4:]))
	b = binary.LittleEndian.AppendUint16(b, binary.BigEndian.Uint16(config[8:]))
	return append(b, config[10:]...), nil
}

// flacConfig accepts what the specification says ("fLaC", block header, STREAMINFO) and
// what encoders send (STREAMINFO alone), and returns the metadata block of a dfLa box.
func flacConfig(b []byte) ([]byte, error) {
	b = bytes.TrimPrefix(b, []byte("fLaC"))
	if len(b) >= streamInfoSize+4 && b[0]&0x7f == 0 {
		b = b[4:]
	}
	if len(b) < streamInfoSize {
		return nil, headerFault(media.FLAC, fmt.Errorf("STREAMINFO has %d bytes, not %d", len(b), streamInfoSize))
	}
	return append([]byte{0x80, 0, 0, streamInfoSize}, b[:streamInfoSize]...), nil
}

func legacyVideo(id byte) (media.Codec, error) {
	switch id {
	case videoAVC:
		return media.H264, nil
	case videoHEVC:
		return media.HEVC, nil
	case videoAV1:
		return media.AV1, nil
	}
	names := map[byte]string{2: "Sorenson H.263", 3: "Screen Video", 4: "VP6", 5: "VP6 with alpha", 6: "Screen Video 2", 14: "VVC (H.266)"}
	name, ok := names[id]
	if !ok {
		name = fmt.Sprintf("video codec %d", id)
	}
	return 0, unsupported(name, media.Video)
}

func unsupportedSound(format byte) error {
	names := [16]string{0: "PCM", 1: "ADPCM", 3: "PCM", 4: "Nellymoser", 5: "Nellymoser", 6: "Nellymoser",
		7: "G.711 A-law", 8: "G.711 µ-law", 11: "Speex"}
	name := names[format&15]
	if name == "" {
		name = fmt.Sprintf("audio format %d", format)
	}
	return unsupported(name, media.Audio)
}

func unsupportedFourCC(cc uint32, k media.Kind) error {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], cc)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	name := fmt.Sprintf("%q", b[:])
	if cc == fourCC("vvc1") {
		name = "VVC (H.266)"
	}
	return unsupported(name, k)
}

func unsupported(name string, k media.Kind) error {
	hint := "Set the encoder's video codec to H.264, HEVC, AV1 or VP9"
	if k == media.Audio {
		hint = "Set the encoder's audio codec to AAC, Opus, AC-3, MP3 or FLAC"
	}
	return fault.New(fault.Unsupported, "read", k.String(), name+" is not supported", hint)
}

// headerFault keeps the kind of a fault of bitstream and makes Invalid of anything else.
func headerFault(codec media.Codec, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	return fault.Wrap(fault.Invalid, "read the sequence header of", codec.String(), err, "Check the encoder's settings")
}

func invalid(kind string, err error) error {
	return fault.Wrap(fault.Invalid, "read", kind+" message", err, "Check the encoder's RTMP output")
}
