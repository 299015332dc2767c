package ffmpeg

import (
	"encoding/binary"

	"onair/internal/media"
)

// avif is the file of one AV1 picture (AV1 Image File Format, sections 2 and 3): an
// AV1 item with its size, depth and configuration, and the picture's bytes. ffmpeg writes
// such files only where it can go back in them, so not into a pipe.
func avif(p *media.Packet) []byte {
	u16 := func(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }
	u32 := func(v int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }
	box := func(kind string, parts ...[]byte) []byte {
		b := append(make([]byte, 4), kind...)
		for _, p := range parts {
			b = append(b, p...)
		}
		binary.BigEndian.PutUint32(b, uint32(len(b)))
		return b
	}
	full := []byte{0, 0, 0, 0} // version 0, no flags
	const item = 1
	file := box("ftyp", []byte("avif"), u32(0), []byte("avifmif1miaf"))
	meta := func(offset int) []byte {
		return box("meta", full,
			box("hdlr", full, u32(0), []byte("pict"), make([]byte, 12), []byte{0}),
			box("pitm", full, u16(item)),
			// Offsets and lengths of 4 bytes, no base offset; one item of one extent.
			box("iloc", full, []byte{0x44, 0x00}, u16(1), u16(item), u16(0), u16(1), u32(offset), u32(len(p.Data))),
			box("iinf", full, u16(1), box("infe", []byte{2, 0, 0, 0}, u16(item), u16(0), []byte("av01"), []byte{0})),
			box("iprp",
				box("ipco",
					box("ispe", full, u32(p.Track.Width), u32(p.Track.Height)),
					box("pixi", full, []byte{3, 8, 8, 8}),
					box("av1C", p.Track.Config)),
				// Of one item three properties, of which the configuration is essential.
				box("ipma", full, u32(1), u16(item), []byte{3, 1, 2, 0x80 | 3})))
	}
	const mdatHead = 8
	offset := len(file) + len(meta(0)) + mdatHead
	return append(append(file, meta(offset)...), box("mdat", p.Data)...)
}
