package record

import (
	"os"

	"onair/internal/fault"
)

// ReadFolder opens a folder to be looked at, which a server may be recording into meanwhile.
// What would change it is a fault.Unavailable.
func ReadFolder(dir string) (*Folder, error) {
	const op = "open the folder of recordings"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fault.Wrap(fault.NotFound, op, dir, err, "Name the data folder of the server with --data. Without one, nothing was recorded there yet")
	}
	return newFolder(dir, unchanged{})
}

// unchanged is the system's file system to somebody who only looks.
type unchanged struct{ disk }

func (unchanged) create(string) (file, error)       { return nil, os.ErrPermission }
func (unchanged) edit(string) (file, error)         { return nil, os.ErrPermission }
func (unchanged) overwrite(string) (durable, error) { return nil, os.ErrPermission }
func (unchanged) mkdir(string) error                { return os.ErrPermission }
func (unchanged) rename(string, string) error       { return os.ErrPermission }
func (unchanged) remove(string) error               { return os.ErrPermission }
