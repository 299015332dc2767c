//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package record

import "os"

// lock takes no lock where the system has none of this kind.
func lock(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
}
