package flv

import (
	"encoding/binary"
	"fmt"

	"onair/internal/media"
)

// maxModEx bounds the chain of ModEx prefixes of one message. The specification names
// one kind of prefix, so that a longer chain is an attack.
const maxModEx = 8

const (
	// modExNanoseconds is the one kind of prefix that the specification names.
	modExNanoseconds = 0
	// nanosecondsPerTick is how many nanoseconds a stamp counts by.
	nanosecondsPerTick = FineTimescale / Timescale
)

// exTrack is one track's part of an Enhanced RTMP message.
type exTrack struct {
	index  int
	fourCC uint32
	body   []byte
}

// exMessage is a parsed Enhanced RTMP header with the parts that follow it.
type exMessage struct {
	packetType byte
	// frameType is 0 for audio.
	frameType byte
	// nanoseconds is what a ModEx prefix adds to the stamp of the message; precise is set
	// if there was one, be it of 0.
	nanoseconds int64
	precise     bool
	// command is set for a video command, which has no tracks.
	command bool
	tracks  []exTrack
}

var errShort = fmt.Errorf("the message ends inside its header")

// parseEx reads the ExVideoTagHeader or ExAudioTagHeader that b begins with
// (Enhanced RTMP v2, "ExVideoTagHeader", "ExAudioTagHeader").
func parseEx(b []byte, k media.Kind) (exMessage, error) {
	var m exMessage
	m.packetType = b[0] & 0x0f
	if k == media.Video {
		m.frameType = b[0] >> 4 & 7
	}
	b = b[1:]
	var err error
	if b, err = readModEx(&m, b); err != nil {
		return m, err
	}
	if m.frameType == frameCommand && m.packetType != exMetadata {
		m.command = true
		return m, nil
	}
	if m.packetType == multitrackType(k) {
		return parseMultitrack(m, b, k)
	}
	if len(b) < 4 {
		return m, errShort
	}
	m.tracks = []exTrack{{fourCC: binary.BigEndian.Uint32(b), body: b[4:]}}
	return m, nil
}

func multitrackType(k media.Kind) byte {
	if k == media.Video {
		return exMultitrackVideo
	}
	return exMultitrackAudio
}

// readModEx reads the ModEx prefixes (Enhanced RTMP v2, "ModEx") and sets the packet type
// that they lead to. Kinds of prefix that are not known are passed over.
func readModEx(m *exMessage, b []byte) ([]byte, error) {
	for n := 0; m.packetType == exModEx; n++ {
		if n == maxModEx {
			return nil, fmt.Errorf("more than %d ModEx prefixes", maxModEx)
		}
		if len(b) < 1 {
			return nil, errShort
		}
		size := int(b[0]) + 1
		b = b[1:]
		if size == 256 {
			if len(b) < 2 {
				return nil, errShort
			}
			size = int(binary.BigEndian.Uint16(b)) + 1
			b = b[2:]
		}
		if len(b) < size+1 {
			return nil, errShort
		}
		if kind := b[size] >> 4; kind == modExNanoseconds && size >= 3 {
			if n := int64(b[0])<<16 | int64(b[1])<<8 | int64(b[2]); n < nanosecondsPerTick {
				m.nanoseconds, m.precise = n, true
			}
		}
		m.packetType = b[size] & 0x0f
		b = b[size+1:]
	}
	return b, nil
}

func parseMultitrack(m exMessage, b []byte, k media.Kind) (exMessage, error) {
	if len(b) < 1 {
		return m, errShort
	}
	mode := b[0] >> 4
	m.packetType = b[0] & 0x0f
	b = b[1:]
	if m.packetType == multitrackType(k) {
		return m, fmt.Errorf("a multitrack message inside a multitrack message")
	}
	if mode > multitrackManyCodec {
		return m, fmt.Errorf("multitrack type %d is not known", mode)
	}
	var cc uint32
	if mode != multitrackManyCodec {
		if len(b) < 4 {
			return m, errShort
		}
		cc = binary.BigEndian.Uint32(b)
		b = b[4:]
	}
	for {
		if len(m.tracks) == MaxTracks {
			return m, fmt.Errorf("more than %d tracks in one message", MaxTracks)
		}
		if mode == multitrackManyCodec {
			if len(b) < 4 {
				return m, errShort
			}
			cc = binary.BigEndian.Uint32(b)
			b = b[4:]
		}
		if len(b) < 1 {
			return m, errShort
		}
		t := exTrack{index: int(b[0]), fourCC: cc}
		b = b[1:]
		if mode == multitrackOne {
			t.body = b
			m.tracks = append(m.tracks, t)
			return m, nil
		}
		if len(b) < 3 {
			return m, errShort
		}
		size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		b = b[3:]
		if len(b) < size {
			return m, fmt.Errorf("a track of %d bytes in a message with %d left", size, len(b))
		}
		t.body = b[:size:size]
		b = b[size:]
		m.tracks = append(m.tracks, t)
		if len(b) == 0 {
			return m, nil
		}
	}
}
