//go:build !linux

package rtmp

import (
	"syscall"

	"onair/internal/media"
)

// tcpLink knows nothing where the kernel has no common way to be asked.
func tcpLink(syscall.RawConn, bool) media.Link { return media.Link{} }
