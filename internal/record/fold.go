package record

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"

	"onair/internal/deliver/pack"
	"onair/internal/fault"
	"onair/internal/media"
)

// left is what the journal of parts has of a segment that is not in the index.
type left struct {
	rendition string
	kind      media.Kind
	init      initEntry
	initData  []byte
	seg       segmentEntry
	data      []byte
	whole     int // how much of data is whole fragments
}

// readOpen reads the journal of parts of an asset: what it has of segments that are not in
// the index, by rendition and number. next is the file that may be written over: it has
// nothing that the other one has not.
func (l *Library) readOpen(asset string, d *draft) (out []*left, next int, err error) {
	var found [2][]*left
	var size [2]int
	for i := range 2 {
		if found[i], err = l.readOpenFile(openName(asset, i), d); err != nil {
			return nil, 0, err
		}
		for _, s := range found[i] {
			size[i] += s.whole
		}
	}
	if size[0] > size[1] {
		next = 1
	}
	out = found[1-next]
	for _, s := range found[next] {
		have := slices.IndexFunc(out, func(o *left) bool { return o.rendition == s.rendition && o.seg.Name == s.seg.Name })
		switch {
		case have < 0:
			out = append(out, s)
		case out[have].whole < s.whole:
			out[have] = s
		}
	}
	// Pictures first: where there is nothing yet, renditions begin in this order.
	slices.SortStableFunc(out, func(a, b *left) int {
		return cmp.Or(cmp.Compare(a.seg.Sequence, b.seg.Sequence), cmp.Compare(a.kind, b.kind))
	})
	return out, next, nil
}

func (l *Library) readOpenFile(name string, d *draft) (out []*left, err error) {
	j, err := l.journals.Read(name)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer j.Close()
	kinds := map[string]media.Kind{}
	inits := map[string]*left{} // by rendition: the newest initialization section
	err = readParts(j, j.Size(), func(e *entry, data []byte) {
		switch {
		case e.Track != nil:
			kinds[e.R] = e.Track.Kind
		case e.Init != nil && e.Init.Track != nil:
			inits[e.R] = &left{rendition: e.R, kind: kinds[e.R], init: *e.Init, initData: data}
		case e.Part != nil:
			if r := d.rendition(e.R); r != nil && e.Part.Sequence <= r.last() {
				return // it was stored
			}
			at := slices.IndexFunc(out, func(o *left) bool { return o.rendition == e.R && o.seg.Name == e.Part.Name })
			if at < 0 {
				if in := inits[e.R]; in != nil && in.init.Name == e.Part.Init && e.Part.At == 0 && len(out) < maxLeft {
					s := *in
					s.seg = e.Part.segmentEntry
					out, at = append(out, &s), len(out)
				}
			}
			if at >= 0 {
				out[at].take(e.Part, data)
			}
		}
	})
	return out, err
}

// readParts gives visit the records of a file of the journal of parts, up to the first one that
// is not whole or not of its last turn.
func readParts(r io.ReaderAt, size int64, visit func(e *entry, data []byte)) error {
	buf := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10)
	var p entryReader
	for at := int64(0); at < size; {
		e, data, n, err := p.read(buf, size-at)
		if errors.Is(err, errBroken) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Turn != nil {
			p.seed = e.Turn.Seed
		}
		at += n
		visit(e, data)
	}
	return nil
}

// maxLeft bounds the segments that are taken out of a journal of parts.
const maxLeft = 4096

// take adds a part, if it is the next one.
func (s *left) take(p *partEntry, data []byte) {
	if p.At != int64(len(s.data)) || len(s.data)+len(data) > maxObject {
		return
	}
	s.data = append(s.data, data...)
	if !p.More {
		s.whole = len(s.data)
	}
}

// fold takes what the journal of parts has of segments that were never complete into the
// asset.
func (w *writer) fold(ctx context.Context) error {
	list, _, err := w.l.readOpen(w.asset.id, w.draft)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.whole == 0 {
			continue
		}
		if err := w.foldSegment(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) foldSegment(ctx context.Context, s *left) error {
	r := w.draft.rendition(s.rendition)
	if r == nil {
		if !w.add(&entry{R: s.rendition, Track: &trackEntry{Kind: s.kind}}, nil) {
			return nil // one more than can be
		}
		if r = w.draft.rendition(s.rendition); r == nil {
			return nil
		}
	}
	if s.seg.Sequence <= r.last() {
		return nil // another of that number is there
	}
	data := s.data[:s.whole]
	init := &Init{Name: s.init.Name, Track: s.init.Track, Data: s.initData}
	e, table, err := w.describeData(ctx, r.Kind, init, s.seg.Name, data, s.seg.Sequence)
	if err != nil {
		if errors.Is(err, ctx.Err()) {
			return err
		}
		w.l.log.Warn("what there was of a segment in progress is of no use", "asset", w.asset.id, "rendition", s.rendition, "segment", s.seg.Name, "error", err)
		return nil
	}
	e.Discontinuity = s.seg.Discontinuity
	if r.initIndex(init.Name) < 0 {
		if err := w.object(ctx, s.rendition, init.Name, [][]byte{init.Data}); err != nil {
			return err
		}
		if !w.add(&entry{R: s.rendition, Init: &s.init}, s.initData) {
			return nil
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	if err := w.object(ctx, s.rendition, s.seg.Name, [][]byte{data}); err != nil {
		return err
	}
	if w.add(&entry{R: s.rendition, Segment: e}, table) {
		w.l.m.folded.Inc()
		w.l.log.Info("what there was of the segment in progress when the server was killed is taken into the asset",
			"asset", w.asset.id, "rendition", s.rendition, "segment", s.seg.Name, "duration", e.Duration)
	}
	return nil
}

// continues reports whether a broadcast has what the asset has, and goes on from there. After
// a power cut pack's last window may be older than the recording, and numbers its segments
// anew from there: that is another broadcast.
func (w *writer) continues(s *pack.Stream) bool {
	for _, r := range w.draft.renditions {
		p, ok := s.Rendition(r.Name)
		if !ok || p.Derived() || r.Segments.Len() == 0 {
			continue // a rendition that is made here begins when it likes
		}
		last, snap := r.Segments.Last(), p.Snapshot()
		if !reaches(snap, last.Sequence, last.Name, last.Gap, last.Size) {
			return false
		}
	}
	for i := range w.left {
		s2 := &w.left[i]
		if p, ok := s.Rendition(s2.rendition); ok && !p.Derived() && !reaches(p.Snapshot(), s2.sequence, s2.name, false, s2.size) {
			return false
		}
	}
	return true
}

// reaches reports whether a rendition has a segment up to a size, or has had it.
func reaches(snap *pack.Snapshot, sequence int64, name string, gap bool, size int64) bool {
	seg := snap.Segment(sequence)
	if open := inProgress(snap); open != nil && open.Sequence == sequence {
		seg = open
	}
	switch {
	case seg == nil:
		return snap.LastSequence() > sequence
	case gap:
		return true
	case seg.Name != name || seg.Gap:
		return false
	}
	have := int64(0)
	for i := range seg.Parts {
		have += seg.Parts[i].Blob.Size
	}
	return have >= size
}

// leftSegment is what is remembered of a left one until it is known whether its broadcast
// goes on.
type leftSegment struct {
	rendition, name string
	sequence, size  int64
}

// noteOpen remembers what the journal of parts has. An unreadable one is of no use.
func (w *writer) noteOpen() error {
	list, next, err := w.l.readOpen(w.asset.id, w.draft)
	if err != nil {
		return err
	}
	w.openNext = next
	for _, s := range list {
		if s.whole > 0 {
			w.left = append(w.left, leftSegment{s.rendition, s.seg.Name, s.seg.Sequence, int64(s.whole)})
		}
	}
	return nil
}
