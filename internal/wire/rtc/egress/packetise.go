package egress

import (
	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// Types of NAL unit and of their packets (RFC 6184, RFC 7798).
const (
	h264Delimiter, h264Filler, h264STAP, h264FU = 9, 12, 24, 28
	hevcDelimiter, hevcFiller, hevcAP, hevcFU   = 35, 38, 48, 49
)

// Types of OBU that are left out of RTP (AV1 RTP specification, section 5).
const (
	obuSequenceHeader, obuTemporalDelimiter, obuTileList, obuPadding = 1, 2, 8, 15
)

// carver cuts payloads out of one buffer.
type carver struct {
	buf   []byte
	start int
	out   [][]byte
}

// cut ends a payload.
func (c *carver) cut() {
	c.out = append(c.out, c.buf[c.start:len(c.buf):len(c.buf)])
	c.start = len(c.buf)
}

// packetise makes the RTP payloads of a packet. The pieces of what does not fit in one
// are of equal size, but for the last, so that they can be sent in one system call.
func packetise(p *media.Packet) ([][]byte, error) {
	if len(p.Data) == 0 || len(p.Data) > maxFrame {
		return nil, fault.New(fault.TooLarge, "packetise for WebRTC", p.Track.Codec.String(), "the frame is empty or too large", "Send smaller frames")
	}
	c := &carver{buf: make([]byte, 0, len(p.Data)+len(p.Data)/64+256)}
	switch p.Track.Codec {
	case media.H264, media.HEVC:
		if err := c.pictures(p); err != nil {
			return nil, err
		}
	case media.AV1:
		if err := c.units(p); err != nil {
			return nil, err
		}
	case media.VP8:
		// RFC 7741: nothing but the start of the first partition is told.
		c.pieces(p.Data, 0x10, 0x00, 0)
	case media.VP9:
		// RFC 9628: no picture numbers, so that feeds can be switched; P for pictures that
		// refer to others, B and E for the ends of a frame.
		var base byte
		if !p.Key {
			base = 0x40
		}
		c.pieces(p.Data, base|0x08, base, 0x04)
	case media.Opus:
		if len(p.Data) > maxPayload {
			return nil, fault.New(fault.TooLarge, "packetise for WebRTC", "Opus", "the packet is too large", "Send shorter packets")
		}
		c.buf = append(c.buf, p.Data...)
		c.cut()
	default:
		return nil, fault.New(fault.Unsupported, "packetise for WebRTC", p.Track.Codec.String(), "WebRTC does not carry this codec", "Send H.264, HEVC, AV1, VP9, VP8 or Opus")
	}
	return c.out, nil
}

// equal is the size of n bytes' pieces of at most limit.
func equal(n, limit int) int {
	count := (n + limit - 1) / limit
	return (n + count - 1) / count
}

// pieces cuts a frame behind descriptors of one byte: first, next, and last added to the
// last.
func (c *carver) pieces(data []byte, first, next, last byte) {
	size := equal(len(data), maxPayload-1)
	for at := 0; at < len(data); at += size {
		d := next
		if at == 0 {
			d = first
		}
		end := min(at+size, len(data))
		if end == len(data) {
			d |= last
		}
		c.buf = append(append(c.buf, d), data[at:end]...)
		c.cut()
	}
}

// pictures packs NAL units (RFC 6184 in mode 1, RFC 7798): small ones together, large ones
// in pieces. Key frames have the parameter sets before them.
func (c *carver) pictures(p *media.Packet) error {
	hevc := p.Track.Codec == media.HEVC
	var few [][]byte
	size := 0
	flush := func() {
		c.together(few, hevc)
		few, size = few[:0], 0
	}
	add := func(nal []byte) {
		if len(nal) > maxPayload {
			flush()
			c.fragments(nal, hevc)
			return
		}
		if size+len(nal)+4 > maxPayload {
			flush()
		}
		few = append(few, nal)
		size += len(nal) + 2
	}
	if p.Key {
		for _, set := range bitstream.ParameterSets(p.Track) {
			add(set)
		}
	}
	for nal, err := range bitstream.NALUs(p.Data) {
		if err != nil {
			return fault.Wrap(fault.Invalid, "packetise for WebRTC", p.Track.Codec.String(), err, "")
		}
		if len(nal) < 2 {
			continue
		}
		switch kind := nal[0] & 31; {
		case !hevc && (kind == h264Delimiter || kind == h264Filler):
			continue
		case hevc:
			if kind := nal[0] >> 1 & 63; kind == hevcDelimiter || kind == hevcFiller {
				continue
			}
		}
		add(nal)
	}
	flush()
	if len(c.out) == 0 {
		return fault.New(fault.Invalid, "packetise for WebRTC", p.Track.Codec.String(), "the picture has no NAL unit", "")
	}
	return nil
}

// together packs NAL units in one packet.
func (c *carver) together(nals [][]byte, hevc bool) {
	switch {
	case len(nals) == 0:
		return
	case len(nals) == 1:
		c.buf = append(c.buf, nals[0]...)
		c.cut()
		return
	case hevc:
		c.buf = append(c.buf, hevcAP<<1, 1)
	default:
		var importance byte
		for _, n := range nals {
			importance = max(importance, n[0]&0x60)
		}
		c.buf = append(c.buf, importance|h264STAP)
	}
	for _, n := range nals {
		c.buf = append(append(c.buf, byte(len(n)>>8), byte(len(n))), n...)
	}
	c.cut()
}

// fragments cuts a NAL unit.
func (c *carver) fragments(nal []byte, hevc bool) {
	var head [3]byte
	var kind byte
	data, n := nal[1:], 2
	if hevc {
		head[0], head[1] = nal[0]&0x81|hevcFU<<1, nal[1]
		kind, data, n = nal[0]>>1&63, nal[2:], 3
	} else {
		head[0], kind = nal[0]&0xe0|h264FU, nal[0]&31
	}
	size := equal(len(data), maxPayload-n)
	for at := 0; at < len(data); at += size {
		end := min(at+size, len(data))
		fu := kind
		if at == 0 {
			fu |= 0x80
		}
		if end == len(data) {
			fu |= 0x40
		}
		head[n-1] = fu
		c.buf = append(append(c.buf, head[:n]...), data[at:end]...)
		c.cut()
	}
}

// units packs OBUs (RTP Payload Format for AV1, section 4), each behind its length.
func (c *carver) units(p *media.Packet) error {
	var stream []byte   // the elements, each with its length, as one text
	var starts [][2]int // where the lengths and the elements begin
	var ends []int
	add := func(raw, payload []byte) {
		head := 1 + int(raw[0]>>2&1)
		starts = append(starts, [2]int{len(stream), 0})
		stream = append(stream, raw[0]&^2) // without a size field
		if head == 2 {
			stream = append(stream, raw[1])
		}
		stream = append(stream, payload...)
		ends = append(ends, len(stream))
	}
	var sequence bool
	for o, err := range bitstream.OBUs(p.Data) {
		if err != nil {
			return fault.Wrap(fault.Invalid, "packetise for WebRTC", "AV1", err, "")
		}
		sequence = sequence || o.Type == obuSequenceHeader
	}
	if p.Key && !sequence && len(p.Track.Config) > 4 {
		for o, err := range bitstream.OBUs(p.Track.Config[4:]) {
			if err == nil && o.Type == obuSequenceHeader {
				add(o.Raw, o.Payload)
			}
		}
	}
	for o, err := range bitstream.OBUs(p.Data) {
		if err != nil {
			return fault.Wrap(fault.Invalid, "packetise for WebRTC", "AV1", err, "")
		}
		switch o.Type {
		case obuTemporalDelimiter, obuTileList, obuPadding:
		default:
			add(o.Raw, o.Payload)
		}
	}
	if len(ends) == 0 {
		return fault.New(fault.Invalid, "packetise for WebRTC", "AV1", "the temporal unit has no OBU", "")
	}
	// A packet holds pieces of elements, each behind a length of at most two bytes.
	limit := equal(len(stream)+2*len(ends), maxPayload-3)
	room := 0
	var aggregation int // where the header of the packet is
	open := func(again bool) {
		aggregation = len(c.buf)
		c.buf = append(c.buf, 0)
		if again {
			c.buf[aggregation] |= 0x80 // Z: it goes on with an element
		}
		if len(c.out) == 0 && p.Key {
			c.buf[aggregation] |= 0x08 // N: a new coded video sequence
		}
		room = limit
	}
	open(false)
	for i, s := range starts {
		element := stream[s[0]:ends[i]]
		for first := true; first || len(element) > 0; first = false {
			if room < 3 {
				if !first {
					c.buf[aggregation] |= 0x40 // Y: its last element goes on
				}
				c.cut()
				open(!first)
			}
			n := min(len(element), room-2)
			if n < 128 {
				c.buf = append(c.buf, byte(n))
			} else {
				c.buf = append(c.buf, byte(n)|0x80, byte(n>>7))
			}
			c.buf = append(c.buf, element[:n]...)
			element, room = element[n:], room-n-2
		}
	}
	c.cut()
	return nil
}
