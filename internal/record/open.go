package record

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"onair/internal/deliver/pack"
)

// What there is of segments that are not stored yet is in a journal of its own, so that a
// power cut costs a second and not a segment: records like the index's, durable with every
// part. It is two files that are written in turn: one that has become long is taken over into
// the other, as far as it is not stored, and written over once that is durable. What was in a file
// before is not cut off, for to write over bytes takes about half of what it takes to add some: a turn
// begins with a number that the checksums of its records begin with, too, so that those of earlier
// turns are none.

const (
	// openEvery is the least time between two syncs of an asset's journal of parts.
	openEvery = 200 * time.Millisecond
	// openGather is how long after a part others are waited for.
	openGather = 20 * time.Millisecond
	// openTurn is from what size on one file is taken over into the other.
	openTurn = 4 << 20
	// openRoom is the memory for what is written at once, to begin with.
	openRoom = 64 << 10
	// openKeep is from what length on a file is emptied before it is written over, after it
	// had to hold much.
	openKeep = 4 * openTurn
	// maxOpen bounds what is waiting to be stored and is in the journal of parts: above it
	// no more is written there until the storage is faster or back.
	maxOpen = 64 << 20
	// openRest is the pause after the journal of parts could not be written.
	openRest = 2 * time.Second
)

func openName(asset string, i int) string { return asset + "/open." + strconv.Itoa(i) + journalExt }

// partEntry is some bytes of a segment in progress; they are the record's data.
type partEntry struct {
	segmentEntry       // without what is known when it ends only
	At           int64 `json:"from,omitempty"` // where in the segment they begin
	More         bool  `json:"more,omitempty"` // they end within a fragment
}

// turnEntry begins a turn of a file.
type turnEntry struct {
	Seed uint32 `json:"seed"`
}

// openLog writes the journal of parts of one asset, in a goroutine of its own: what is not
// stored because the storage is slow or away is in it too.
type openLog struct {
	w     *writer
	files [2]openFile
	at    int              // the file in use
	size  int64            // how much of it is of this turn
	seed  uint32           // of this turn
	begun bool             // it has all there was when it was taken into use
	marks map[string]*mark // of the renditions in the file
	buf   []byte
	told  bool
}

// openFile is one of the two files; zero if it is not open.
type openFile struct {
	Scratch
	length int64 // as far as it was written since it was opened
}

// mark is how far a rendition is in the file.
type mark struct {
	init  string
	seq   int64
	parts int
}

// keepOpen writes the journal of parts until ctx ends.
func (w *writer) keepOpen(ctx context.Context, s *pack.Stream) {
	o := &openLog{w: w, at: w.openNext, marks: map[string]*mark{}}
	defer o.close()
	for gather(ctx); ctx.Err() == nil; gather(ctx) {
		wait := []<-chan struct{}{ctx.Done(), s.Changed()}
		for _, r := range s.AllRenditions() {
			wait = append(wait, r.Snapshot().Next())
		}
		rest := openEvery
		if err := o.pass(s); err != nil {
			rest = openRest
			w.l.m.openErrors.Inc()
			if !o.told {
				o.told = true
				w.l.log.Warn("the segment in progress is not kept on disk: a power cut would cost more than a second of it", "asset", w.asset.id, "error", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
			waitAny(wait)
		}
	}
}

// gather waits until the parts of the other renditions are there, too, so that one sync is for
// all of them, and none is a turn behind.
func gather(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(openGather):
	}
}

func (o *openLog) close() {
	for i := range o.files {
		if o.files[i].Scratch != nil {
			_ = o.files[i].Close() // its bytes are durable
			o.files[i] = openFile{}
		}
	}
}

// pass writes what there is and is not in the file.
func (o *openLog) pass(s *pack.Stream) error {
	waiting := int64(0)
	for _, r := range s.AllRenditions() {
		for seg := range o.unstored(r) {
			for i := range seg.Parts {
				waiting += seg.Parts[i].Blob.Size
			}
		}
	}
	if waiting > maxOpen {
		o.w.l.m.openSkipped.Inc()
		return nil
	}
	if o.begun && o.size > max(openTurn, 2*waiting) {
		o.turn()
	}
	if o.buf = o.buf[:0]; cap(o.buf) == 0 {
		o.buf = make([]byte, 0, openRoom)
	}
	if !o.begun {
		o.seed = rand.Uint32()
		o.buf = appendEntry(o.buf, &entry{Turn: &turnEntry{o.seed}}, nil)
	}
	none := len(o.buf)
	for _, r := range s.AllRenditions() {
		o.collect(r)
	}
	if len(o.buf) == none {
		return nil
	}
	o.pad()
	err := o.write()
	if err != nil {
		o.close()
		clear(o.marks)
		if o.begun {
			o.turn() // what is in the file stays there
		}
	}
	if cap(o.buf) > openTurn {
		o.buf = nil
	}
	return err
}

// turn takes the other file into use.
func (o *openLog) turn() {
	o.at, o.size, o.begun = 1-o.at, 0, false
	clear(o.marks)
}

// unstored yields the segments of a rendition that are not in the index yet.
func (o *openLog) unstored(r *pack.Rendition) func(func(*pack.Segment) bool) {
	snap, after := r.Snapshot(), o.w.storedTo(r.Name())
	return func(yield func(*pack.Segment) bool) {
		from := len(snap.Segments)
		for from > 0 && snap.Segments[from-1].Sequence > after {
			from--
		}
		for _, seg := range snap.Segments[from:] {
			if !seg.Gap && !yield(seg) {
				return
			}
		}
		if open := inProgress(snap); open != nil && open.Sequence > after {
			yield(open)
		}
	}
}

// inProgress returns the segment that is not complete; nil if there is nothing of it.
func inProgress(snap *pack.Snapshot) *pack.Segment {
	if snap.Open == nil {
		return snap.Unlisted
	}
	return snap.Open
}

// collect appends the records of a rendition's new parts to buf.
func (o *openLog) collect(r *pack.Rendition) {
	for seg := range o.unstored(r) {
		m := o.marks[r.Name()]
		if m == nil {
			m = &mark{}
			o.marks[r.Name()] = m
			o.buf = appendSeeded(o.buf, o.seed, &entry{R: r.Name(), Track: &trackEntry{Kind: r.Kind()}}, nil)
		}
		if seg.Sequence < m.seq {
			continue
		}
		if seg.Sequence > m.seq {
			m.seq, m.parts = seg.Sequence, 0
		}
		if m.parts < len(seg.Parts) && m.init != seg.Init.Name {
			m.init = seg.Init.Name
			o.buf = appendSeeded(o.buf, o.seed, &entry{R: r.Name(), Init: &initEntry{Name: seg.Init.Name, Track: seg.Init.Track}}, seg.Init.Blob.Chunks[0])
		}
		e := &partEntry{segmentEntry: segmentEntry{
			Sequence: seg.Sequence, Name: seg.Name, Init: seg.Init.Name, Start: seg.Start, Base: seg.BaseTime, Offset: seg.Offset,
			KeySize: seg.KeySize, Discontinuity: seg.Discontinuity, Independent: seg.Independent,
		}}
		for i := range seg.Parts {
			b := seg.Parts[i].Blob
			if i < m.parts {
				e.At += b.Size
				continue
			}
			for k, c := range b.Chunks {
				for len(c) > 0 {
					n := min(len(c), maxData)
					e.More = n < len(c) || k+1 < len(b.Chunks)
					o.buf = appendSeeded(o.buf, o.seed, &entry{R: r.Name(), Part: e}, c[:n])
					e.At += int64(n)
					c = c[n:]
				}
			}
			m.parts++
		}
	}
}

// pad fills the last block of buf with a record that says nothing.
func (o *openLog) pad() {
	const least = recordHead + 2
	n := -len(o.buf) & (ScratchBlock - 1)
	if n == 0 {
		return
	}
	if n < least {
		n += ScratchBlock
	}
	var zeros [2 * ScratchBlock]byte
	o.buf = appendSeeded(o.buf, o.seed, &entry{}, zeros[:n-least])
}

// write makes buf durable.
func (o *openLog) write() error {
	f, err := o.file(o.at)
	if err != nil {
		return err
	}
	if !o.begun && (f.length == 0 || f.length > openKeep) {
		if err := f.Empty(); err != nil {
			return err
		}
		f.length = 0
	}
	if _, err := f.WriteAt(o.buf, o.size); err != nil {
		return err
	}
	o.w.l.m.openSyncs.Inc()
	o.size += int64(len(o.buf))
	f.length = max(f.length, o.size)
	o.begun = true
	return nil
}

func (o *openLog) file(i int) (*openFile, error) {
	f := &o.files[i]
	if f.Scratch == nil {
		j, err := o.w.l.journals.Scratch(openName(o.w.asset.id, i))
		if err != nil {
			return nil, err
		}
		*f = openFile{Scratch: j}
	}
	return f, nil
}

// storedTo is the number of the newest segment of a rendition that is in the index, durably;
// -1 if there is none.
func (w *writer) storedTo(rendition string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n, ok := w.stored[rendition]; ok {
		return n
	}
	return -1
}

// noteStored remembers what is in the index, for the journal of parts.
func (w *writer) noteStored() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stored == nil {
		w.stored = make(map[string]int64, len(w.draft.renditions))
	}
	for _, r := range w.draft.renditions {
		if r.Segments.Len() > 0 {
			w.stored[r.Name] = r.last()
		}
	}
}

// dropOpen removes the journal of parts of an asset that is complete. What cannot be removed
// is at the next start.
func (l *Library) dropOpen(asset string) error {
	for i := range 2 {
		if err := l.journals.Remove(openName(asset, i)); err != nil {
			return err
		}
	}
	return nil
}

// sweepOpen removes the journals of parts of assets that are not unfinished, of all journals.
func (l *Library) sweepOpen(names []string) {
	for _, name := range names {
		id, below, _ := strings.Cut(name, "/")
		if !strings.HasPrefix(below, "open.") {
			continue
		}
		l.mu.Lock()
		_, known := l.known[id]
		_, gone := l.ties.gone[id]
		_, active := l.active[id]
		l.mu.Unlock()
		if active || !known && !gone && slices.Contains(names, journalName(id)) {
			continue // it may be needed
		}
		if err := l.journals.Remove(name); err != nil {
			l.log.Warn("a journal of parts that is of no use is removed at the next start", "asset", id, "error", err)
		}
	}
}
