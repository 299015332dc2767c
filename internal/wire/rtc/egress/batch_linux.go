package egress

import (
	"encoding/binary"
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	n      uint32
}

// segmentControl is a control message with the size of segments (UDP_SEGMENT, udp(7)).
type segmentControl struct {
	header unix.Cmsghdr
	size   uint16
	_      [6]byte
}

// systemBatch is what one call of sendmmsg reads.
type systemBatch struct {
	raw     syscall.RawConn
	fd      int
	vectors [maxMessages]unix.Iovec
	headers [maxMessages]mmsghdr
	control [maxMessages]segmentControl
}

// prepare finds out what the kernel can. The descriptor is used as it is, since that of
// net.UDPConn lets one loop at a time write; loops end before it is closed.
func (b *batch) prepare() {
	raw, err := b.conn.SyscallConn()
	if err != nil {
		return
	}
	b.os.raw = raw
	err = raw.Control(func(fd uintptr) {
		b.os.fd = int(fd)
		_, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		b.segment = err == nil
	})
	if err != nil {
		b.os.raw = nil
	}
}

// send sends all messages, in as few calls as the kernel lets it.
func (b *batch) send() {
	if b.os.raw == nil {
		for i := range b.msgs {
			b.plain(&b.msgs[i])
		}
		return
	}
	for i := range b.msgs {
		m := &b.msgs[i]
		v, h, c := &b.os.vectors[i], &b.os.headers[i], &b.os.control[i]
		v.Base = &b.scratch[m.at]
		v.SetLen(m.end - m.at)
		h.header = unix.Msghdr{Name: &m.to.raw[0], Namelen: m.to.rawLen, Iov: v}
		h.header.SetIovlen(1)
		if m.count > 1 {
			c.header.Level, c.header.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
			c.header.SetLen(unix.CmsgLen(2))
			c.size = uint16(m.segment)
			h.header.Control = (*byte)(unsafe.Pointer(c))
			h.header.SetControllen(unix.CmsgSpace(2))
		}
	}
	for at := 0; at < len(b.msgs); {
		n, err := b.call(at)
		switch {
		case err == nil:
			at += n
		case errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL):
			// Devices that do not compute checksums cannot segment.
			if m := &b.msgs[at]; m.count > 1 {
				b.segment = false
				b.plain(m)
			} else {
				b.metrics.dropped.WithLabelValues(dropSend).Inc()
			}
			at++
		default:
			// A viewer that cannot be reached is noticed by its silence.
			b.metrics.dropped.WithLabelValues(dropSend).Add(float64(b.msgs[at].count))
			at++
		}
	}
}

// call sends messages from a place on and returns how many were. It waits for room in
// the socket, but not in the system call, of which the scheduler of goroutines therefore need
// not know: to take its thread's place away for that millisecond costs more than it brings.
func (b *batch) call(at int) (n int, err error) {
	once := func(fd int) bool {
		b.metrics.batches.Inc()
		r, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.os.headers[at])), uintptr(len(b.msgs)-at), unix.MSG_DONTWAIT, 0, 0)
		n, err = int(r), nil
		if e != 0 {
			n, err = 0, e
		}
		return e != unix.EAGAIN && e != unix.EINTR
	}
	if once(b.os.fd) {
		return n, err
	}
	if waitErr := b.os.raw.Write(func(fd uintptr) bool { return once(int(fd)) }); waitErr != nil {
		return 0, waitErr
	}
	return n, err
}

// resolve makes the system's form of an address, for a socket of IPv6 or of IPv4.
func (p *path) resolve(v6 bool) {
	ip := p.addr.Addr()
	if !v6 {
		binary.NativeEndian.PutUint16(p.raw[:], unix.AF_INET)
		binary.BigEndian.PutUint16(p.raw[2:], p.addr.Port())
		if ip = ip.Unmap(); ip.Is4() {
			four := ip.As4()
			copy(p.raw[4:], four[:])
		}
		p.rawLen = unix.SizeofSockaddrInet4
		return
	}
	binary.NativeEndian.PutUint16(p.raw[:], unix.AF_INET6)
	binary.BigEndian.PutUint16(p.raw[2:], p.addr.Port())
	sixteen := ip.As16()
	copy(p.raw[8:], sixteen[:])
	p.rawLen = unix.SizeofSockaddrInet6
}
