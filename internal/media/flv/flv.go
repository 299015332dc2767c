// Package flv turns the bodies of RTMP audio and video messages, which are the bodies
// of FLV tags, into packets and back.
//
// It covers the legacy tags (H.264, AAC, MP3, and the widespread private codec ids of
// HEVC and AV1) and Enhanced RTMP v1 and v2: FourCC codecs, ModEx prefixes and
// multitrack messages.
//
// # Time
//
// Packets have a timescale of 1000, exactly as the millisecond stamps came; only the
// 32-bit counter is unwrapped. Whoever needs a smooth clock counts samples itself.
// The tracks of a sender that adds nanoseconds to its stamps (a ModEx prefix) have
// FineTimescale instead: those of one that announced it, and those whose first frame
// has such a prefix. In a track that began without, they are rounded away.
//
// # Tracks
//
// The video track n of the sender has ID 2n+1 and its audio track n has ID 2n+2; what
// comes without a track number is track 0. A sequence header that differs from the
// one before makes a new version of its track; a repeated one changes nothing.
package flv

import (
	"onair/internal/media"
)

// Timescale is the number of ticks a second of the packets that a Demuxer yields.
const Timescale = 1000

// FineTimescale is that of tracks whose stamps have nanoseconds.
const FineTimescale = 1_000_000_000

// MaxTracks bounds the tracks of one Demuxer. An encoder's own ladder has up to ten
// video and six audio tracks; messages for tracks above the bound are dropped.
const MaxTracks = 32

// The high nibble of an audio body, and the low nibble of a video body.
const (
	soundMP3  = 2
	soundEx   = 9
	soundAAC  = 10
	videoAVC  = 7
	videoHEVC = 12 // not in the specification; Chinese CDNs and hardware encoders use it
	videoAV1  = 13 // the same
)

// Legacy packet types of AVC and AAC bodies.
const (
	legacyHeader = 0
	legacyFrames = 1
)

// Frame types of a video body.
const (
	frameKey     = 1
	frameInter   = 2
	frameCommand = 5
)

// Packet types of Enhanced RTMP. Multitrack is the one whose value differs between
// audio and video.
const (
	exSequenceStart     = 0
	exCodedFrames       = 1
	exSequenceEnd       = 2
	exCodedFramesX      = 3 // video only
	exMetadata          = 4 // video only
	exMultichannel      = 4 // audio only
	exMPEG2TSHeader     = 5 // video only
	exMultitrackAudio   = 5
	exMultitrackVideo   = 6
	exModEx             = 7
	multitrackOne       = 0
	multitrackMany      = 1
	multitrackManyCodec = 2
)

// fourCC packs the four letters of a codec name as the wire has them.
func fourCC(s string) uint32 {
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

// fourCCs names the codecs that have a FourCC in Enhanced RTMP and a place here.
var fourCCs = [...]struct {
	name  string
	codec media.Codec
}{
	{"avc1", media.H264}, {"hvc1", media.HEVC}, {"av01", media.AV1}, {"vp08", media.VP8}, {"vp09", media.VP9},
	{"mp4a", media.AAC}, {"Opus", media.Opus}, {"ac-3", media.AC3}, {"ec-3", media.EAC3}, {".mp3", media.MP3}, {"fLaC", media.FLAC},
}

// FourCC returns the four letters by which Enhanced RTMP names the codec, and "" for
// one that it has no name for.
func FourCC(c media.Codec) string {
	for _, f := range fourCCs {
		if f.codec == c {
			return f.name
		}
	}
	return ""
}

// codecOf returns the codec of a FourCC of that kind.
func codecOf(cc uint32, k media.Kind) media.Codec {
	for _, f := range fourCCs {
		if fourCC(f.name) == cc && f.codec.Kind() == k {
			return f.codec
		}
	}
	return media.UnknownCodec
}

// Metadata holds the values of an onMetaData message: float64, bool, string, nil,
// nested Metadata and []any. They are hints: what counts stands in the bitstream.
type Metadata map[string]any

// Text returns the value of a key if it is a string.
func (m Metadata) Text(key string) string {
	s, _ := m[key].(string)
	return s
}

// Number returns the value of a key if it is a number.
func (m Metadata) Number(key string) float64 {
	n, _ := m[key].(float64)
	return n
}
