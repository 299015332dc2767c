package record

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"onair/internal/fault"
)

// Append opens a journal; see Journals.
func (f *Folder) Append(name string) (Journal, error) {
	const op = "open the index"
	if err := checkJournal(op, name); err != nil {
		return nil, err
	}
	parent, err := f.parents(name)
	if err != nil {
		return nil, f.unstored(op, name, err)
	}
	w, err := f.sys.edit(f.path(name))
	if err != nil {
		return nil, f.unstored(op, name, err)
	}
	if _, err := w.Seek(0, io.SeekEnd); err != nil {
		_ = w.Close() // nothing was written
		return nil, f.unstored(op, name, err)
	}
	return &folderJournal{folder: f, name: name, parent: parent, w: w}, nil
}

// Scratch opens a journal that is written over; see Journals.
func (f *Folder) Scratch(name string) (Scratch, error) {
	const op = "open the journal of parts"
	if err := checkJournal(op, name); err != nil {
		return nil, err
	}
	parent, err := f.parents(name)
	if err != nil {
		return nil, f.unstored(op, name, err)
	}
	w, err := f.sys.overwrite(f.path(name))
	if err != nil {
		return nil, f.unstored(op, name, err)
	}
	return &folderScratch{folder: f, name: name, parent: parent, w: w}, nil
}

// folderScratch is a Scratch in a Folder.
type folderScratch struct {
	folder *Folder
	name   string
	parent string
	w      durable
	named  bool // its name is durable
}

func (s *folderScratch) WriteAt(b []byte, at int64) (int, error) {
	n, err := s.w.WriteAt(b, at)
	if err == nil && !s.named {
		err = s.folder.sys.syncDir(s.parent)
		s.named = err == nil
	}
	return n, s.folder.unstored("write the journal of parts", s.name, err)
}

func (s *folderScratch) Empty() error {
	return s.folder.unstored("empty the journal of parts", s.name, s.w.Truncate(0))
}

func (s *folderScratch) Close() error { return s.w.Close() }

func checkJournal(op, name string) error {
	if !strings.HasSuffix(name, journalExt) || strings.Count(name, "/") != 1 {
		return fault.New(fault.Invalid, op, name, "an index cannot be called so", "")
	}
	return CheckName(op, name)
}

// Read opens a journal; see Journals.
func (f *Folder) Read(name string) (JournalReader, error) {
	const op = "read the index"
	if err := checkJournal(op, name); err != nil {
		return nil, err
	}
	r, err := f.sys.open(f.path(name))
	if err != nil {
		return nil, f.explain(op, name, err)
	}
	info, err := r.Stat()
	if err != nil {
		_ = r.Close() // nothing was written
		return nil, f.explain(op, name, err)
	}
	return &folderReader{r, info.Size()}, nil
}

type folderReader struct {
	file
	size int64
}

func (r *folderReader) Size() int64 { return r.size }

// Names returns journals; see Journals.
func (f *Folder) Names() ([]string, error) {
	const op = "list the indexes"
	list, err := f.sys.readDir(f.dir)
	if err != nil {
		return nil, f.explain(op, f.dir, err)
	}
	var out []string
	for _, e := range list {
		if !e.IsDir() || !wellNamed(e.Name()) {
			continue
		}
		below, err := f.sys.readDir(f.path(e.Name()))
		if err != nil {
			return nil, f.explain(op, e.Name(), err)
		}
		for _, b := range below {
			if !b.IsDir() && wellNamed(b.Name()) && strings.HasSuffix(b.Name(), journalExt) {
				out = append(out, e.Name()+"/"+b.Name())
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// Remove takes a journal away; see Journals.
func (f *Folder) Remove(name string) error {
	const op = "remove the index"
	if err := checkJournal(op, name); err != nil {
		return err
	}
	err := f.sys.remove(f.path(name))
	if err == nil {
		err = f.sys.syncDir(filepath.Dir(f.path(name)))
		f.prune(path.Dir(name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return f.explain(op, name, err)
}

// folderJournal is a journal that is being written.
type folderJournal struct {
	folder *Folder
	name   string
	parent string
	w      file
	named  bool // its name is durable
}

func (j *folderJournal) Write(b []byte) (int, error) {
	n, err := j.w.Write(b)
	return n, j.folder.unstored("write the index", j.name, err)
}

func (j *folderJournal) Sync() error {
	err := j.w.Sync()
	if err == nil && !j.named {
		err = j.folder.sys.syncDir(j.parent)
		j.named = err == nil
	}
	return j.folder.unstored("sync the index", j.name, err)
}

func (j *folderJournal) Truncate(size int64) error {
	err := j.w.Truncate(size)
	if err == nil {
		_, err = j.w.Seek(size, io.SeekStart)
	}
	return j.folder.unstored("cut the index", j.name, err)
}

func (j *folderJournal) Close() error { return j.w.Close() }
