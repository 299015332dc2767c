package mp4file

import (
	"context"
	"io"
)

// piece is a part of a chunk: bytes of the segment, or some that are put between them.
type piece struct {
	from, size int64  // in the segment
	data       []byte // if these are not the segment's
}

// pieces are what the bytes [from, to) of a segment's payload are made of, with prefix
// before each sync sample.
func (s *Segment) pieces(prefix []byte, from, to int64) ([]piece, error) {
	extents, err := s.Table.extents(s.Size)
	if err != nil {
		return nil, err
	}
	var list []piece
	pos := int64(0) // in the chunk, of what comes next
	put := func(p piece) {
		lo, hi := max(from-pos, 0), min(to-pos, p.size)
		pos += p.size
		if lo >= hi {
			return
		}
		if p.data != nil {
			list = append(list, piece{data: p.data[lo:hi], size: hi - lo})
		} else {
			list = append(list, piece{from: p.from + lo, size: hi - lo})
		}
	}
	if len(prefix) == 0 {
		for _, e := range extents {
			put(piece{from: e.from, size: e.size})
		}
		return list, nil
	}
	r, err := s.Table.read(s.Size)
	if err != nil {
		return nil, err
	}
	// take puts the next n bytes of payload.
	take := func(n int64) {
		for n > 0 && len(extents) > 0 {
			e := &extents[0]
			m := min(n, e.size)
			if m > 0 {
				put(piece{from: e.from, size: m})
			}
			e.from, e.size, n = e.from+m, e.size-m, n-m
			if e.size == 0 {
				extents = extents[1:]
			}
		}
	}
	run := int64(0) // bytes of samples without a prefix between them
	for pos+run < to {
		v, ok := r.next()
		if !ok {
			break
		}
		if v.sync {
			take(run)
			run = 0
			put(piece{data: prefix, size: int64(len(prefix))})
		}
		run += int64(v.size)
	}
	take(run)
	return list, r.err
}

// copyChunk copies the bytes [from, to) of a segment's payload: headers that lie between
// are read and left out, which is cheaper than another request.
func (f *File) copyChunk(ctx context.Context, w io.Writer, c chunk, from, to int64) (err error) {
	if from >= to {
		return nil
	}
	need, err := f.tracks[c.track].Segments[c.segment].pieces(c.prefix, from, to)
	if err != nil {
		return f.damaged(c, err)
	}
	at, end := int64(-1), int64(0)
	for _, p := range need {
		if p.data == nil {
			if at < 0 {
				at = p.from
			}
			end = p.from + p.size
		}
	}
	var r io.ReadCloser
	if at >= 0 {
		if r, err = f.open(ctx, int(c.track), int(c.segment), at, end-at); err != nil {
			return err
		}
		defer func() {
			if e := r.Close(); err == nil {
				err = e
			}
		}()
	}
	for _, p := range need {
		if p.data != nil {
			if _, err := w.Write(p.data); err != nil {
				return err
			}
		} else {
			if err := f.copyExactly(io.Discard, r, p.from-at, c); err != nil {
				return err
			}
			if err := f.copyExactly(w, r, p.size, c); err != nil {
				return err
			}
			at = p.from + p.size
		}
		from += p.size
	}
	if from < to {
		return f.damaged(c, errTable)
	}
	return nil
}

func (f *File) copyExactly(w io.Writer, r io.Reader, n int64, c chunk) error {
	if n == 0 {
		return nil
	}
	copied, err := io.CopyN(w, r, n)
	if err == io.EOF && copied < n { //nolint:errorlint // CopyN says it so
		return f.damaged(c, io.ErrUnexpectedEOF)
	}
	return err
}
