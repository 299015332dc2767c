package srt

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"onair/internal/fault"
)

// Control packet types (3.2, table 1).
const (
	ctrlHandshake = 0x0000
	ctrlKeepAlive = 0x0001
	ctrlACK       = 0x0002
	ctrlNAK       = 0x0003
	ctrlShutdown  = 0x0005
	ctrlACKACK    = 0x0006
	ctrlDropReq   = 0x0007
	ctrlUser      = 0x7FFF
)

// Extension types (3.2.1, table 5); those of key material are subtypes of ctrlUser, too.
const (
	extHSReq      = 1
	extHSRsp      = 2
	extKMReq      = 3
	extKMRsp      = 4
	extSID        = 5
	extCongestion = 6
	extFilter     = 7
	extGroup      = 8
)

// Handshake types (3.2.1, table 4).
const (
	hsInduction  = 1
	hsConclusion = 0xFFFFFFFF
	// hsMagic is what a listener that speaks version 5 answers (4.3.1.1).
	hsMagic = 0x4A17
	// hsSize is the size of a handshake without extensions.
	hsSize = 48
	// maxExtensions bounds how many a handshake may have.
	maxExtensions = 16
)

// Flags of the handshake extension (3.2.1.1.1).
const (
	flagTSBPDSend   = 1 << 0
	flagTSBPDRecv   = 1 << 1
	flagCrypt       = 1 << 2
	flagTLPktDrop   = 1 << 3
	flagPeriodicNAK = 1 << 4
	flagRexmit      = 1 << 5
	flagStream      = 1 << 6
	ourFlags        = flagTSBPDSend | flagTSBPDRecv | flagCrypt | flagTLPktDrop | flagPeriodicNAK | flagRexmit
)

const (
	seqMask = 1<<31 - 1
	msgMask = 1<<26 - 1
)

// seqDiff is a−b in the arithmetic of sequence numbers, which have 31 bits.
func seqDiff(a, b uint32) int {
	d := int((a - b) & seqMask)
	if d >= 1<<30 {
		d -= 1 << 31
	}
	return d
}

func seqAdd(a uint32, n int) uint32 { return (a + uint32(n)) & seqMask }

// header is the first sixteen bytes of every packet (3).
type header struct {
	control  bool
	typ, sub uint16
	// info is the field that each control type uses in its own way.
	info uint32
	// seq, key (which key encrypts it, 0 for none), again (it is a repetition) and msg
	// are those of a data packet.
	seq   uint32
	key   uint8
	again bool
	msg   uint32

	timestamp uint32
	dest      uint32
}

func parseHeader(b []byte) (h header, body []byte, ok bool) {
	if len(b) < headerSize {
		return h, nil, false
	}
	w0, w1 := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if h.control = w0>>31 == 1; h.control {
		h.typ, h.sub, h.info = uint16(w0>>16)&0x7FFF, uint16(w0), w1
	} else {
		h.seq, h.key, h.again, h.msg = w0, uint8(w1>>27)&3, w1>>26&1 == 1, w1&msgMask
	}
	h.timestamp, h.dest = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	return h, b[headerSize:], true
}

// append adds the header to b. A data packet is a message of its own (live mode).
func (h header) append(b []byte) []byte {
	w0, w1 := h.seq, uint32(3)<<30|uint32(h.key)<<27|h.msg&msgMask
	if h.again {
		w1 |= 1 << 26
	}
	if h.control {
		w0, w1 = 1<<31|uint32(h.typ)<<16|uint32(h.sub), h.info
	}
	b = binary.BigEndian.AppendUint32(b, w0)
	b = binary.BigEndian.AppendUint32(b, w1)
	b = binary.BigEndian.AppendUint32(b, h.timestamp)
	return binary.BigEndian.AppendUint32(b, h.dest)
}

// handshake is the content of a handshake packet (3.2.1).
type handshake struct {
	version   uint32
	cipher    uint16 // key size advertised: 0, or 2, 3, 4 for 128, 192, 256 bits
	ext       uint16
	isn       uint32
	mtu       uint32
	window    uint32
	typ       uint32
	socketID  uint32
	cookie    uint32
	peer      netip.Addr
	extension *hsExtension
	km        []byte // a key material message
	sid       string
	mode      string // of congestion control; "" is live
	filter    bool
	group     bool
}

// hsExtension is the handshake extension message (3.2.1.1).
type hsExtension struct {
	version uint32
	flags   uint32
	// recvDelay is the latency at the sender of the message, sendDelay the one that it
	// asks its peer to keep; in milliseconds.
	recvDelay, sendDelay uint16
}

func malformed(cause string) error {
	return fault.New(fault.Invalid, "read the SRT handshake", "", cause, "")
}

// parseHandshake reads a handshake. Everything in it is checked against the end of b.
func parseHandshake(b []byte) (*handshake, error) {
	if len(b) < hsSize {
		return nil, malformed("it is cut short")
	}
	u32 := func(i int) uint32 { return binary.BigEndian.Uint32(b[i:]) }
	h := &handshake{
		version: u32(0), cipher: uint16(u32(4) >> 16), ext: uint16(u32(4)),
		isn: u32(8) & seqMask, mtu: u32(12), window: u32(16), typ: u32(20), socketID: u32(24), cookie: u32(28),
	}
	if h.typ != hsConclusion || h.version < 5 {
		return h, nil
	}
	rest := b[hsSize:]
	seen := 0
	for n := 0; len(rest) > 0; n++ {
		if n == maxExtensions {
			return nil, malformed("it has too many extensions")
		}
		if len(rest) < 4 {
			return nil, malformed("an extension is cut short")
		}
		typ, size := int(binary.BigEndian.Uint16(rest)), 4*int(binary.BigEndian.Uint16(rest[2:]))
		rest = rest[4:]
		if size > len(rest) {
			return nil, malformed("an extension is longer than the packet")
		}
		if typ < 16 {
			if seen&(1<<typ) != 0 {
				return nil, malformed("an extension comes twice")
			}
			seen |= 1 << typ
		}
		if err := h.parseExtension(typ, rest[:size]); err != nil {
			return nil, err
		}
		rest = rest[size:]
	}
	return h, nil
}

func (h *handshake) parseExtension(typ int, b []byte) error {
	switch typ {
	case extHSReq, extHSRsp:
		if len(b) < 12 {
			return malformed("the handshake extension is cut short")
		}
		h.extension = &hsExtension{
			version: binary.BigEndian.Uint32(b), flags: binary.BigEndian.Uint32(b[4:]),
			recvDelay: binary.BigEndian.Uint16(b[8:]), sendDelay: binary.BigEndian.Uint16(b[10:]),
		}
	case extKMReq, extKMRsp:
		h.km = b
	case extSID:
		if len(b) > maxStreamID {
			return malformed("the stream id is longer than 512 bytes")
		}
		h.sid = swapped(b)
	case extCongestion:
		if len(b) > 16 {
			return malformed("the congestion control has a long name")
		}
		h.mode = swapped(b)
	case extFilter:
		h.filter = true
	case extGroup:
		h.group = true
	}
	return nil // others may come with later versions
}

// swapped reads a text whose 32-bit words are in little-endian order (3.2.1.3).
func swapped(b []byte) string {
	out := make([]byte, 0, len(b))
	for ; len(b) >= 4; b = b[4:] {
		out = append(out, b[3], b[2], b[1], b[0])
	}
	return strings.TrimRight(string(out), "\x00")
}

// appendText adds an extension that holds a text.
func appendText(b []byte, typ uint16, s string) []byte {
	padded := append([]byte(s), make([]byte, (4-len(s)%4)%4)...)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, uint16(len(padded)/4))
	for ; len(padded) > 0; padded = padded[4:] {
		b = append(b, padded[3], padded[2], padded[1], padded[0])
	}
	return b
}

// append adds the handshake to b. The extension field of a conclusion is set from what
// there is; request says which direction the extensions are of.
func (h *handshake) append(b []byte, request bool) []byte {
	ext := h.ext
	if h.typ == hsConclusion {
		ext = 0
		if h.extension != nil {
			ext |= 1
		}
		if h.km != nil {
			ext |= 2
		}
		if h.sid != "" {
			ext |= 4
		}
	}
	for _, v := range []uint32{h.version, uint32(h.cipher)<<16 | uint32(ext), h.isn, h.mtu, h.window, h.typ, h.socketID, h.cookie} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	b = appendAddress(b, h.peer)
	if h.typ != hsConclusion {
		return b
	}
	direction := uint16(1)
	if request {
		direction = 0
	}
	if e := h.extension; e != nil {
		b = binary.BigEndian.AppendUint16(b, extHSReq+direction)
		b = binary.BigEndian.AppendUint16(b, 3)
		b = binary.BigEndian.AppendUint32(b, e.version)
		b = binary.BigEndian.AppendUint32(b, e.flags)
		b = binary.BigEndian.AppendUint16(b, e.recvDelay)
		b = binary.BigEndian.AppendUint16(b, e.sendDelay)
	}
	if h.sid != "" {
		b = appendText(b, extSID, h.sid)
	}
	if h.km != nil {
		b = binary.BigEndian.AppendUint16(b, extKMReq+direction)
		b = binary.BigEndian.AppendUint16(b, uint16(len(h.km)/4))
		b = append(b, h.km...)
	}
	return b
}

// appendAddress adds an address as its sixteen bytes stand there: each 32-bit word in
// little-endian order.
func appendAddress(b []byte, a netip.Addr) []byte {
	var raw [16]byte
	if a = a.Unmap(); a.Is4() {
		v4 := a.As4()
		copy(raw[:], v4[:])
	} else if a.Is6() {
		raw = a.As16()
	}
	for i := 0; i < 16; i += 4 {
		b = append(b, raw[i+3], raw[i+2], raw[i+1], raw[i])
	}
	return b
}
