package ts

import (
	"bytes"
	"encoding/binary"
)

// Tables (ISO/IEC 13818-1, section 2.4.4).
const (
	tablePAT = 0x00
	tablePMT = 0x02
)

// sections puts the sections of a PID together.
type sections struct {
	buf []byte
	// open is set while buf holds the beginning of a section (or nothing yet).
	open bool
}

// add takes the payload of a packet and calls f with every section that it completes.
// What f gets is valid until it returns.
func (s *sections) add(payload []byte, start bool, f func(section []byte)) {
	if start {
		if len(payload) == 0 || int(payload[0]) >= len(payload) {
			s.drop()
			return
		}
		pointer := int(payload[0])
		if s.open {
			s.append(payload[1:1+pointer], f)
		}
		s.buf, s.open = s.buf[:0], true
		payload = payload[1+pointer:]
	}
	if s.open {
		s.append(payload, f)
	}
}

func (s *sections) drop() { s.buf, s.open = s.buf[:0], false }

func (s *sections) append(b []byte, f func([]byte)) {
	s.buf = append(s.buf, b...)
	for s.open {
		if len(s.buf) > 0 && s.buf[0] == 0xff { // stuffing to the end of the packet
			s.drop()
			return
		}
		if len(s.buf) < 3 {
			return
		}
		size := 3 + int(binary.BigEndian.Uint16(s.buf[1:])&0xfff)
		if size > maxSection {
			s.drop()
			return
		}
		if len(s.buf) < size {
			return
		}
		if checksum(s.buf[:size]) == 0 {
			f(s.buf[:size])
		}
		s.buf = s.buf[:copy(s.buf, s.buf[size:])]
		if len(s.buf) == 0 {
			s.open = false
		}
	}
}

// checksum is the CRC-32 of ISO/IEC 13818-1, annex A. Over a section with its CRC it is 0.
func checksum(b []byte) uint32 {
	crc := ^uint32(0)
	for _, x := range b {
		crc ^= uint32(x) << 24
		for range 8 {
			if crc&(1<<31) != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

// program is a line of the programme association table.
type program struct {
	number, pid uint16
	// elements is the programme's map as it came; nil before it did. seen counts how
	// often it came.
	pmt  []byte
	seen int
}

// parsePAT reads the programmes of an association section; ok is false if it is none that
// is in force.
func parsePAT(b []byte) (programs []program, ok bool) {
	if len(b) < 12 || b[0] != tablePAT || b[5]&1 == 0 {
		return nil, false
	}
	for b = b[8 : len(b)-4]; len(b) >= 4 && len(programs) < maxPrograms; b = b[4:] {
		number := binary.BigEndian.Uint16(b)
		if number != 0 { // 0 is the network's table
			programs = append(programs, program{number: number, pid: binary.BigEndian.Uint16(b[2:]) & 0x1fff})
		}
	}
	return programs, true
}

// element is one elementary stream of a programme map.
type element struct {
	pid         uint16
	kind        byte // stream_type
	descriptors []byte
}

// programMap is a PMT section in force.
type programMap struct {
	number   uint16
	elements []element
	// body is what two maps that mean the same have in common.
	body []byte
}

func parsePMT(b []byte) (m programMap, ok bool) {
	if len(b) < 16 || b[0] != tablePMT || b[5]&1 == 0 {
		return m, false
	}
	m.number = binary.BigEndian.Uint16(b[3:])
	skip := 12 + int(binary.BigEndian.Uint16(b[10:])&0xfff)
	b = b[:len(b)-4]
	if skip > len(b) {
		return m, false
	}
	m.body = b[skip:]
	for b = m.body; len(b) >= 5; {
		size := int(binary.BigEndian.Uint16(b[3:]) & 0xfff)
		if size > len(b)-5 {
			return m, false
		}
		m.elements = append(m.elements, element{pid: binary.BigEndian.Uint16(b[1:]) & 0x1fff, kind: b[0], descriptors: b[5 : 5+size]})
		b = b[5+size:]
	}
	return m, true
}

// descriptor returns the content of the first descriptor with the tag; nil if there is none.
func (e element) descriptor(tag byte) []byte {
	for b := e.descriptors; len(b) >= 2 && len(b)-2 >= int(b[1]); b = b[2+int(b[1]):] {
		if b[0] == tag {
			return b[2 : 2+int(b[1])]
		}
	}
	return nil
}

// registration returns the format identifier of a registration descriptor.
func (e element) registration() string {
	if d := e.descriptor(0x05); len(d) >= 4 {
		return string(d[:4])
	}
	return ""
}

func (e element) equal(o element) bool {
	return e.pid == o.pid && e.kind == o.kind && bytes.Equal(e.descriptors, o.descriptors)
}
