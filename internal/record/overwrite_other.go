//go:build !linux

package record

import (
	"os"
)

func (disk) overwrite(name string) (durable, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_SYNC, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}
