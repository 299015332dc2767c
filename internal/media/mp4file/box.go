package mp4file

import (
	"encoding/binary"
	"errors"
)

var errBox = errors.New("a box is larger than what holds it")

// child is a box inside another one in memory.
type child struct {
	kind  string
	whole []byte // with size and type
	body  []byte
}

// children lists the boxes in b, of which there are few: in moov and what it holds, and in
// moof and traf.
func children(b []byte) ([]child, error) {
	var list []child
	for len(b) > 0 {
		if len(b) < 8 || len(list) >= maxBoxes {
			return nil, errBox
		}
		size := int64(binary.BigEndian.Uint32(b))
		if size < 8 || size > int64(len(b)) {
			return nil, errBox
		}
		list = append(list, child{kind: string(b[4:8]), whole: b[:size], body: b[8:size]})
		b = b[size:]
	}
	return list, nil
}

// find returns the first box with that path; the zero value if there is none.
func find(b []byte, path ...string) child {
	var found child
	for _, kind := range path {
		list, err := children(b)
		if err != nil {
			return child{}
		}
		found = child{}
		for _, c := range list {
			if c.kind == kind {
				found = c
				break
			}
		}
		b = found.body
	}
	return found
}

// cursor reads fields and remembers that it ran out. It moves by a number, as to move a slice
// is dearer while the garbage collector works.
type cursor struct {
	b   []byte
	at  int
	bad bool
}

// rest is how many bytes are left.
func (c *cursor) rest() int { return len(c.b) - c.at }

func (c *cursor) take(n int) []byte {
	if n > c.rest() {
		c.at, c.bad = len(c.b), true
		return nil
	}
	c.at += n
	return c.b[c.at-n : c.at]
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

func (c *cursor) uvarint() uint64 {
	if c.at < len(c.b) && c.b[c.at] < 0x80 {
		c.at++
		return uint64(c.b[c.at-1])
	}
	return c.longUvarint()
}

func (c *cursor) longUvarint() uint64 {
	v, n := binary.Uvarint(c.b[c.at:])
	if n <= 0 {
		c.at, c.bad = len(c.b), true
		return 0
	}
	c.at += n
	return v
}

func (c *cursor) varint() int64 {
	v := c.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}
