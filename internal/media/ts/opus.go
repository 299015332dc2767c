package ts

import (
	"fmt"

	"onair/internal/media"
)

// opusSize reads the control header of an access unit (draft of "Carriage of Opus in
// MPEG-2 transport streams"): the size of all of it, and of the header.
func opusSize(b []byte) (size, head int) {
	if b[0] != 0x7f || len(b) > 1 && b[1]&0xe0 != 0xe0 {
		return noFrame, 0
	}
	if len(b) < 3 {
		return partial, 0
	}
	head = 2
	for {
		if head >= len(b) {
			return partial, 0
		}
		size += int(b[head])
		head++
		if b[head-1] != 0xff {
			break
		}
	}
	if size == 0 {
		return noFrame, 0
	}
	if b[1]&0x10 != 0 { // start_trim
		head += 2
	}
	if b[1]&0x08 != 0 { // end_trim
		head += 2
	}
	if b[1]&0x04 != 0 { // control extension
		if head >= len(b) {
			return partial, 0
		}
		head += 1 + int(b[head])
	}
	return head + size, head
}

func (s *stream) frameOpus(r *Reader, b []byte) {
	_, head := opusSize(b)
	if s.parametersOf(r, nil, b[head:], func() (media.Track, error) {
		config, err := opusConfig(s.element)
		return media.Track{Codec: media.Opus, Config: config}, err
	}) {
		s.sound(r, b[head:])
	}
}

// opusLayouts are the streams, coupled streams and mapping of 3 to 8 channels (RFC 7845,
// section 5.1.1.2).
var opusLayouts = [...][]byte{
	{2, 1, 0, 2, 1},
	{2, 2, 0, 1, 2, 3},
	{3, 2, 0, 4, 1, 2, 3},
	{4, 2, 0, 4, 1, 2, 3, 5},
	{4, 3, 0, 4, 1, 2, 3, 5, 6},
	{5, 3, 0, 6, 1, 2, 3, 4, 5, 7},
}

// opusPreSkip is what encoders add in front, in samples; the transport stream does not tell.
const opusPreSkip = 312

// opusConfig makes the content of a dOps from the stream's descriptor.
func opusConfig(e element) ([]byte, error) {
	ext := e.descriptor(0x7f)
	if len(ext) < 2 || ext[0] != 0x80 {
		return nil, fmt.Errorf("no descriptor that tells the channels")
	}
	code := ext[1]
	dops := func(channels, family byte, layout ...byte) []byte {
		return append([]byte{0, channels, opusPreSkip >> 8, opusPreSkip & 0xff, 0, 0, 0xbb, 0x80, 0, 0, family}, layout...)
	}
	switch {
	case code == 0: // two channels that have nothing to do with one another
		return dops(2, 255, 2, 0, 0, 1), nil
	case code <= 2:
		return dops(code, 0), nil
	case code <= 8:
		return dops(code, 1, opusLayouts[code-3]...), nil
	}
	return nil, fmt.Errorf("a layout of channels (0x%02x) that is not known", code)
}
