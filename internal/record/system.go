package record

import (
	"io"
	"io/fs"
	"os"
)

// system is what a Folder asks of a file system, so that a test can put one under it that
// loses what was not synced.
type system interface {
	// create makes a file that must not be there; edit opens one for writing, and makes it if
	// there is none.
	create(name string) (file, error)
	edit(name string) (file, error)
	open(name string) (file, error)
	// overwrite opens a file to write in place, and makes it if there is none.
	overwrite(name string) (durable, error)
	mkdir(name string) error
	rename(from, to string) error
	remove(name string) error // a file, or an empty folder
	readDir(name string) ([]fs.DirEntry, error)
	// syncDir makes what happened to the names in a folder durable.
	syncDir(name string) error
}

type file interface {
	io.Reader
	io.Writer
	io.ReaderAt
	io.Seeker
	io.Closer
	Sync() error
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
}

// durable is a file that is written in blocks of ScratchBlock, which are durable when WriteAt
// returns.
type durable interface {
	io.WriterAt
	io.Closer
	Truncate(size int64) error
}

// disk is the system's file system.
type disk struct{}

func (disk) create(name string) (file, error) {
	return opened(os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600))
}

func (disk) edit(name string) (file, error) {
	return opened(os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600))
}

func (disk) open(name string) (file, error) { return opened(os.Open(name)) }

// opened keeps a nil file from becoming an interface that is not nil.
func opened(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (disk) mkdir(name string) error                    { return os.Mkdir(name, 0o700) }
func (disk) rename(from, to string) error               { return os.Rename(from, to) }
func (disk) remove(name string) error                   { return os.Remove(name) }
func (disk) readDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

func (disk) syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		_ = d.Close() // the first error is the one to tell
		return err
	}
	return d.Close()
}
