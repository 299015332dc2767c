package record

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
)

// What a Storage needs of this package that keeps objects in a Folder until another one has
// them.

// Recent is what a Storage has besides that knows which of its objects may be missing from an
// index: those it holds back until the index lists them. After a crash nothing else of it is
// listed, so that a storage that is far, or away, keeps nobody waiting.
type Recent interface {
	// Recent returns these as List does.
	Recent(ctx context.Context, prefix string) ([]Object, error)
}

// unindexed lists the objects of an asset that may be missing from its index. Of a damaged
// one that is any.
func (l *Library) unindexed(ctx context.Context, id string, damaged bool) ([]Object, error) {
	if s, ok := l.storage.(Recent); ok && !damaged {
		return s.Recent(ctx, id)
	}
	return l.storage.List(ctx, id)
}

// unknown returns how many indexes there are at least that Names of the journals may not have
// told of: a far storage was away. What they need of other assets is not known then.
func (l *Library) unknown() int {
	if j, ok := l.journals.(interface{ Partial() bool }); ok && j.Partial() {
		return 1
	}
	return 0
}

// IndexEnded reports whether the index of an asset has its end: nobody records it any more.
// Its last 8 KiB are enough.
func IndexEnded(r io.ReaderAt, size int64) (bool, error) {
	end, err := readEnd(r, size)
	return end != nil, err
}

// Drop removes one object, durably, and leaves the folders above it, so that others may be
// stored there meanwhile. It is not an error if there is none.
func (f *Folder) Drop(name string) error {
	const op = "delete"
	if err := CheckName(op, name); err != nil {
		return err
	}
	err := f.sys.remove(f.path(name))
	if err == nil {
		err = f.sys.syncDir(filepath.Dir(f.path(name)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return f.explain(op, name, err)
}

// Tidy removes the folders at and below a name, or all for an empty one, that hold nothing.
// Nobody may store anything there meanwhile.
func (f *Folder) Tidy(prefix string) {
	list, err := f.sys.readDir(f.path(prefix))
	if err != nil {
		return // it is none
	}
	for _, e := range list {
		if !e.IsDir() || !wellNamed(e.Name()) {
			continue
		}
		name := e.Name()
		if prefix != "" {
			name = prefix + "/" + name
		}
		f.Tidy(name)
		_ = f.sys.remove(f.path(name)) // fails if it holds something
	}
}
