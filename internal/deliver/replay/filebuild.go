package replay

import (
	"context"
	"io"
	"iter"
	"slices"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mp4file"
	"onair/internal/record"
)

// NewFile computes the file of an asset that Files would serve: ext is ".mp4", or ".m4a" for
// sound only, and rendition the pictures, or empty for what the publisher sent. It reads from
// the library whenever it is read.
func NewFile(ctx context.Context, lib FileLibrary, asset, ext, rendition string) (*mp4file.File, error) {
	if ext != pictureExt && ext != soundExt {
		return nil, fault.New(fault.Invalid, "make the file of", asset, "there are no files of the kind \""+ext+"\"", "Choose "+pictureExt+", or "+soundExt+" for sound only")
	}
	s, ok := lib.Snapshot(asset)
	if !ok {
		return nil, fault.New(fault.NotFound, "make the file of", asset, "there is no such recording, or its index cannot be read", "")
	}
	chosen, err := choose(s, ext, rendition)
	if err != nil {
		return nil, err
	}
	file, _, err := builder{lib}.build(ctx, s, chosen)
	return file, err
}

// builder computes files of a library.
type builder struct{ lib FileLibrary }

// place is where a segment of a file lies.
type place struct{ asset, rendition, name string }

// share is what a file has of a rendition.
type share struct {
	track  mp4file.Track
	places []place // of the segments
	cost   int64
}

// build computes a file. cost is about how much memory it takes, in bytes.
func (f builder) build(ctx context.Context, s *record.Snapshot, chosen []*record.Rendition) (file *mp4file.File, cost int64, err error) {
	read, err := f.tables(ctx, s, chosen)
	if err != nil {
		return nil, 0, err
	}
	parts := make([]share, len(chosen))
	tracks := make([]mp4file.Track, len(chosen))
	for i, r := range chosen {
		if parts[i], err = shareOf(s, r, read); err != nil {
			return nil, 0, err
		}
		tracks[i] = parts[i].track
		cost += parts[i].cost
	}
	file, err = mp4file.New(tracks, func(ctx context.Context, track, segment int, offset, length int64) (io.ReadCloser, error) {
		p := &parts[track].places[segment]
		return f.lib.Open(ctx, p.asset, p.rendition, p.name, offset, length)
	})
	return file, cost, err
}

// tables reads the sample tables of the renditions that files of those chosen have something of.
func (f builder) tables(ctx context.Context, s *record.Snapshot, chosen []*record.Rendition) (map[*record.Rendition][]record.Table, error) {
	var list []*record.Rendition
	var names []string
	for _, r := range chosen {
		for item := range content(s, r) {
			if !slices.Contains(list, item.of) {
				list, names = append(list, item.of), append(names, item.of.Name)
			}
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	all, err := f.lib.Tables(ctx, s.ID, names...)
	if err != nil {
		return nil, err
	}
	read := make(map[*record.Rendition][]record.Table, len(list))
	for i, r := range list {
		read[r] = all[i]
	}
	return read, nil
}

// shareOf is what a file has of a rendition.
func shareOf(s *record.Snapshot, r *record.Rendition, read map[*record.Rendition][]record.Table) (p share, err error) {
	t := &p.track
	t.Name = r.Name
	t.Segments, p.places = make([]mp4file.Segment, 0, r.Segments.Len()), make([]place, 0, r.Segments.Len())
	own, others := &tables{read[r]}, map[*record.Rendition]*tables{}
	for item := range content(s, r) {
		list := own
		if item.of != r {
			if list = others[item.of]; list == nil {
				list = &tables{read[item.of]}
				others[item.of] = list
			}
		}
		table := list.of(item.Sequence)
		if table == nil {
			continue
		}
		init := item.init()
		if init == nil {
			return share{}, fault.New(fault.Internal, "download", item.name(), "the index names no initialization section of a segment", "")
		}
		if t.Track == nil {
			t.Track = init.Track
		}
		t.Segments = append(t.Segments, mp4file.Segment{Table: mp4file.Table(table.Data), BaseTime: table.BaseTime, Size: table.Size, Track: init.Track})
		p.places = append(p.places, place{holder(s, &item.Segment), item.of.Name, item.name()})
		// A sample has 2 to 4 bytes of a table and up to 20 in the head.
		const headOfTable, eachSegment = 8, 160
		p.cost += headOfTable*int64(len(table.Data)) + eachSegment
	}
	if t.Track == nil {
		t.Track = r.Inits[0].Track // a rendition of gaps, which the file leaves out
	}
	return p, nil
}

// content is what a file has of a rendition: what its playlist lists, of pictures the
// source's where it has holes itself. It is in the order of the segments' numbers.
func content(s *record.Snapshot, r *record.Rendition) iter.Seq[item] {
	l := lineupOf(s, r)
	if r.Kind == media.Audio || l.source != nil && l.source.Inits[0].Track.Timescale != r.Inits[0].Track.Timescale {
		l.source = nil
	}
	return func(yield func(item) bool) {
		for n := l.first; n <= l.last; n++ {
			if i := l.at(n); !i.Gap && !yield(i) {
				return
			}
		}
	}
}

// tables are the sample tables of a rendition that were not passed by yet.
type tables struct{ left []record.Table }

// of returns the table of a segment, whose number is larger than that of the one before; nil
// if there is none.
func (t *tables) of(sequence int64) *record.Table {
	for len(t.left) > 0 && t.left[0].Sequence < sequence {
		t.left = t.left[1:]
	}
	if len(t.left) == 0 || t.left[0].Sequence > sequence {
		return nil
	}
	return &t.left[0]
}
