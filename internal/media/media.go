// Package media is the vocabulary of the program: tracks, packets, and the two
// interfaces that move packets.
//
// A Source yields packets, a Sink takes them, Copy joins the two. Ingest, play,
// transcoding, packaging and relaying are all a Copy between a Source and a Sink,
// so everything else in the program can be read as "what stands at either end".
//
// The package imports the standard library only and knows neither containers nor
// protocols.
package media

import (
	"context"
	"time"
)

// Kind tells what a track carries.
type Kind uint8

// The kinds of track.
const (
	Video Kind = iota + 1
	Audio
)

// String returns "video" or "audio".
func (k Kind) String() string {
	switch k {
	case Video:
		return "video"
	case Audio:
		return "audio"
	default:
		return "unknown"
	}
}

// Codec names how a track's payload is coded, and with that the payload's shape:
//
//   - H264, HEVC: one access unit a packet, as NAL units each behind a 4-byte
//     big-endian length; no parameter sets that equal the track's Config.
//   - AV1: one temporal unit a packet in the low-overhead format (every OBU has its
//     size field), without temporal delimiters.
//   - VP8, VP9: one frame (or superframe) a packet.
//   - AAC: one raw access unit (no ADTS). Opus: one packet. AC3, EAC3: one or more
//     whole sync frames. MP3, FLAC: one frame.
type Codec uint8

// The codecs that have a place in the program. A codec that is not here is refused
// at ingest with a named error.
const (
	UnknownCodec Codec = iota
	H264
	HEVC
	AV1
	VP8
	VP9
	AAC
	Opus
	AC3
	EAC3
	MP3
	FLAC
)

var codecNames = [...]string{
	UnknownCodec: "unknown",
	H264:         "H.264",
	HEVC:         "HEVC",
	AV1:          "AV1",
	VP8:          "VP8",
	VP9:          "VP9",
	AAC:          "AAC",
	Opus:         "Opus",
	AC3:          "AC-3",
	EAC3:         "E-AC-3",
	MP3:          "MP3",
	FLAC:         "FLAC",
}

// String returns the name people use, such as "H.264".
func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return codecNames[UnknownCodec]
}

// Kind tells whether the codec codes pictures or sound.
func (c Codec) Kind() Kind {
	switch c {
	case H264, HEVC, AV1, VP8, VP9:
		return Video
	case AAC, Opus, AC3, EAC3, MP3, FLAC:
		return Audio
	default:
		return 0
	}
}

// Track describes one elementary stream. A Track is immutable: when an encoder
// changes its parameters in mid-stream, the packets that follow carry another *Track
// with the same ID and a higher Version.
type Track struct {
	// ID tells the tracks of one source apart and is stable over versions.
	ID int
	// Version counts the changes of parameters, from 0.
	Version int
	Codec   Codec
	// Timescale is the number of ticks a second of the DTS and PTS of its packets.
	Timescale int
	// Config is the decoder configuration as it stands in an ISO BMFF sample entry,
	// without the box header: avcC, hvcC, av1C, vpcC, dOps, dac3, dec3 or dfLa content;
	// for AAC the AudioSpecificConfig. Empty for MP3.
	Config []byte

	// Width and Height are the displayed size in pixels; 0 for audio.
	Width, Height int
	// FrameRate is in frames a second as the bitstream declares it; 0 if it does not.
	FrameRate float64
	// SampleRate is in hertz, Channels counts the output channels; 0 for video.
	SampleRate, Channels int
	// CodecString is the RFC 6381 name, such as "avc1.64001f".
	CodecString string
	// Language is a BCP 47 tag; empty if not told.
	Language string
	// KeyInterval is how often key frames come, where the source is asked for them and so
	// knows beforehand; 0 if only time will tell.
	KeyInterval time.Duration
	// Rendition names the feed of its stream that the track belongs to, such as "720p",
	// when a publisher sends several renditions of one picture; empty is the source's feed.
	Rendition string
}

// Kind tells whether the track carries pictures or sound.
func (t *Track) Kind() Kind { return t.Codec.Kind() }

// Duration converts ticks of the track's timescale to time.
func (t *Track) Duration(ticks int64) time.Duration {
	return time.Duration(Rescale(ticks, int64(t.Timescale), int64(time.Second)))
}

// Ticks converts time to ticks of the track's timescale.
func (t *Track) Ticks(d time.Duration) int64 {
	return Rescale(int64(d), int64(time.Second), int64(t.Timescale))
}

// Packet is one access unit: what a decoder takes in one call. Packets are shared by
// all readers and are never written to after they were handed on.
type Packet struct {
	Track *Track
	// DTS and PTS are in ticks of Track.Timescale.
	DTS, PTS int64
	// Duration is in ticks of Track.Timescale; 0 if the source does not tell.
	Duration int64
	// Key is set where decoding can start. Every audio packet is a key.
	Key bool
	// Arrival is the wall clock when the last byte of the packet had arrived.
	Arrival time.Time
	Data    []byte
}

// Source yields packets in decoding order, tracks interleaved.
type Source interface {
	// ReadPacket returns the next packet. It returns io.EOF when the source said that
	// it ends, and another error when it broke off. It returns ctx's error when ctx ends.
	ReadPacket(ctx context.Context) (*Packet, error)
}

// Sink takes packets in decoding order, tracks interleaved.
type Sink interface {
	WritePacket(ctx context.Context, p *Packet) error
}

// Copy moves packets until one end fails. The end of src (io.EOF) is returned as it
// is, so that the caller can tell a stop from a loss.
func Copy(ctx context.Context, dst Sink, src Source) error {
	for {
		p, err := src.ReadPacket(ctx)
		if err != nil {
			return err
		}
		if err := dst.WritePacket(ctx, p); err != nil {
			return err
		}
	}
}

// LatencyMode is a stream's trade of delay against cost and robustness.
type LatencyMode string

// The latency modes of a live stream.
const (
	// LatencyUltra delivers parts of 0.2 s.
	LatencyUltra LatencyMode = "ultra"
	// LatencyLow delivers parts of 0.5 s.
	LatencyLow LatencyMode = "low"
	// LatencyStandard delivers whole segments.
	LatencyStandard LatencyMode = "standard"
)
