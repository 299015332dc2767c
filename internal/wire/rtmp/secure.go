package rtmp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"onair/internal/fault"
)

const (
	// tlsRecord is the first byte of a client that speaks TLS: a handshake record.
	tlsRecord = 0x16
	// mixupPause is the least time between two warnings that a client took the wrong
	// port: an encoder tries again every few seconds, a scanner more often.
	mixupPause = time.Minute
)

// secure shakes hands for TLS where the line is one of TLS. The deadlines of the socket
// around the line hold for it.
func secure(ctx context.Context, line net.Conn) error {
	c, ok := line.(*tls.Conn)
	if !ok {
		return nil
	}
	err := c.HandshakeContext(ctx)
	var other tls.RecordHeaderError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &other) && other.RecordHeader[0] == rtmpVersion:
		return &mixup{fault.New(fault.Invalid, "shake hands over", "RTMPS", "the client speaks plain RTMP on the port for RTMPS",
			"Use an address that begins with rtmps://, or the port for RTMP")}
	case errors.As(err, &other):
		return fault.New(fault.Invalid, "shake hands over", "RTMPS", "the client does not speak TLS", "Check what connects to this port")
	default:
		return err
	}
}

// mixup is what a client is refused with that speaks TLS where it should not, or the
// other way round. People do that by hand, so that the log says it aloud.
type mixup struct{ fault *fault.Error }

func (m *mixup) Error() string { return m.fault.Error() }
func (m *mixup) Unwrap() error { return m.fault }

func mixupOf(err error) *mixup {
	var m *mixup
	if errors.As(err, &m) {
		return m
	}
	return nil
}

// mixups bounds how often mix-ups are told, of both kinds together.
type mixups struct {
	mu   sync.Mutex
	last time.Time
}

func (m *mixups) tell(log *slog.Logger, protocol string, peer net.Addr, err *mixup) {
	m.mu.Lock()
	now := time.Now()
	quiet := !m.last.IsZero() && now.Sub(m.last) < mixupPause
	if !quiet {
		m.last = now
	}
	m.mu.Unlock()
	if !quiet {
		log.Warn("a client took the wrong port", "protocol", protocol, "peer", peer.String(), "reason", err.Error())
	}
}
