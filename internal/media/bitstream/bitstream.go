// Package bitstream reads what a codec's bytes say: parameter sets become size, rate
// and RFC 6381 name, payloads become NAL units and OBUs, and a payload from outside
// becomes the one shape that media.Codec documents.
package bitstream

import (
	"errors"
	"iter"

	"onair/internal/media"
)

var errNotYet = errors.New("not implemented yet")

// OBU is one open bitstream unit of AV1.
type OBU struct {
	// Type is the obu_type (AV1 specification, section 6.2.2).
	Type uint8
	// Payload is what follows the header and the size field.
	Payload []byte
	// Raw is the whole unit with header and size field.
	Raw []byte
}

// IsKey reports whether decoding can start at the access unit.
func IsKey(c media.Codec, accessUnit []byte) bool { return false }

// OBUs walks the OBUs of a temporal unit in the low-overhead format.
func OBUs(temporalUnit []byte) iter.Seq2[OBU, error] { return func(func(OBU, error) bool) {} }

// Normalize brings an access unit from outside into the shape that media.Codec documents.
func Normalize(t *media.Track, accessUnit []byte) (out []byte, params []byte, err error) {
	return accessUnit, nil, nil
}

// SamplesPerPacket is the number of ticks (of a timescale of t.SampleRate) an audio packet lasts; 0 if it varies.
func SamplesPerPacket(t *media.Track) int { return 0 }

// Duration is how long the audio packet lasts, in ticks of t.Timescale; 0 if unknown.
func Duration(t *media.Track, data []byte) int64 { return 0 }

// HVCC builds the content of an hvcC box; nil if the parameter sets are unusable.
func HVCC(vps, sps, pps [][]byte) []byte { return nil }

// AV1C builds the content of an av1C box from a sequence header OBU; nil if it is unusable.
func AV1C(sequenceHeader []byte) []byte { return nil }

// VPCC builds the content of a vpcC box from a VP9 key frame; nil if it is none.
func VPCC(keyFrame []byte) []byte { return nil }

// OpusConfigFromHead turns an OpusHead (RFC 7845) into the content of a dOps box.
func OpusConfigFromHead(head []byte) ([]byte, error) { return nil, errNotYet }

// SampleAspect is the sample aspect ratio that t's parameter sets declare; 0, 0 if they
// declare none.
func SampleAspect(t *media.Track) (w, h int) {
	if t.Kind() != media.Video {
		return 0, 0
	}
	v, err := describeVideo(t)
	if err != nil {
		return 0, 0
	}
	return v.sarW, v.sarH
}

// CanonicalConfig returns t.Config as it must be written next to payloads of the shape
// that media.Codec documents: NAL unit lengths of 4 bytes, whatever the encoder used,
// and complete arrays of parameter sets for HEVC (hvc1). It is t.Config itself where
// that says so already.
func CanonicalConfig(t *media.Track) []byte {
	i := -1
	switch {
	case t.Codec == media.H264 && len(t.Config) > 4:
		i = 4
	case t.Codec == media.HEVC && len(t.Config) > 22:
		i = 21
	}
	if i < 0 || t.Config[i]&3 == 3 {
		return t.Config
	}
	c := append([]byte(nil), t.Config...)
	c[i] |= 3
	return c
}
