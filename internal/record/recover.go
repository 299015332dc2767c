package record

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/fmp4"
)

// recover takes up an asset whose index has no end. nil if nothing of it can be used.
func (l *Library) recover(ctx context.Context, id string) (*writer, error) {
	d, good, damaged, err := l.read(id)
	if err != nil {
		if good == 0 && fault.Is(err, fault.Invalid) {
			return nil, l.abandon(ctx, id, err)
		}
		return nil, err
	}
	if d.head.Clip > 0 {
		return nil, l.recoverClip(ctx, id, d, good, damaged)
	}
	w := &writer{l: l, asset: &Asset{id: id}, draft: d, size: good}
	if w.j, err = l.journals.Append(journalName(id)); err != nil {
		return nil, err
	}
	if err = w.j.Truncate(good); err == nil {
		err = w.adopt(ctx, damaged)
	}
	if err == nil {
		err = w.commit()
	}
	if err == nil {
		err = w.noteOpen()
	}
	if err != nil {
		_ = w.j.Close() // nothing was written
		return nil, err
	}
	return w, nil
}

// abandon removes an asset of which not even the first record was written. One that has
// objects all the same has lost its index, and is left as it is.
func (l *Library) abandon(ctx context.Context, id string, cause error) error {
	list, err := l.storage.List(ctx, id)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return cause
	}
	return l.journals.Remove(journalName(id))
}

// adopt gives the segments that are stored without an entry one, and removes what else is
// stored without one. Where the index is damaged nothing is removed: it may be what the index
// does not tell any more.
func (w *writer) adopt(ctx context.Context, damaged bool) error {
	list, err := w.l.unindexed(ctx, w.asset.id, damaged)
	if err != nil {
		return err
	}
	type orphan struct {
		r    *Rendition
		name string
		size int64
		n    int64
	}
	var orphans []orphan
	var drop []string
	unsure := map[string]bool{} // renditions with an initialization section that the index does not tell of
	indexed := w.draft.objects()
	for _, o := range list {
		_, below, _ := strings.Cut(o.Name, "/")
		if _, ok := indexed[below]; ok {
			continue
		}
		rendition, name, _ := strings.Cut(below, "/")
		n, ok := segmentNumber(name)
		if r := w.draft.rendition(rendition); ok && r != nil {
			orphans = append(orphans, orphan{r, name, o.Size, n})
		} else {
			unsure[rendition] = damaged
			drop = append(drop, o.Name)
		}
	}
	slices.SortFunc(orphans, func(a, b orphan) int { return cmp.Compare(a.n, b.n) })
	for _, o := range orphans {
		if unsure[o.r.Name] {
			continue
		}
		e, table, err := w.describe(ctx, o.r, o.name, o.size, o.n)
		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unsupported) && !fault.Is(err, fault.TooLarge) {
			return err
		}
		if err != nil || !w.add(&entry{R: o.r.Name, Segment: e}, table) {
			drop = append(drop, w.asset.id+"/"+o.r.Name+"/"+o.name)
			continue
		}
		w.l.m.finished.Inc()
		w.l.log.Info("a segment that was stored before the server was killed is taken into the index", "asset", w.asset.id, "rendition", o.r.Name, "segment", o.name)
	}
	if damaged && len(drop) > 0 {
		w.l.log.Warn("objects that the damaged index of an asset does not tell of are left where they are", "asset", w.asset.id, "objects", len(drop))
		return nil
	}
	for _, name := range drop {
		w.l.m.dropped.Inc()
		w.l.log.Warn("an object that a crash left is removed", "object", name)
		if err := w.l.storage.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// objects returns what the index lists, as rendition/name.
func (d *draft) objects() map[string]struct{} {
	out := map[string]struct{}{}
	for _, r := range d.renditions {
		for _, i := range r.Inits {
			out[r.Name+"/"+i.Name] = struct{}{}
		}
		for i := range r.Segments.Len() {
			if !r.Segments.Unnamed(i).Gap {
				out[r.Name+"/"+r.Segments.Name(i)] = struct{}{}
			}
		}
	}
	return out
}

// segmentNumber takes the media sequence number out of a segment's name, as pack makes it.
func segmentNumber(name string) (int64, bool) {
	_, rest, ok := strings.Cut(name, ".")
	digits, ok2 := strings.CutSuffix(rest, ".m4s")
	if !ok || !ok2 || name[0] != 's' {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 62)
	return n, err == nil && n >= 0
}

// maxObject bounds what is read of a segment into memory: pack's are 64 MiB at most, and a
// little more with their headers.
const maxObject = 80 << 20

// describe makes the entry of a segment from its bytes. fault.Invalid if it is not whole, or
// if it cannot be told with which initialization section it goes.
func (w *writer) describe(ctx context.Context, r *Rendition, name string, size, number int64) (*segmentEntry, []byte, error) {
	const op = "take into the index"
	init := r.initAround(number)
	if init == nil || size > maxObject {
		return nil, nil, fault.New(fault.Invalid, op, name, "its initialization section is not known", "")
	}
	o, err := w.l.Open(ctx, w.asset.id, r.Name, name, 0, -1)
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(o, maxObject))
	_ = o.Close() // nothing was written
	if err != nil {
		return nil, nil, err
	}
	e, table, err := w.describeData(ctx, r.Kind, init, name, data, number)
	if err == nil {
		e.Discontinuity = r.breaks(e)
	}
	return e, table, err
}

// breaks reports whether a segment that is not in the index does not continue the one before
// it. Of the one that stood in its place, if it is lost, that is known; otherwise it is told by
// its times. Behind a gap nothing is to be continued, but for the parameters.
func (r *Rendition) breaks(e *segmentEntry) bool {
	i := r.Segments.Len() - 1
	for ; i >= 0; i-- {
		s := r.Segments.Unnamed(i)
		if s.Sequence == e.Sequence && s.Discontinuity {
			return true
		}
		if s.Sequence < e.Sequence {
			break
		}
	}
	if i < 0 {
		return false
	}
	before := r.Segments.Unnamed(i)
	return before.Init != r.initIndex(e.Init) || !before.Gap && before.BaseTime+before.Ticks != e.Base && before.Sequence+1 == e.Sequence
}

// describeData is describe for bytes that are in memory.
func (w *writer) describeData(ctx context.Context, kind media.Kind, init *Init, name string, data []byte, number int64) (*segmentEntry, []byte, error) {
	const op = "take into the index"
	e := &segmentEntry{Sequence: number, Name: name, Init: init.Name, Size: int64(len(data))}
	src := fmp4.NewReader(io.MultiReader(bytes.NewReader(init.Data), bytes.NewReader(data)))
	for first := true; ; first = false {
		p, err := src.ReadPacket(ctx)
		if errors.Is(err, io.EOF) && !first {
			break
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, nil, fault.New(fault.Invalid, op, name, "it is not whole", "")
		}
		if err != nil {
			return nil, nil, err
		}
		if first {
			e.Base, e.Offset, e.Independent = p.DTS, p.PTS-p.DTS, p.Key || kind == media.Audio
			if kind == media.Video && p.Key {
				e.KeySize = keySize(data, len(p.Data))
			}
		}
		e.Ticks += p.Duration
	}
	track := init.Track
	e.Start = w.draft.head.Origin.Add(track.Duration(e.Base + e.Offset))
	e.Duration = track.Duration(e.Base+e.Ticks) - track.Duration(e.Base)
	return e, w.l.scan([][]byte{data}), nil
}

// keySize is how many bytes of a segment hold its first sample, which is as large as that; 0
// if that is not found. pack puts it at the beginning of the first mdat box.
func keySize(data []byte, sample int) int64 {
	const head = 8 // of a box: its size and type
	for at := 0; len(data)-at >= head; {
		size := int(binary.BigEndian.Uint32(data[at:]))
		switch {
		case string(data[at+4:at+head]) == "mdat" && size >= head+sample:
			return int64(at + head + sample)
		case size < head || size > len(data)-at:
			return 0
		}
		at += size
	}
	return 0
}

// initAround returns the initialization section of a segment that is not in the index: that
// of the ones around it, if it is the same; after the last one the newest, for it is in the
// index before its first segment is stored.
func (r *Rendition) initAround(number int64) *Init {
	if number > r.last() {
		if len(r.Inits) == 0 {
			return nil
		}
		return r.Inits[len(r.Inits)-1]
	}
	i, ok := r.Segments.Index(number)
	if !ok {
		return nil
	}
	gap := r.Segments.At(i)
	if !gap.Gap || gap.Name != gapName {
		return nil
	}
	at := gap.Init
	for ; i < r.Segments.Len(); i++ {
		if s := r.Segments.Unnamed(i); !s.Gap {
			if s.Init != at {
				return nil
			}
			break
		}
	}
	return r.Inits[at]
}

// scan makes the sample table of a segment; none where that fails: the segment is played all
// the same.
func (l *Library) scan(chunks [][]byte) []byte {
	table, err := l.cfg.Scan(chunks)
	if err != nil || len(table) > maxData {
		l.log.Warn("a recorded segment has no sample table: no file can be made of its asset", "error", err)
		return nil
	}
	return table
}
