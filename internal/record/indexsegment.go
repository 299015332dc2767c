package record

import (
	"encoding/binary"
	"time"
)

// The entry of a segment is not JSON, as there are tens of thousands of them to an asset and
// somebody waits for them: to understand one of JSON takes 3 µs, and of this 0.1 µs. It is the
// byte segmentMeta, a byte of flags, the numbers of segmentEntry as varints in their order
// (Start is two of them: seconds since 1970, and nanoseconds), and the rendition's name, the
// segment's, Init and Asset, each after its length as a varint.
const segmentMeta = 's' // where JSON has '{'

// The flags of a segment's entry.
const (
	flagDiscontinuity = 1 << iota
	flagIndependent
	flagGap
	flagBits = iota
)

func flags(discontinuity, independent, gap bool) (b byte) {
	if discontinuity {
		b |= flagDiscontinuity
	}
	if independent {
		b |= flagIndependent
	}
	if gap {
		b |= flagGap
	}
	return b
}

// marshalSegment returns the entry of a segment of rendition r.
func marshalSegment(r string, e *segmentEntry) []byte {
	b := []byte{segmentMeta, flags(e.Discontinuity, e.Independent, e.Gap)}
	for _, v := range [...]int64{
		e.Sequence, e.Start.Unix(), int64(e.Start.Nanosecond()), int64(e.Duration), e.Base, e.Ticks, e.Offset, e.Size, e.KeySize,
	} {
		b = binary.AppendVarint(b, v)
	}
	for _, s := range [...]string{r, e.Name, e.Init, e.Asset} {
		b = append(binary.AppendVarint(b, int64(len(s))), s...)
	}
	return b
}

// parse reads what appendSegment wrote, and reports false for anything else.
func (e *segmentEntry) parse(b []byte, names *names) (r string, ok bool) {
	if len(b) < 2 || b[0] != segmentMeta || b[1] >= flagGap<<1 {
		return "", false
	}
	e.Discontinuity, e.Independent, e.Gap = b[1]&flagDiscontinuity != 0, b[1]&flagIndependent != 0, b[1]&flagGap != 0
	b = b[2:]
	var numbers [9]int64
	for i := range numbers {
		v, n := binary.Varint(b)
		if n <= 0 {
			return "", false
		}
		numbers[i], b = v, b[n:]
	}
	var strings [4]string
	for i := range strings {
		size, n := binary.Varint(b)
		if n <= 0 || size < 0 || size > int64(len(b)-n) {
			return "", false
		}
		end := n + int(size)
		strings[i], b = names.of(b[n:end]), b[end:]
	}
	if len(b) > 0 || numbers[2] < 0 || numbers[2] >= int64(time.Second) {
		return "", false
	}
	e.Sequence, e.Start, e.Duration = numbers[0], time.Unix(numbers[1], numbers[2]).UTC(), time.Duration(numbers[3])
	e.Base, e.Ticks, e.Offset, e.Size, e.KeySize = numbers[4], numbers[5], numbers[6], numbers[7], numbers[8]
	e.Name, e.Init, e.Asset = strings[1], strings[2], strings[3]
	return strings[0], true
}

// names are the strings that were read last. Most are there again in the next entry, or the
// one after it: the segments of one number are called alike in all renditions.
type names struct {
	list [16]string
	next int
}

func (n *names) of(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	for _, s := range n.list {
		if s == string(b) {
			return s
		}
	}
	s := string(b)
	n.list[n.next] = s
	n.next = (n.next + 1) % len(n.list)
	return s
}
