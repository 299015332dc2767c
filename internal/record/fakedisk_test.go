package record

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

// fakeDisk is a file system that forgets what was not synced when its power is cut: bytes of
// files and, apart from those, names in folders.
type fakeDisk struct {
	mu      sync.Mutex
	now     map[string]*inode
	durable map[string]*inode
	// cutAfter is how many operations work before the power is cut; endless if negative.
	cutAfter int
	ops      int
	// fail, if it is set, may make an operation fail.
	fail func(op, name string) error
}

type inode struct {
	dir    bool
	data   []byte
	synced []byte
}

var errCut = errors.New("the power is cut")

func newFakeDisk() *fakeDisk {
	root := &inode{dir: true}
	return &fakeDisk{now: map[string]*inode{"r": root}, durable: map[string]*inode{"r": root}, cutAfter: -1}
}

// do counts an operation and holds the lock for it.
func (d *fakeDisk) do(op, name string, f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cutAfter >= 0 && d.ops >= d.cutAfter {
		return errCut
	}
	d.ops++
	if d.fail != nil {
		if err := d.fail(op, name); err != nil {
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	if err := f(); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// reboot is the disk after the power came back. Of what was not synced some bytes may be
// there, and others in their place.
func (d *fakeDisk) reboot(r *rand.Rand) *fakeDisk {
	next := newFakeDisk()
	for name, n := range d.durable {
		whole := true
		for p := filepath.Dir(name); p != "."; p = filepath.Dir(p) {
			whole = whole && d.durable[p] != nil
		}
		if !whole {
			continue
		}
		data := append([]byte(nil), n.synced...)
		for at := 0; at < min(len(data), len(n.data)); at += ScratchBlock {
			end := min(at+ScratchBlock, len(data), len(n.data))
			if r.IntN(2) == 0 { // written over, block by block in any order
				copy(data[at:end], n.data[at:end])
			}
		}
		if extra := len(n.data) - len(data); extra > 0 && r.IntN(2) == 0 {
			more := append([]byte(nil), n.data[len(data):len(data)+r.IntN(extra+1)]...)
			if len(more) > 0 && r.IntN(2) == 0 {
				clear(more[r.IntN(len(more)):])
			}
			data = append(data, more...)
		}
		c := &inode{dir: n.dir, data: data, synced: append([]byte(nil), data...)}
		next.now[name], next.durable[name] = c, c
	}
	return next
}

func (d *fakeDisk) parent(name string) error {
	if p := d.now[filepath.Dir(name)]; p == nil || !p.dir {
		return fs.ErrNotExist
	}
	return nil
}

func (d *fakeDisk) create(name string) (file, error) {
	var f *fakeFile
	return opened2(&f, d.do("create", name, func() error {
		if err := d.parent(name); err != nil {
			return err
		}
		if d.now[name] != nil {
			return fs.ErrExist
		}
		n := &inode{}
		d.now[name] = n
		f = &fakeFile{d: d, n: n, name: name}
		return nil
	}))
}

func (d *fakeDisk) edit(name string) (file, error) {
	var f *fakeFile
	return opened2(&f, d.do("edit", name, func() error {
		if err := d.parent(name); err != nil {
			return err
		}
		if d.now[name] == nil {
			d.now[name] = &inode{}
		}
		f = &fakeFile{d: d, n: d.now[name], name: name}
		return nil
	}))
}

func (d *fakeDisk) open(name string) (file, error) {
	var f *fakeFile
	return opened2(&f, d.do("open", name, func() error {
		if d.now[name] == nil {
			return fs.ErrNotExist
		}
		f = &fakeFile{d: d, n: d.now[name], name: name}
		return nil
	}))
}

func (d *fakeDisk) overwrite(name string) (durable, error) {
	f, err := d.edit(name)
	if err != nil {
		return nil, err
	}
	return fakeDurable{f.(*fakeFile)}, nil
}

// fakeDurable is a file whose writes are durable, in two operations: between them any of its
// blocks may be so.
type fakeDurable struct{ *fakeFile }

func (f fakeDurable) WriteAt(b []byte, at int64) (int, error) {
	if at%ScratchBlock != 0 || len(b)%ScratchBlock != 0 {
		return 0, syscall.EINVAL
	}
	err := f.d.do("write", f.name, func() error {
		end := int(at) + len(b)
		data := make([]byte, max(end, len(f.n.data))) // elsewhere: it is read meanwhile
		copy(data, f.n.data)
		copy(data[at:], b)
		f.n.data = data
		return nil
	})
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func opened2(f **fakeFile, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return *f, nil
}

func (d *fakeDisk) mkdir(name string) error {
	return d.do("mkdir", name, func() error {
		if err := d.parent(name); err != nil {
			return err
		}
		if d.now[name] != nil {
			return fs.ErrExist
		}
		d.now[name] = &inode{dir: true}
		return nil
	})
}

func (d *fakeDisk) rename(from, to string) error {
	return d.do("rename", to, func() error {
		if err := d.parent(to); err != nil {
			return err
		}
		n := d.now[from]
		if n == nil {
			return fs.ErrNotExist
		}
		delete(d.now, from)
		d.now[to] = n
		return nil
	})
}

func (d *fakeDisk) remove(name string) error {
	return d.do("remove", name, func() error {
		if d.now[name] == nil {
			return fs.ErrNotExist
		}
		for other := range d.now {
			if strings.HasPrefix(other, name+"/") {
				return errors.New("not empty")
			}
		}
		delete(d.now, name)
		return nil
	})
}

func (d *fakeDisk) readDir(name string) (out []fs.DirEntry, err error) {
	return out, d.do("readdir", name, func() error {
		n := d.now[name]
		if n == nil {
			return fs.ErrNotExist
		}
		if !n.dir {
			return syscall.ENOTDIR
		}
		for other, n := range d.now {
			if filepath.Dir(other) == name && other != name {
				out = append(out, fs.FileInfoToDirEntry(info{filepath.Base(other), n}))
			}
		}
		sort.Slice(out, func(i, j int) bool { return out[i].Name() < out[j].Name() })
		return nil
	})
}

func (d *fakeDisk) syncDir(name string) error {
	return d.do("syncdir", name, func() error {
		if d.now[name] == nil {
			return fs.ErrNotExist
		}
		for other := range d.durable {
			if filepath.Dir(other) == name && d.now[other] == nil {
				delete(d.durable, other)
			}
		}
		for other, n := range d.now {
			if filepath.Dir(other) == name {
				d.durable[other] = n
			}
		}
		return nil
	})
}

type info struct {
	name string
	n    *inode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return int64(len(i.n.data)) }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.n.dir }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.n.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}

type fakeFile struct {
	d    *fakeDisk
	n    *inode
	name string
	at   int64
}

func (f *fakeFile) Read(b []byte) (n int, err error) {
	n, err = f.ReadAt(b, f.at)
	f.at += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (f *fakeFile) ReadAt(b []byte, at int64) (n int, err error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if at >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	if n = copy(b, f.n.data[at:]); n < len(b) {
		err = io.EOF
	}
	return n, err
}

func (f *fakeFile) Write(b []byte) (int, error) {
	err := f.d.do("write", f.name, func() error {
		f.n.data = append(f.n.data[:f.at:f.at], b...)
		f.at += int64(len(b))
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *fakeFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		f.at = offset
	case io.SeekEnd:
		f.at = int64(len(f.n.data)) + offset
	}
	return f.at, nil
}

func (f *fakeFile) Sync() error {
	return f.d.do("sync", f.name, func() error {
		f.n.synced = append([]byte(nil), f.n.data...)
		return nil
	})
}

func (f *fakeFile) Truncate(size int64) error {
	return f.d.do("truncate", f.name, func() error {
		f.n.data = f.n.data[:min(size, int64(len(f.n.data)))]
		return nil
	})
}

func (f *fakeFile) Stat() (fs.FileInfo, error) { return info{filepath.Base(f.name), f.n}, nil }
func (f *fakeFile) Close() error               { return nil }
