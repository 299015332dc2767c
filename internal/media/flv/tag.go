package flv

import (
	"errors"
	"iter"
)

// Tag is one FLV tag. An aggregate RTMP message (type 22) is a row of them, and so is an
// FLV file after its header.
type Tag struct {
	// Type is that of the RTMP message: 8 audio, 9 video, 18 data.
	Type uint8
	// Timestamp is in milliseconds, modulo 2^32.
	Timestamp uint32
	Body      []byte
}

const (
	tagHeaderSize = 11
	backPointer   = 4
)

// Tags walks the tags of b (FLV 10.1, annex E.4.1). A tag that does not fit ends the
// walk with an error.
func Tags(b []byte) iter.Seq2[Tag, error] {
	return func(yield func(Tag, error) bool) {
		for len(b) > 0 {
			if len(b) < tagHeaderSize {
				yield(Tag{}, invalid("aggregate", errors.New("a tag's header is cut off")))
				return
			}
			size := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
			t := Tag{Type: b[0] & 0x1f, Timestamp: uint32(b[7])<<24 | uint32(b[4])<<16 | uint32(b[5])<<8 | uint32(b[6])}
			b = b[tagHeaderSize:]
			if len(b) < size {
				yield(Tag{}, invalid("aggregate", errors.New("a tag's body is cut off")))
				return
			}
			t.Body = b[:size:size]
			b = b[size:]
			b = b[min(backPointer, len(b)):]
			if !yield(t, nil) {
				return
			}
		}
	}
}
