package rtc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"onair/internal/media"
)

const (
	// maxFrame bounds an access unit, in bytes.
	maxFrame = 8 << 20
	// maxUnits bounds the NAL units of an access unit.
	maxUnits = 4096
)

var (
	errFrameSize = fmt.Errorf("an access unit has more than %d bytes", maxFrame)
	errUnits     = fmt.Errorf("an access unit has more than %d units", maxUnits)
	errShort     = errors.New("a packet is cut short")
	errFragment  = errors.New("a fragment has no beginning")
)

// frame is an access unit as the packets of one RTP time stamp make it, in the shape
// that media.Codec documents but for parameter sets.
type frame struct {
	timestamp uint32
	data      []byte
	// broken tells why the frame must not be used; empty if it may.
	broken string
}

// Reasons why a frame is broken: the values of the label "reason".
const (
	brokenLoss      = "loss"
	brokenMalformed = "malformed"
	brokenNoKey     = "no_key"
	brokenConfig    = "config"
	brokenLate      = "late"
)

// assembler makes access units of the packets of a video stream, which come in order.
type assembler struct {
	codec media.Codec
	parts depacketizer

	open    bool
	current frame
	began   bool // the frame before the next packet ended with a marker
}

func newAssembler(c media.Codec) *assembler {
	a := &assembler{codec: c}
	a.reset()
	return a
}

func (a *assembler) reset() {
	switch a.codec {
	case media.H264:
		a.parts = &h264Parts{}
	case media.HEVC:
		a.parts = &h265Parts{}
	case media.AV1:
		a.parts = &av1Parts{}
	case media.VP9:
		a.parts = &vp9Parts{}
	default:
		a.parts = &vp8Parts{}
	}
}

// push takes the next packet. lost says that packets before it are missing. It returns
// the frames that are finished: none, one or two.
func (a *assembler) push(p *rtp.Packet, lost bool) []frame {
	var out []frame
	if lost && a.open {
		a.current.broken = brokenLoss
	}
	if a.open && p.Timestamp != a.current.timestamp {
		// Without a marker the frame may be whole all the same: some senders set none.
		out = append(out, a.finish())
		a.began = !lost
	}
	if len(p.Payload) == 0 {
		// Padding, sent to probe the network.
		return out
	}
	if !a.open {
		a.open = true
		a.current = frame{timestamp: p.Timestamp}
		a.parts.begin()
		if (lost || !a.began) && !a.parts.starts(p.Payload) {
			a.current.broken = brokenLoss
		}
	}
	if a.current.broken == "" {
		if err := a.parts.add(p.Payload); err != nil {
			a.current.broken = brokenMalformed
		}
	}
	a.began = false
	if p.Marker {
		out = append(out, a.finish())
		a.began = true
	}
	return out
}

func (a *assembler) finish() frame {
	a.open = false
	f := a.current
	if f.broken == "" {
		var err error
		if f.data, err = a.parts.end(); err != nil {
			f.broken = brokenMalformed
		}
	}
	a.current = frame{}
	return f
}

// depacketizer joins the payloads of one access unit.
type depacketizer interface {
	// begin forgets what was before.
	begin()
	// starts tells whether an access unit certainly begins with the payload.
	starts(payload []byte) bool
	add(payload []byte) error
	// end returns the access unit. It does not belong to the depacketizer any more.
	end() ([]byte, error)
}

// units gathers NAL units behind 4-byte lengths.
type units struct {
	out []byte
	n   int
	// open is the place of the length of the fragmented unit that is being joined; -1 if none is.
	open int
}

func (u *units) begin() { *u = units{open: -1} }

func (u *units) unit(parts ...[]byte) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if u.n++; u.n > maxUnits {
		return errUnits
	}
	if len(u.out)+size+4 > maxFrame {
		return errFrameSize
	}
	u.out = binary.BigEndian.AppendUint32(u.out, uint32(size))
	for _, p := range parts {
		u.out = append(u.out, p...)
	}
	return nil
}

func (u *units) more(b []byte) error {
	if u.open < 0 {
		return errFragment
	}
	if len(u.out)+len(b) > maxFrame {
		return errFrameSize
	}
	u.out = append(u.out, b...)
	return nil
}

// fragment takes a part of a unit that was cut. header is the unit's own.
func (u *units) fragment(first, last bool, header, body []byte) error {
	if first {
		if u.open >= 0 {
			return errFragment
		}
		at := len(u.out)
		if err := u.unit(header, body); err != nil {
			return err
		}
		u.open = at
	} else if err := u.more(body); err != nil {
		return err
	}
	if last {
		binary.BigEndian.PutUint32(u.out[u.open:], uint32(len(u.out)-u.open-4))
		u.open = -1
	}
	return nil
}

// aggregate takes the units of an aggregation packet, each behind a 2-byte length.
func (u *units) aggregate(b []byte) error {
	for len(b) > 0 {
		if len(b) < 2 {
			return errShort
		}
		n := int(binary.BigEndian.Uint16(b))
		if n > len(b)-2 {
			return errShort
		}
		if n > 0 {
			if err := u.unit(b[2 : 2+n]); err != nil {
				return err
			}
		}
		b = b[2+n:]
	}
	return nil
}

func (u *units) end() ([]byte, error) {
	if u.open >= 0 {
		return nil, errFragment
	}
	return u.out, nil
}

// h264Parts is RFC 6184 in packetization modes 0 and 1.
type h264Parts struct{ units }

func (h *h264Parts) add(b []byte) error {
	switch kind := b[0] & 0x1f; {
	case kind >= 1 && kind <= 23:
		return h.unit(b)
	case kind == 24: // STAP-A
		return h.aggregate(b[1:])
	case kind == 28: // FU-A
		if len(b) < 3 {
			return errShort
		}
		return h.fragment(b[1]&0x80 != 0, b[1]&0x40 != 0, []byte{b[0]&0xe0 | b[1]&0x1f}, b[2:])
	default:
		return fmt.Errorf("packets of type %d are not taken", kind)
	}
}

func (*h264Parts) starts(b []byte) bool {
	kind := b[0] & 0x1f
	if kind == 24 && len(b) > 3 {
		kind = b[3] & 0x1f
	}
	return kind == 7 || kind == 9
}

// h265Parts is RFC 7798 without DONL.
type h265Parts struct{ units }

func (h *h265Parts) add(b []byte) error {
	if len(b) < 3 {
		return errShort
	}
	switch kind := b[0] >> 1 & 0x3f; {
	case kind < 48:
		return h.unit(b)
	case kind == 48: // AP
		return h.aggregate(b[2:])
	case kind == 49: // FU
		if len(b) < 4 {
			return errShort
		}
		return h.fragment(b[2]&0x80 != 0, b[2]&0x40 != 0, []byte{b[0]&0x81 | b[2]&0x3f<<1, b[1]}, b[3:])
	default:
		return fmt.Errorf("packets of type %d are not taken", kind)
	}
}

func (*h265Parts) starts(b []byte) bool {
	if len(b) < 5 {
		return false
	}
	kind := b[0] >> 1 & 0x3f
	if kind == 48 {
		kind = b[4] >> 1 & 0x3f
	}
	return kind == 32 || kind == 35
}

// plain gathers payloads that only follow each other.
type plain struct{ out []byte }

func (p *plain) begin() { p.out = nil }

func (p *plain) append(b []byte) error {
	if len(p.out)+len(b) > maxFrame {
		return errFrameSize
	}
	p.out = append(p.out, b...)
	return nil
}

func (p *plain) end() ([]byte, error) {
	if len(p.out) == 0 {
		return nil, errShort
	}
	return p.out, nil
}

// vp8Parts is RFC 7741.
type vp8Parts struct{ plain }

func (v *vp8Parts) add(b []byte) error {
	var d codecs.VP8Packet
	body, err := d.Unmarshal(b)
	if err != nil {
		return err
	}
	if len(v.out) == 0 && (d.S == 0 || d.PID != 0) {
		return errFragment
	}
	return v.append(body)
}

func (*vp8Parts) starts(b []byte) bool { return b[0]&0x10 != 0 && b[0]&0x07 == 0 }

// vp9Parts is RFC 9628, of one spatial layer: nothing asks senders for more.
type vp9Parts struct{ plain }

func (v *vp9Parts) add(b []byte) error {
	var d codecs.VP9Packet
	body, err := d.Unmarshal(b)
	if err != nil {
		return err
	}
	if len(v.out) == 0 && !d.B {
		return errFragment
	}
	if d.SID > 0 {
		return errors.New("spatial layers of VP9 are not taken")
	}
	return v.append(body)
}

func (*vp9Parts) starts(b []byte) bool { return b[0]&0x08 != 0 }

// av1Parts is the RTP payload format of AV1.
type av1Parts struct {
	plain
	codecs.AV1Depacketizer
	open bool
}

func (a *av1Parts) begin() { *a = av1Parts{} }

func (a *av1Parts) add(b []byte) error {
	if len(b) < 2 {
		return errShort
	}
	if continues := b[0]&0x80 != 0; continues != a.open {
		return errFragment
	}
	a.open = b[0]&0x40 != 0
	body, err := a.Unmarshal(b)
	if err != nil {
		return err
	}
	return a.append(body)
}

func (a *av1Parts) end() ([]byte, error) {
	if a.open {
		return nil, errFragment
	}
	return a.out, nil
}

func (*av1Parts) starts(b []byte) bool { return b[0]&0x88 == 0x08 }
