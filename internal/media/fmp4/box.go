package fmp4

import (
	"encoding/binary"
	"errors"
	"iter"
)

// box is a box in memory. Only paths that are written in the code are followed, so
// nesting in the input costs nothing.
type box struct {
	kind []byte // four characters
	body []byte // what follows size and type
}

var errBox = errors.New("a box is larger than what holds it")

// boxes walks the boxes in b.
func boxes(b []byte) iter.Seq2[box, error] {
	return func(yield func(box, error) bool) {
		for len(b) > 0 {
			if len(b) < 8 {
				yield(box{}, errBox)
				return
			}
			size, head := uint64(binary.BigEndian.Uint32(b)), uint64(8)
			switch {
			case size == 0:
				size = uint64(len(b))
			case size == 1 && len(b) >= 16:
				size, head = binary.BigEndian.Uint64(b[8:]), 16
			}
			if size < head || size > uint64(len(b)) {
				yield(box{}, errBox)
				return
			}
			if !yield(box{kind: b[4:8], body: b[head:size]}, nil) {
				return
			}
			b = b[size:]
		}
	}
}

// find returns the body of the first box with that path; nil if there is none.
func find(b []byte, path ...string) []byte {
	for _, kind := range path {
		var body []byte
		for x, err := range boxes(b) {
			if err != nil {
				return nil
			}
			if string(x.kind) == kind {
				body = x.body
				break
			}
		}
		if body == nil {
			return nil
		}
		b = body
	}
	return b
}

// cursor reads big-endian fields and remembers that it ran out.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.b, c.bad = nil, true
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) u8() byte {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if v := c.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if v := c.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// versioned reads 32 bits in version 0 of a full box and 64 in version 1.
func (c *cursor) versioned(version byte) uint64 {
	if version == 1 {
		return c.u64()
	}
	return uint64(c.u32())
}
