package clip

import (
	"bytes"
	"slices"

	"onair/internal/media"
)

// avcC is an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1).
type avcC struct {
	head     [5]byte // version, profile, compatibility, level, length size
	sps, pps [][]byte
	tail     []byte // of the high profiles: formats
}

func parseAVCC(b []byte) (c avcC, ok bool) {
	if len(b) < 7 || b[0] != 1 {
		return c, false
	}
	copy(c.head[:], b)
	rest := b[5:]
	for i, list := range []*[][]byte{&c.sps, &c.pps} {
		if len(rest) == 0 {
			return c, false
		}
		n := int(rest[0])
		if i == 0 {
			n &= 31
		}
		rest = rest[1:]
		for range n {
			if len(rest) < 2 {
				return c, false
			}
			size := int(rest[0])<<8 | int(rest[1])
			if len(rest) < 2+size || size < 5 && i == 0 || size < 2 {
				return c, false
			}
			*list = append(*list, rest[2:2+size])
			rest = rest[2+size:]
		}
	}
	c.tail = rest
	return c, len(c.sps) > 0 && len(c.pps) > 0
}

func (c *avcC) bytes() []byte {
	b := slices.Clone(c.head[:])
	for i, list := range [][][]byte{c.sps, c.pps} {
		n := byte(len(list))
		if i == 0 {
			n |= 0xe0
		}
		b = append(b, n)
		for _, unit := range list {
			b = append(append(b, byte(len(unit)>>8), byte(len(unit))), unit...)
		}
	}
	return append(b, c.tail...)
}

// merge puts the parameter sets of pictures that were encoded again to those of their source,
// so that one decoder can decode both without being told where one begins: they must have
// other numbers, and be of the same format. false if that cannot be.
func merge(source, made *media.Track) (*media.Track, bool) {
	if source.Codec != media.H264 || source.Width != made.Width || source.Height != made.Height {
		return nil, false
	}
	a, ok := parseAVCC(source.Config)
	b, ok2 := parseAVCC(made.Config)
	const most = 31 // SPS of a record
	if !ok || !ok2 || a.head[4]&3 != b.head[4]&3 || !bytes.Equal(a.formats(), b.formats()) || len(a.sps)+len(b.sps) > most || len(a.pps)+len(b.pps) > 255 {
		return nil, false
	}
	for _, s := range b.sps {
		if slices.ContainsFunc(a.sps, func(o []byte) bool { return idOf(o[4:]) == idOf(s[4:]) }) {
			return nil, false
		}
	}
	for _, p := range b.pps {
		if slices.ContainsFunc(a.pps, func(o []byte) bool { return idOf(o[1:]) == idOf(p[1:]) }) {
			return nil, false
		}
	}
	a.head[3] = max(a.head[3], b.head[3])
	a.sps, a.pps = slices.Concat(a.sps, b.sps), slices.Concat(a.pps, b.pps)
	t := *source
	t.Config = a.bytes()
	return &t, true
}

// formats is what the record of a high profile says of its pictures: 4:2:0 and 8 bits where
// there is nothing.
func (c *avcC) formats() []byte {
	if len(c.tail) < 3 {
		return []byte{1, 0, 0}
	}
	return []byte{c.tail[0] & 3, c.tail[1] & 7, c.tail[2] & 7}
}

// idOf reads the number of a parameter set: an Exp-Golomb code (ITU-T H.264, section 9.1) of
// less than two bytes; -1 if it is longer.
func idOf(b []byte) int {
	var v uint32
	for i := range 4 {
		v <<= 8
		if i < len(b) {
			v |= uint32(b[i])
		}
	}
	zeros := 0
	for zeros < 8 && v>>(31-zeros) == 0 {
		zeros++
	}
	if zeros == 8 {
		return -1
	}
	return int(v<<zeros>>(31-zeros)) - 1
}
