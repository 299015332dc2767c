package record

import (
	"context"
	"strings"
	"sync"
	"time"

	"onair/internal/fault"
)

// writer adds to an asset. It is used by one goroutine at a time.
type writer struct {
	l     *Library
	asset *Asset
	draft *draft
	buf   []byte // records that are not yet in the journal
	j     Journal
	size  int64 // of the journal, as far as it is whole
	torn  bool  // what is beyond size is to be cut off before more is written

	mu     sync.Mutex
	stored map[string]int64 // by rendition: the newest number in the index, durably

	// Of an asset that was read again: what the journal of parts has, until it is known
	// whether the broadcast goes on, and which of its files may be written over.
	left     []leftSegment
	openNext int

	early *earlyLog // what came before the broadcast has begun; nil if that is not kept

	// busy and trouble are guarded by Library.mu: somebody records; and what is in the way.
	busy    bool
	trouble Trouble
}

// add takes an entry into the draft and into what is written with commit.
func (w *writer) add(e *entry, data []byte) bool {
	if !w.draft.apply(e, data) {
		return false
	}
	w.buf = appendEntry(w.buf, e, data)
	return true
}

// commit makes what was added durable, and shows it.
func (w *writer) commit() error {
	if err := w.flush(); err != nil {
		return err
	}
	w.noteStored()
	w.show()
	return nil
}

// show makes what is in the draft seen.
func (w *writer) show() {
	s := w.draft.snapshot()
	w.l.mu.Lock()
	if err := w.trouble.Err; err != nil && s.State == Recording {
		s.Error = err.Error()
	}
	w.l.mu.Unlock()
	w.asset.show(s)
}

func (w *writer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if w.j == nil {
		j, err := w.l.journals.Append(journalName(w.asset.id))
		if err != nil {
			return err
		}
		w.j = j
	}
	var err error
	if w.torn {
		err = w.j.Truncate(w.size)
	}
	if err == nil {
		w.torn = true
		_, err = w.j.Write(w.buf)
	}
	if err == nil {
		err = w.j.Sync()
	}
	if err != nil {
		return err
	}
	w.torn = false
	w.size += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

// object stores one, and counts it.
func (w *writer) object(ctx context.Context, rendition, name string, chunks [][]byte) error {
	if err := w.l.storage.Put(ctx, w.asset.id+"/"+rendition+"/"+name, chunks); err != nil {
		return err
	}
	for _, c := range chunks {
		w.l.m.bytes.Add(float64(len(c)))
	}
	return nil
}

// finish ends the asset, as ready or with what stopped it. That the end cannot be written
// is the less important error: the asset is then ended at the next start.
func (w *writer) finish(cause error) error {
	end := &endEntry{State: Ready, At: time.Now()}
	if cause != nil {
		end.State = Errored
		end.Error = cause.Error()
		end.Error = end.Error[:min(len(end.Error), maxErrorText)]
	}
	var err error
	if w.add(&entry{End: end}, nil) {
		err = w.flush()
	}
	if w.j != nil {
		_ = w.j.Close() // its bytes are synced
		w.j = nil
	}
	if err != nil && cause == nil {
		return err
	}
	if err == nil {
		if err := w.l.dropOpen(w.asset.id); err != nil {
			w.l.log.Warn("the journal of parts of an asset that is complete is removed at the next start", "asset", w.asset.id, "error", err)
		}
		w.early.drop()
	}
	return nil
}

// release ends the use of a writer: the asset is complete from here on.
func (l *Library) release(w *writer) {
	w.asset.show(w.draft.snapshot())
	l.mu.Lock()
	delete(l.active, w.asset.id)
	l.mu.Unlock()
	l.keep(w.asset)
}

// Unfinished returns the ids of the assets that were being recorded when the server was
// killed and that nobody has resumed.
func (l *Library) Unfinished() (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, w := range l.active {
		if !w.busy {
			ids = append(ids, id)
		}
	}
	return ids
}

// Finish makes an asset ready that nobody resumes, with what there is of the segment that was
// in progress. One in which there is nothing then is removed. fault.NotFound if there is none
// such.
func (l *Library) Finish(ctx context.Context, id string) error {
	l.mu.Lock()
	w := l.active[id]
	if w == nil || w.busy {
		l.mu.Unlock()
		return fault.New(fault.NotFound, "finish", id, "there is no such asset that waits to be resumed", "")
	}
	w.busy = true
	l.mu.Unlock()
	err := w.fold(ctx)
	nothing := false
	if err == nil {
		nothing, err = w.nothing(ctx)
	}
	if err == nil && nothing {
		l.mu.Lock()
		w.busy = false
		l.mu.Unlock()
		l.log.Info("a recording of which nothing was stored when the server was killed is removed", "asset", id)
		return l.Delete(ctx, id)
	}
	if err == nil {
		err = w.finish(nil)
	}
	if err != nil {
		l.mu.Lock()
		w.busy = false
		l.mu.Unlock()
		return err
	}
	l.release(w)
	l.ready(w)
	return nil
}

// nothing reports whether there is no segment, and no object that a damaged index may have told
// of.
func (w *writer) nothing(ctx context.Context) (bool, error) {
	for _, r := range w.draft.renditions {
		if r.Segments.Len() > 0 {
			return false, nil
		}
	}
	list, err := w.l.storage.List(ctx, w.asset.id)
	if err != nil {
		return false, err
	}
	indexed := w.draft.objects()
	for _, o := range list {
		_, below, _ := strings.Cut(o.Name, "/")
		if _, ok := indexed[below]; !ok {
			return false, nil
		}
	}
	return true, nil
}
