package ts

import (
	"bufio"
	"fmt"
	"io"
)

// header is what stands in front of a transport packet's payload (ISO/IEC 13818-1,
// section 2.4.3.2).
type header struct {
	pid uint16
	// counter is the continuity counter.
	counter uint8
	// start is the payload_unit_start_indicator.
	start bool
	// scrambled, damaged and jump are transport_scrambling_control, the
	// transport_error_indicator and the discontinuity_indicator.
	scrambled, damaged, jump bool
	// payload is nil if the packet has none.
	payload []byte
}

// parseHeader takes a packet of 188 bytes that begins with the sync byte.
func parseHeader(b []byte) (h header, ok bool) {
	h = header{
		pid:       (uint16(b[1])<<8 | uint16(b[2])) & 0x1fff,
		counter:   b[3] & 0x0f,
		start:     b[1]&0x40 != 0,
		damaged:   b[1]&0x80 != 0,
		scrambled: b[3]&0xc0 != 0,
	}
	at := 4
	if b[3]&0x20 != 0 {
		at += 1 + int(b[4])
		if at > packetSize {
			return h, false
		}
		h.jump = b[4] > 0 && b[5]&0x80 != 0
	}
	if b[3]&0x10 != 0 && at < packetSize {
		h.payload = b[at:]
	}
	return h, true
}

// packetReader cuts a byte stream into transport packets of 188 bytes. It passes over
// what is between them: the time stamps of 192-byte packets, the parity of 204-byte
// packets, and garbage.
type packetReader struct {
	r *bufio.Reader
	// stride is the distance of sync bytes; 0 before it is known.
	stride int
	// rest is how many bytes belong to the stride of the packet returned last.
	rest    int
	garbage int
	resyncs uint64
}

func newPacketReader(r io.Reader) *packetReader {
	return &packetReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next packet. It is valid until the call after.
func (p *packetReader) next() ([]byte, error) {
	if p.rest > 0 {
		if _, err := p.r.Discard(p.rest); err != nil {
			return nil, err
		}
		p.rest = 0
	}
	for {
		if p.stride == 0 {
			if err := p.lock(); err != nil {
				return nil, err
			}
		}
		b, err := p.r.Peek(packetSize)
		if err != nil {
			return nil, err
		}
		if b[0] != syncByte {
			p.stride = 0
			p.resyncs++
			continue
		}
		if _, err := p.r.Discard(packetSize); err != nil {
			return nil, err
		}
		p.rest, p.garbage = p.stride-packetSize, 0
		return b, nil
	}
}

// lock looks for a sync byte that two more follow at the distance of a packet's size, or
// as many as there is data for.
func (p *packetReader) lock() error {
	for {
		b, err := p.r.Peek(2*204 + 1)
		if len(b) < packetSize {
			return err
		}
		if b[0] == syncByte {
			for _, stride := range []int{packetSize, 204, 192} {
				if follows(b, stride) {
					p.stride = stride
					return nil
				}
			}
		}
		if p.garbage++; p.garbage > maxGarbage {
			return broken(fmt.Sprintf("no packets of 188, 192 or 204 bytes in %d bytes", maxGarbage))
		}
		if _, err := p.r.Discard(1); err != nil {
			return err
		}
	}
}

func follows(b []byte, stride int) bool {
	for at := stride; at <= 2*stride && at < len(b); at += stride {
		if b[at] != syncByte {
			return false
		}
	}
	return len(b) > stride || len(b) == packetSize
}
