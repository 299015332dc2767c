package record

import (
	"context"
)

// Table is the sample table of a segment, as Config.Scan (mp4file.Scan) made it, with what a file needs to
// know of the segment beside.
type Table struct {
	Sequence int64
	Data     []byte
	BaseTime int64 // ticks
	Size     int64 // bytes
}

// Tables reads the sample tables of the segments of some renditions from the index, at once:
// of each in order and without those that are gaps.
func (l *Library) Tables(ctx context.Context, asset string, renditions ...string) ([][]Table, error) {
	a, ok := l.Asset(asset)
	if !ok {
		return nil, notFound("read the index", asset)
	}
	s := a.Snapshot()
	readers := make([]tableReader, len(renditions))
	for i, name := range renditions {
		r, ok := s.Rendition(name)
		if !ok {
			return nil, notFound("read the index", asset+"/"+name)
		}
		readers[i] = tableReader{of: r, data: make([][]byte, r.Segments.Len())}
	}
	j, err := l.journals.Read(journalName(asset))
	if err != nil {
		return nil, err
	}
	defer j.Close()
	var room tableRoom
	_, _, err = readIndex(j, j.Size(), func(e *entry, data []byte) error {
		if e.Segment == nil || e.Segment.Gap {
			return nil
		}
		for i := range readers {
			if r := &readers[i]; r.of.Name == e.R {
				if n, ok := r.of.Segments.Index(e.Segment.Sequence); ok {
					r.data[n] = room.copy(data)
				}
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	out := make([][]Table, len(readers))
	for i := range readers {
		out[i] = readers[i].tables()
	}
	return out, nil
}

// tableReader collects the tables of a rendition.
type tableReader struct {
	of   *Rendition
	data [][]byte // of all its segments
}

func (r *tableReader) tables() []Table {
	out := make([]Table, 0, len(r.data))
	for i := range r.data {
		if s := r.of.Segments.Unnamed(i); !s.Gap {
			out = append(out, Table{s.Sequence, r.data[i], s.BaseTime, s.Size})
		}
	}
	return out
}

// tableRoom is memory that tables are copied to, which are small and many.
type tableRoom struct{ left []byte }

func (t *tableRoom) copy(b []byte) []byte {
	const room = 32 << 10
	if len(b) > len(t.left) {
		if len(b) > room/8 {
			return append([]byte(nil), b...)
		}
		t.left = make([]byte, room)
	}
	n := copy(t.left, b)
	out := t.left[:n:n]
	t.left = t.left[n:]
	return out
}
