// Package bitstream reads what a codec's bytes say: parameter sets become size, rate
// and RFC 6381 name, payloads become NAL units and OBUs, and a payload from outside
// becomes the one shape that media.Codec documents.
//
// Everything here takes hostile bytes: no function panics, recurses on input, or
// allocates more than a small multiple of what it was given.
package bitstream

import "onair/internal/media"

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
	switch {
	case t.Codec == media.H264 && len(t.Config) > 4:
		return withBits(t.Config, t.Config, 4, 3)
	case t.Codec == media.HEVC && len(t.Config) > 22:
		out := withBits(t.Config, t.Config, 21, 3)
		walkHVCC(t.Config, func(pos int) { out = withBits(out, t.Config, pos, 0x80) },
			func(byte, []byte) bool { return true })
		return out
	}
	return t.Config
}

// withBits sets bits in a byte of b, which is copied first if it still is original.
func withBits(b, original []byte, pos int, bits byte) []byte {
	if b[pos]&bits == bits {
		return b
	}
	if &b[0] == &original[0] {
		b = append([]byte(nil), b...)
	}
	b[pos] |= bits
	return b
}
