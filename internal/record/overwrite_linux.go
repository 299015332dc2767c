package record

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

// overwrite opens a file past the cache, where that can be: what is written is read after a crash
// only, and to copy it into pages of the cache costs as much as the rest of it.
func (disk) overwrite(name string) (durable, error) {
	const flags = os.O_CREATE | os.O_WRONLY | syscall.O_DSYNC
	f, err := os.OpenFile(name, flags|syscall.O_DIRECT, 0o600)
	if err == nil {
		return &directFile{File: f, name: name}, nil
	}
	if f, err = os.OpenFile(name, flags, 0o600); err != nil {
		return nil, err
	}
	return f, nil
}

// directFile is written past the cache.
type directFile struct {
	*os.File
	name string
}

// WriteAt writes b, which need not be where the device could read it.
func (f *directFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(aligned(b), at)
	if !errors.Is(err, syscall.EINVAL) {
		return n, err
	}
	// The file system cannot do it after all, or wants larger blocks.
	cached, err := os.OpenFile(f.name, os.O_WRONLY|syscall.O_DSYNC, 0o600)
	if err != nil {
		return 0, err
	}
	_ = f.File.Close() // what it wrote is durable
	f.File = cached
	return f.File.WriteAt(b, at)
}

// aligned returns b, or a copy of it that begins at a multiple of ScratchBlock. Memory that is
// taken for as much as a part has begins there anyway.
func aligned(b []byte) []byte {
	off := func(b []byte) int {
		return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % ScratchBlock)
	}
	if off(b) == 0 {
		return b
	}
	c := make([]byte, len(b)+ScratchBlock)
	if n := off(c); n > 0 {
		c = c[ScratchBlock-n:]
	}
	return c[:copy(c, b)]
}
