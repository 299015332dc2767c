package rtmp

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"onair/internal/media"
)

// tcpLink asks the kernel (tcp(7), TCP_INFO).
func tcpLink(raw syscall.RawConn, sending bool) media.Link {
	var l media.Link
	if raw == nil {
		return l
	}
	var info *unix.TCPInfo
	var err error
	if ctl := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); ctl != nil || err != nil {
		return l
	}
	if info.Rtt > 0 {
		rtt := time.Duration(info.Rtt) * time.Microsecond
		l.RTT = &rtt
	}
	packets := uint64(info.Data_segs_in)
	if sending {
		packets = uint64(info.Data_segs_out)
		again := uint64(info.Total_retrans)
		l.Retransmitted = &again
	}
	l.Packets = &packets
	return l
}
