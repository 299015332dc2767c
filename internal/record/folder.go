package record

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"onair/internal/fault"
)

// Folder is a Storage and keeps Journals, both in a folder of the file system. An object is
// written under another name, synced, and then given its own; the folder's own files begin
// with a dot, which no object's name does.
type Folder struct {
	dir  string
	sys  system
	lock *os.File
	temp atomic.Int64
}

const (
	lockName   = ".lock"
	tempPrefix = ".tmp-"
	journalExt = ".log"
	maxName    = 512 // bytes of an object's name
)

var errTaken = errors.New("another server records into it")

// NewFolder opens a folder, and makes it if its parent is there. fault.Conflict if another
// server has it open. What an earlier server left of objects that were not whole is removed.
func NewFolder(dir string) (*Folder, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fault.Wrap(fault.Unavailable, "open the folder of recordings", dir, err, "Make its parent folder, and let the server's user write there")
	}
	l, err := lock(filepath.Join(dir, lockName))
	if errors.Is(err, errTaken) {
		return nil, fault.Wrap(fault.Conflict, "open the folder of recordings", dir, err, "Give each server a folder of its own, or stop the other one")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "open the folder of recordings", dir, err, "Let the server's user write there")
	}
	f, err := newFolder(dir, disk{})
	if err != nil {
		_ = l.Close() // the first error is the one to tell
		return nil, err
	}
	f.lock = l
	return f, nil
}

// newFolder makes a Folder of a folder that is there.
func newFolder(dir string, sys system) (*Folder, error) {
	f := &Folder{dir: dir, sys: sys}
	list, err := sys.readDir(dir)
	if err != nil {
		return nil, f.explain("open the folder of recordings", dir, err)
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			_ = sys.remove(f.path(e.Name())) // tried again at the next start
		}
	}
	return f, nil
}

// Close lets another server have the folder.
func (f *Folder) Close() error {
	if f.lock == nil {
		return nil
	}
	return f.lock.Close()
}

func (f *Folder) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

// CheckName returns a fault.Invalid for a name that no object of a Storage can have.
func CheckName(op, name string) error {
	ok := name != "" && len(name) <= maxName
	for part := range strings.SplitSeq(name, "/") {
		ok = ok && wellNamed(part)
	}
	if !ok {
		return fault.New(fault.Invalid, op, strconv.Quote(name), "an object cannot be called so", "")
	}
	return nil
}

// wellNamed reports whether an element of a name is one.
func wellNamed(s string) bool {
	if s == "" || s[0] == '.' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// explain makes a fault of what the file system says.
func (f *Folder) explain(op, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Wrap(fault.TooLarge, op, name, err, "The disk of the recordings is full: delete some, or make it larger")
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(fault.NotFound, op, name, err, "")
	default:
		return fault.Wrap(fault.Unavailable, op, name, err, "See whether the folder of the recordings is there, and the server's user may write there")
	}
}

// Put stores an object; see Storage.
func (f *Folder) Put(ctx context.Context, name string, chunks [][]byte) error {
	const op = "store"
	if err := CheckName(op, name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	parent, err := f.parents(name)
	if err != nil {
		return f.unstored(op, name, err)
	}
	temp := f.path(tempPrefix + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(f.temp.Add(1), 10))
	if err := f.write(temp, chunks); err != nil {
		_ = f.sys.remove(temp) // tried again at the next start
		return f.unstored(op, name, err)
	}
	if err := f.sys.rename(temp, f.path(name)); err != nil {
		_ = f.sys.remove(temp) // tried again at the next start
		return f.unstored(op, name, err)
	}
	return f.unstored(op, name, f.sys.syncDir(parent))
}

// unstored explains why something was not written: what is missing then is the folder.
func (f *Folder) unstored(op, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Unavailable, op, name, err, "The folder of the recordings is not there: see whether its disk is mounted")
	}
	return f.explain(op, name, err)
}

// write makes a file and syncs it.
func (f *Folder) write(name string, chunks [][]byte) error {
	w, err := f.sys.create(name)
	if err != nil {
		return err
	}
	for _, c := range chunks {
		if _, err := w.Write(c); err != nil {
			_ = w.Close() // the first error is the one to tell
			return err
		}
	}
	if err := w.Sync(); err != nil {
		_ = w.Close() // the first error is the one to tell
		return err
	}
	return w.Close()
}

// parents makes the folders above a name, durably, and returns the lowest. The folder of all
// recordings is never made here: where it is gone, its disk may be.
func (f *Folder) parents(name string) (string, error) {
	at := f.dir
	for {
		first, rest, below := strings.Cut(name, "/")
		if !below {
			return at, nil
		}
		next := filepath.Join(at, first)
		err := f.sys.mkdir(next)
		if err == nil {
			if err = f.sys.syncDir(at); err != nil {
				_ = f.sys.remove(next) // so that it is tried again
			}
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		at, name = next, rest
	}
}

// Open reads an object; see Storage.
func (f *Folder) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	const op = "read"
	if err := CheckName(op, name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := f.sys.open(f.path(name))
	if err != nil {
		return nil, f.explain(op, name, err)
	}
	if info, err := r.Stat(); err != nil || info.IsDir() {
		_ = r.Close() // nothing was written
		return nil, f.explain(op, name, errors.Join(err, fs.ErrNotExist))
	}
	if _, err := r.Seek(max(0, offset), io.SeekStart); err != nil {
		_ = r.Close() // nothing was written
		return nil, f.explain(op, name, err)
	}
	if length < 0 {
		return r, nil
	}
	return &section{io.LimitReader(r, length), r}, nil
}

type section struct {
	io.Reader
	io.Closer
}

// List returns objects; see Storage. Journals are none.
func (f *Folder) List(ctx context.Context, prefix string) ([]Object, error) {
	var out []Object
	err := f.walk(ctx, "list", prefix, func(name string, e fs.DirEntry) error {
		if strings.HasSuffix(name, journalExt) {
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed a moment ago
		}
		if err != nil {
			return err
		}
		out = append(out, Object{Name: name, Size: info.Size()})
		return nil
	})
	slices.SortFunc(out, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// walk visits the files at and below a name.
func (f *Folder) walk(ctx context.Context, op, prefix string, visit func(string, fs.DirEntry) error) error {
	if prefix != "" {
		if err := CheckName(op, prefix); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	list, err := f.sys.readDir(f.path(prefix))
	switch {
	case errors.Is(err, fs.ErrNotExist) && prefix != "":
		return nil
	case errors.Is(err, syscall.ENOTDIR):
		return f.single(op, prefix, visit)
	case err != nil:
		return f.explain(op, prefix, err)
	}
	for _, e := range list {
		if !wellNamed(e.Name()) {
			continue
		}
		name := e.Name()
		if prefix != "" {
			name = prefix + "/" + name
		}
		if e.IsDir() {
			err = f.walk(ctx, op, name, visit)
		} else {
			err = visit(name, e)
		}
		if err != nil {
			return f.explain(op, name, err)
		}
	}
	return nil
}

// single visits a name that is a file's.
func (f *Folder) single(op, name string, visit func(string, fs.DirEntry) error) error {
	list, err := f.sys.readDir(filepath.Dir(f.path(name)))
	if err != nil {
		return f.explain(op, name, err)
	}
	for _, e := range list {
		if e.Name() == filepath.Base(f.path(name)) && !e.IsDir() {
			return visit(name, e)
		}
	}
	return nil
}

// Delete removes objects; see Storage.
func (f *Folder) Delete(ctx context.Context, prefix string) error {
	const op = "delete"
	if err := CheckName(op, prefix); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	list, err := f.List(ctx, prefix)
	if err != nil {
		return err
	}
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.Name
	}
	return f.DeleteObjects(ctx, names)
}

// DeleteObjects removes objects by their whole names, as Delete does one.
func (f *Folder) DeleteObjects(ctx context.Context, names []string) error {
	const op = "delete"
	parents := map[string]bool{}
	for _, name := range names {
		if err := CheckName(op, name); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.sys.remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return f.explain(op, name, err)
		}
		parents[path.Dir(name)] = true
	}
	for parent := range parents {
		if err := f.sys.syncDir(f.path(parent)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return f.explain(op, parent, err)
		}
		f.prune(parent)
	}
	return nil
}

// prune removes folders that have become empty.
func (f *Folder) prune(name string) {
	for ; name != "."; name = path.Dir(name) {
		if f.sys.remove(f.path(name)) != nil {
			return // it is not empty
		}
	}
}
