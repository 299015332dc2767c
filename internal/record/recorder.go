package record

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/fault"
)

// Record makes an asset of a broadcast, or goes on with the one that Resume returned, until
// the broadcast ended: the asset is ready then, and nil is returned. It waits for the first
// part; where none comes, there is no asset. fault.Conflict if there is an asset of that
// id that cannot be gone on with.
//
// Where the storage fails it is tried again, less and less often, until the broadcast ended
// and a minute longer; the snapshot's Error and Trouble tell of it, and what left pack's window
// meanwhile is a gap. The asset is errored, and what the storage said is returned, if it never
// came back: what was stored by then can be played. Where ctx ends it is as if the server was
// killed.
//
// Nothing is queued: what is not yet stored is in pack's window. What left the window before
// is a gap. What is in the window and not stored is in the journal of parts, for a power cut.
func (l *Library) Record(ctx context.Context, id, streamID string, s *pack.Stream) error {
	select {
	case <-s.Begun():
	case <-ctx.Done():
		return ctx.Err()
	}
	early := l.takeEarly(s)
	if s.Ended() && len(s.AllRenditions()) == 0 {
		early.drop()
		return nil
	}
	early.become(id)
	w, err := l.claim(id, streamID, s)
	if err != nil {
		return err
	}
	w.early = early
	l.m.recording.Inc()
	defer l.m.recording.Dec()
	err = w.record(ctx, s)
	if ctx.Err() != nil {
		l.leave(w)
		return ctx.Err()
	}
	if err == nil {
		err = w.finish(nil)
	}
	if err != nil {
		return l.fail(w, err)
	}
	l.release(w)
	l.ready(w)
	return nil
}

// claim finds the writer of an unfinished asset, or makes one.
func (l *Library) claim(id, streamID string, s *pack.Stream) (*writer, error) {
	l.mu.Lock()
	if _, known := l.known[id]; known {
		defer l.mu.Unlock()
		w := l.active[id]
		if w == nil || w.busy || !w.goesOn(streamID, s) {
			return nil, fault.New(fault.Conflict, "record", id, "there is such an asset, of something else", "")
		}
		w.busy, w.left = true, nil
		return w, nil
	}
	if !wellNamed(id) {
		l.mu.Unlock()
		return nil, fault.New(fault.Invalid, "record", id, "an asset cannot be called so", "")
	}
	w := &writer{l: l, asset: &Asset{id: id}, draft: &draft{}, busy: true}
	w.add(&entry{Head: &headEntry{Format: indexFormat, Asset: id, Stream: streamID, Target: s.TargetDuration(), Origin: s.AvailabilityStart()}}, nil)
	w.asset.show(w.draft.snapshot())
	l.known[id], l.active[id] = struct{}{}, w
	l.mu.Unlock()
	l.publish(event.AssetCreated{StreamID: streamID, AssetID: id})
	return w, nil
}

// goesOn reports whether a broadcast is the one of an unfinished asset: its media time means
// the same wall clock, to the nanosecond.
func (w *writer) goesOn(streamID string, s *pack.Stream) bool {
	h := w.draft.head
	return h.Stream == streamID && h.Origin.Equal(s.AvailabilityStart()) && h.Target == s.TargetDuration() && w.continues(s)
}

// Resume returns the asset that a broadcast was being recorded as when the server was
// killed, if it is the same broadcast that goes on. Give its id to Record.
func (l *Library) Resume(streamID string, s *pack.Stream) (id string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, w := range l.active {
		if !w.busy && w.goesOn(streamID, s) {
			return id, true
		}
	}
	return "", false
}

// leave lets go of a writer as if the server was killed.
func (l *Library) leave(w *writer) {
	if w.j != nil {
		_ = w.j.Truncate(w.size) // what is there of the last records is torn, and cut off at the next start
		_ = w.j.Close()          // its bytes are synced
		w.j = nil
	}
	w.buf = w.buf[:0]
}

// fail ends an asset because of an error, and returns that.
func (l *Library) fail(w *writer, cause error) error {
	_ = w.finish(cause) // cannot fail but for the journal, which is ended at the next start
	l.mu.Lock()
	told := w.trouble.Err != nil
	l.mu.Unlock()
	l.release(w)
	if !told {
		l.tell(w, cause)
	}
	return cause
}

func (l *Library) ready(w *writer) {
	if l.cfg.ReadyUntold {
		return
	}
	s := w.asset.Snapshot()
	l.publish(event.AssetReady{
		StreamID: s.StreamID, AssetID: s.ID, Duration: s.Duration.Seconds(), Bytes: s.Bytes, Gaps: len(s.Gaps),
	})
}

func (l *Library) publish(e event.Event) {
	if l.events != nil {
		l.events.Publish(e)
	}
}

// item is a segment to be stored.
type item struct {
	r   *pack.Rendition
	seg *pack.Segment
}

// follow stores the segments of a broadcast until it ended. It begins when all of its
// renditions have one, so that the asset has them in their order.
func (w *writer) follow(ctx context.Context, s *pack.Stream) error {
	select {
	case <-s.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		wait := []<-chan struct{}{ctx.Done(), s.Changed()}
		ended := s.Ended() // before the renditions are read: they are complete then
		var items []item
		for _, r := range s.Renditions() {
			snap := r.Snapshot()
			wait = append(wait, snap.Next())
			after := w.last(r.Name())
			for _, seg := range snap.Segments {
				if seg.Sequence > after {
					items = append(items, item{r, seg})
				}
			}
		}
		// By number, so that the renditions are stored abreast, and what is shown is the same.
		slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(a.seg.Sequence, b.seg.Sequence) })
		if err := w.store(ctx, items); err != nil {
			return err
		}
		if ended {
			return nil
		}
		if len(items) == 0 {
			waitAny(wait)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// last is the number of the newest segment of a rendition in the asset; -1 if there is none.
func (w *writer) last(rendition string) int64 {
	if r := w.draft.rendition(rendition); r != nil {
		return r.last()
	}
	return -1
}

// waitAny waits until one of the channels is closed. There are as many as a stream has
// renditions, and two.
func waitAny(list []<-chan struct{}) {
	cases := make([]reflect.SelectCase, len(list))
	for i, c := range list {
		cases[i] = reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)}
	}
	reflect.Select(cases)
}

// store makes segments durable, those of one number at a time.
func (w *writer) store(ctx context.Context, items []item) error {
	lag := time.Duration(0)
	for i, it := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.segment(ctx, it); err != nil {
			return err
		}
		if i+1 < len(items) && items[i+1].seg.Sequence == it.seg.Sequence {
			continue
		}
		if err := w.commit(); err != nil {
			return err
		}
		w.outgrown()
		w.recovered()
		lag = max(lag, time.Since(it.seg.Start.Add(it.seg.Duration)))
		w.l.m.lag.Set(max(0, lag.Seconds()))
	}
	return nil
}

// segment stores a segment, and what has to come before it.
func (w *writer) segment(ctx context.Context, it item) error {
	name, seg := it.r.Name(), it.seg
	r := w.draft.rendition(name)
	if r == nil {
		if !w.add(&entry{R: name, Track: &trackEntry{Kind: it.r.Kind()}}, nil) {
			return nil // one more than can be
		}
		r = w.draft.rendition(name)
	}
	if r == nil {
		return nil
	}
	if r.initIndex(seg.Init.Name) < 0 {
		data := seg.Init.Blob.Chunks[0]
		if err := w.object(ctx, name, seg.Init.Name, seg.Init.Blob.Chunks); err != nil {
			return err
		}
		if !w.add(&entry{R: name, Init: &initEntry{Name: seg.Init.Name, Track: seg.Init.Track}}, data) {
			return fault.New(fault.TooMany, "record", w.asset.id, "its parameters changed too often", "")
		}
		// Before its first segment is stored: what is found then without an entry goes with it.
		if err := w.flush(); err != nil {
			return err
		}
	}
	e := &segmentEntry{
		Sequence: seg.Sequence, Name: seg.Name, Init: seg.Init.Name, Start: seg.Start, Duration: seg.Duration,
		Base: seg.BaseTime, Ticks: seg.Ticks, Offset: seg.Offset, KeySize: seg.KeySize,
		Discontinuity: seg.Discontinuity, Independent: seg.Independent, Gap: seg.Gap,
	}
	var table []byte
	if seg.Blob != nil {
		if err := w.object(ctx, name, seg.Name, seg.Blob.Chunks); err != nil {
			return err
		}
		e.Size = seg.Blob.Size
		table = w.l.scan(seg.Blob.Chunks)
	}
	if last := w.last(name); last >= 0 && seg.Sequence > last+1 {
		missed := seg.Sequence - last - 1
		w.l.m.missed.Add(float64(missed))
		w.l.log.Warn("segments left the live window before they were recorded", "asset", w.asset.id, "rendition", name, "segments", missed)
	}
	if !w.add(&entry{R: name, Segment: e}, table) {
		return fault.New(fault.Invalid, "record", w.asset.id, "segment "+seg.Name+" does not fit into the index", "") // pack makes none such
	}
	w.l.m.segments.Inc()
	return nil
}
