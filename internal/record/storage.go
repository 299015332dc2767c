package record

import (
	"context"
	"io"
)

// Storage keeps objects: a folder, or a bucket. Its methods may be called from several
// goroutines. Names are like paths: elements of letters, digits, '.', '_' and '-', which do
// not begin with a dot, joined by slashes.
type Storage interface {
	// Put stores an object. It is whole and durable when Put returns without an error, and
	// never seen in part. One of the same name is replaced. fault.Unavailable if the storage
	// is away, fault.TooLarge if it is full.
	Put(ctx context.Context, name string, chunks [][]byte) error
	// Open reads length bytes of an object from offset; to its end if length is negative, and
	// less where the object ends before. fault.NotFound if there is no such object.
	Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
	// List returns the objects whose name is prefix or begins with it and a slash, sorted by
	// name; all objects for an empty one.
	List(ctx context.Context, prefix string) ([]Object, error)
	// Delete removes the objects that List returns for prefix, which is not empty. It is not
	// an error if there are none.
	Delete(ctx context.Context, prefix string) error
}

// Object is what List tells of an object.
type Object struct {
	Name string
	Size int64 // in bytes
}

// Journals keeps the indexes of assets, which grow while they are written. Their names are
// like objects', of two elements, and end in ".log". They are no objects.
type Journals interface {
	// Append opens a journal for writing at its end, and makes it if there is none.
	Append(name string) (Journal, error)
	// Scratch opens a journal that is written over in place, and makes it if there is none.
	Scratch(name string) (Scratch, error)
	// Read opens a journal for reading. fault.NotFound if there is none.
	Read(name string) (JournalReader, error)
	// Names returns all journals, sorted.
	Names() ([]string, error)
	// Remove takes a journal away, durably. It is not an error if there is none.
	Remove(name string) error
}

// Journal is open for writing.
type Journal interface {
	io.WriteCloser
	// Sync makes what was written, and the journal's name, durable.
	Sync() error
	// Truncate cuts the journal to a size in bytes; what is written next follows there.
	Truncate(size int64) error
}

// Scratch is a journal whose bytes stay where they are on the disk, so that to write over them is
// to write nothing else.
type Scratch interface {
	io.Closer
	// WriteAt writes, and what it wrote, and the journal's name, are durable when it returns
	// without an error; after one any of it may be there. Both b and where it begins are
	// multiples of ScratchBlock bytes.
	io.WriterAt
	// Empty cuts the journal to nothing.
	Empty() error
}

// ScratchBlock is what a Scratch is written in units of, in bytes.
const ScratchBlock = 4096

// JournalReader is open for reading.
type JournalReader interface {
	io.ReaderAt
	io.Closer
	// Size is in bytes, as of when it was opened.
	Size() int64
}
