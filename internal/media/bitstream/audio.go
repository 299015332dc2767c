package bitstream

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/ac3"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/eac3"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/flac"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg1audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"

	"onair/internal/media"
)

// SamplesPerPacket is how many output samples each packet of the track decodes to: its
// duration in ticks of a timescale equal to t.SampleRate. It is 0 where packets differ
// (Opus) or the configuration does not tell.
//
// For HE-AAC the rate of a track is the output rate where SBR is signalled, so a packet
// has 2048 samples (1024 of the core at half the rate). Where an encoder does not signal
// SBR, the rate is the core's and a packet has 1024: the duration is the same.
func SamplesPerPacket(t *media.Track) int {
	switch t.Codec {
	case media.AAC:
		a, err := parseASC(t.Config)
		if err != nil {
			return 0
		}
		return a.frame
	case media.AC3:
		return 1536
	case media.MP3:
		if t.SampleRate > 0 && t.SampleRate < 32000 {
			return 576
		}
		return 1152
	case media.FLAC:
		if info, err := streamInfo(t.Config); err == nil && info.MinBlockSize == info.MaxBlockSize {
			return int(info.MaxBlockSize)
		}
	}
	return 0
}

// Duration is how long a packet of sound lasts in ticks of t.Timescale, rounded to the
// nearest; 0 if it cannot be told. E-AC-3 and AC-3 packets may hold several frames.
func Duration(t *media.Track, data []byte) int64 {
	samples, rate := int64(0), int64(t.SampleRate)
	switch t.Codec {
	case media.Opus:
		samples, rate = opus.PacketDuration2(data), 48000
		if samples > maxOpusSamples {
			samples = 0
		}
	case media.AC3:
		for rest := data; len(rest) > 0; samples += 1536 {
			var s ac3.SyncInfo
			if s.Unmarshal(rest) != nil {
				break
			}
			rest = rest[min(len(rest), s.FrameSize()):]
		}
	case media.EAC3:
		for rest := data; len(rest) > 0; {
			var s eac3.SyncInfo
			if s.Unmarshal(rest) != nil {
				break
			}
			if s.Strmtyp != 1 && s.Substreamid == 0 { // not a part of the frame before
				samples += int64(s.NumBlocks()) * 256
			}
			rest = rest[min(len(rest), s.FrameSize()):]
		}
	case media.MP3:
		var h mpeg1audio.FrameHeader
		if h.Unmarshal(data) == nil {
			samples, rate = int64(h.SampleCount()), int64(h.SampleRate)
		}
	case media.FLAC:
		samples = flacBlockSize(data)
	}
	if samples == 0 {
		samples = int64(SamplesPerPacket(t))
	}
	return media.Rescale(samples, rate, int64(t.Timescale))
}

// maxOpusSamples is the most that a packet may hold: 120 ms (RFC 6716, section 3.2.5).
const maxOpusSamples = 5760

// flacBlockSize reads the block size of a frame header (RFC 9639, section 9.1.1); 0 if
// it does not stand at a fixed place or is none.
func flacBlockSize(b []byte) int64 {
	if len(b) < 5 || b[0] != 0xff || b[1]&0xfe != 0xf8 {
		return 0
	}
	switch code := b[2] >> 4; {
	case code == 1:
		return 192
	case code >= 2 && code <= 5:
		return 144 << code
	case code >= 8:
		return 1 << code
	}
	// 6 and 7: behind the coded number, whose length its first byte tells.
	pos := 5
	for mask := byte(0x40); b[4] >= 0xc0 && b[4]&mask != 0 && mask > 1; mask >>= 1 {
		pos++
	}
	switch code := b[2] >> 4; {
	case code == 6 && len(b) > pos:
		return int64(b[pos]) + 1
	case code == 7 && len(b) > pos+1:
		return int64(binary.BigEndian.Uint16(b[pos:])) + 1
	}
	return 0
}

func describeAudio(t *media.Track) (audioInfo, error) {
	switch t.Codec {
	case media.AAC:
		return parseASC(t.Config)
	case media.Opus:
		return describeOpus(t.Config)
	case media.AC3:
		return describeAC3(t.Config)
	case media.EAC3:
		return describeEAC3(t.Config)
	case media.FLAC:
		info, err := streamInfo(t.Config)
		if err != nil {
			return audioInfo{}, err
		}
		if info.SampleRate == 0 || info.SampleRate > maxSampleRate {
			return audioInfo{}, fmt.Errorf("the sample rate is out of range")
		}
		return audioInfo{rate: int(info.SampleRate), channels: int(info.ChannelCount), codec: "fLaC"}, nil
	default:
		return audioInfo{codec: "mp4a.40.34"}, nil
	}
}

// OpusConfigFromHead turns an OpusHead (RFC 7845, section 5.1; little-endian) into the
// content of a dOps box (big-endian). The error is a fault.Invalid.
func OpusConfigFromHead(head []byte) ([]byte, error) {
	if len(head) < 19 || !bytes.HasPrefix(head, []byte("OpusHead")) || head[8]>>4 != 0 {
		return nil, invalid(media.Opus, fmt.Errorf("not an OpusHead"))
	}
	b := []byte{0, head[9]}
	b = binary.BigEndian.AppendUint16(b, binary.LittleEndian.Uint16(head[10:]))
	b = binary.BigEndian.AppendUint32(b, binary.LittleEndian.Uint32(head[12:]))
	b = binary.BigEndian.AppendUint16(b, binary.LittleEndian.Uint16(head[16:]))
	b = append(b, head[18])
	if head[18] != 0 {
		b = append(b, head[19:min(len(head), 21+int(head[9]))]...)
	}
	if _, err := describeOpus(b); err != nil {
		return nil, invalid(media.Opus, err)
	}
	return b, nil
}

// describeOpus reads a dOps ("Encapsulation of Opus in ISO BMFF", section 4.3.2).
func describeOpus(config []byte) (audioInfo, error) {
	if len(config) < 11 || config[0] != 0 {
		return audioInfo{}, fmt.Errorf("not an OpusSpecificBox")
	}
	channels, family := int(config[1]), config[10]
	switch {
	case channels == 0 || family == 0 && channels > 2 || channels > maxChannels:
		return audioInfo{}, fmt.Errorf("%d channels do not fit mapping family %d", channels, family)
	case family != 0 && len(config) < 13+channels:
		return audioInfo{}, fmt.Errorf("the channel mapping is cut short")
	}
	return audioInfo{rate: 48000, channels: channels, codec: "Opus"}, nil
}

// streamInfo finds STREAMINFO in what senders give as FLAC's configuration: metadata
// blocks as in a dfLa box, with or without the box's version and flags or "fLaC" in
// front.
func streamInfo(config []byte) (flac.StreamInfo, error) {
	var s flac.StreamInfo
	b := unwrapFLAC(config)
	if !startsWithStreamInfo(b) {
		return s, fmt.Errorf("no STREAMINFO block")
	}
	return s, s.Unmarshal(b[4 : 4+34])
}

// startsWithStreamInfo reports whether the first metadata block is a whole STREAMINFO,
// which has type 0 and 34 bytes.
func startsWithStreamInfo(b []byte) bool {
	return len(b) >= 4+34 && b[0]&0x7f == 0 && b[1] == 0 && b[2] == 0 && b[3] == 34
}

// unwrapFLAC leaves the metadata blocks.
func unwrapFLAC(config []byte) []byte {
	if startsWithStreamInfo(config) {
		return config
	}
	if b, ok := bytes.CutPrefix(config, []byte("fLaC")); ok {
		return b
	}
	if len(config) == 34 { // STREAMINFO alone
		return append([]byte{0x80, 0, 0, 34}, config...)
	}
	if b, ok := bytes.CutPrefix(config, []byte{0, 0, 0, 0}); ok {
		return b
	}
	return config
}
