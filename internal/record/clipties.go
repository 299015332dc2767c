package record

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"onair/internal/fault"
)

// ties is which clips need objects of which assets. It is guarded by Library.mu.
type ties struct {
	clips  map[string][]string // of each asset, the clips that have segments of it
	making map[string]struct{} // clips that are not complete
	gone   map[string]struct{} // assets that are deleted, and of which clips need something
}

func newTies() ties {
	return ties{clips: map[string][]string{}, making: map[string]struct{}{}, gone: map[string]struct{}{}}
}

func (t *ties) add(clip string, of []string) {
	for _, asset := range of {
		t.clips[asset] = append(t.clips[asset], clip)
	}
}

// drop forgets a clip, and returns the deleted assets that it had segments of.
func (t *ties) drop(clip string) (free []string) {
	for asset, clips := range t.clips {
		i := slices.Index(clips, clip)
		if i < 0 {
			continue
		}
		if t.clips[asset] = slices.Delete(clips, i, i+1); len(t.clips[asset]) == 0 {
			delete(t.clips, asset)
		}
		if _, gone := t.gone[asset]; gone {
			free = append(free, asset)
		}
	}
	return free
}

// tie says that a clip is being made of source, with segments that lie in the assets of.
func (l *Library) tie(id, source string, of []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, known := l.known[id]
	_, gone := l.ties.gone[id]
	_, making := l.ties.making[id]
	if known || gone || making {
		return fault.New(fault.Conflict, "clip", id, "there is such an asset, of something else", "")
	}
	if _, ok := l.known[source]; !ok {
		return notFound("clip", source) // it was deleted a moment ago
	}
	l.ties.making[id] = struct{}{}
	l.ties.add(id, of)
	return nil
}

// tied ends what tie began: there is such an asset, or nothing of it stays. What its sources
// kept because it was not known what it needs is let go of, if they were deleted meanwhile.
func (l *Library) tied(ctx context.Context, id string, of []string, made bool) {
	ctx = context.WithoutCancel(ctx) // it may be why it was not made
	var free []string
	l.mu.Lock()
	delete(l.ties.making, id)
	if made {
		l.known[id] = struct{}{}
		for _, asset := range of {
			if _, gone := l.ties.gone[asset]; gone {
				free = append(free, asset)
			}
		}
	} else {
		free = l.ties.drop(id)
	}
	l.mu.Unlock()
	if !made {
		if err := l.discard(ctx, id); err != nil {
			l.log.Warn("what was stored of a clip that was not made is removed at the next start", "asset", id, "error", err)
		}
	}
	l.removeAll(ctx, free)
}

// recoverClip ends a clip whose index lacks its end, if all that belongs to it is there or
// something was damaged, and else removes it: it was being made when the server was killed.
func (l *Library) recoverClip(ctx context.Context, id string, d *draft, good int64, damaged bool) error {
	n, of := 0, []string(nil)
	for _, r := range d.renditions {
		n += r.Segments.Len()
		for i := range r.Segments.Len() {
			if in := r.Segments.Unnamed(i).Asset; in != "" && !slices.Contains(of, in) {
				of = append(of, in)
			}
		}
	}
	if n != d.head.Clip && !damaged || n == 0 {
		l.log.Warn("a clip that was being made when the server was killed is removed", "asset", id)
		return l.discard(ctx, id)
	}
	w := &writer{l: l, draft: d, asset: &Asset{id: id}, size: good}
	var err error
	if w.j, err = l.journals.Append(journalName(id)); err != nil {
		return err
	}
	if err = w.j.Truncate(good); err == nil {
		w.add(&entry{End: &endEntry{State: Ready, At: time.Now(), Of: of}}, nil)
		err = w.flush()
	}
	_ = w.j.Close() // its bytes are synced
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.known[id] = struct{}{}
	l.ties.add(id, of)
	l.mu.Unlock()
	return nil
}

// discard removes all that an asset has.
func (l *Library) discard(ctx context.Context, id string) error {
	if err := l.storage.Delete(ctx, id); err != nil {
		return err
	}
	return l.journals.Remove(journalName(id))
}

// remove takes a deleted asset away, but for what clips need of it. Its index, which says
// that it is deleted, stays until the last of them is deleted too.
func (l *Library) remove(ctx context.Context, id string) error {
	l.mu.Lock()
	free := l.ties.drop(id)
	clips := slices.Clone(l.ties.clips[id])
	if len(clips) > 0 {
		l.ties.gone[id] = struct{}{}
	} else {
		delete(l.ties.gone, id)
	}
	l.mu.Unlock()
	var err error
	if len(clips) == 0 {
		err = l.discard(ctx, id)
	} else if need, ok := l.needed(id, clips); ok {
		err = l.thin(ctx, id, need)
	}
	if err != nil {
		l.mu.Lock()
		l.ties.gone[id] = struct{}{} // so that it is tried again when a clip is deleted
		l.mu.Unlock()
	}
	l.removeAll(ctx, free)
	return err
}

// sweep removes the assets that were deleted before the start. Where indexes could not be
// read it is not known what their assets need, and all is kept until they can.
func (l *Library) sweep(ctx context.Context, unread int) {
	l.mu.Lock()
	ids := slices.Sorted(maps.Keys(l.ties.gone))
	l.mu.Unlock()
	if unread > 0 && len(ids) > 0 {
		l.log.Warn("deleted assets are not removed, for some index that cannot be read may be a clip's that needs them", "assets", len(ids), "unread", unread)
		return
	}
	l.removeAll(ctx, ids)
}

// removeAll removes what clips have kept until now.
func (l *Library) removeAll(ctx context.Context, ids []string) {
	for _, id := range ids {
		if err := l.remove(ctx, id); err != nil {
			l.log.Warn("what clips needed of a deleted asset is removed at the next start", "asset", id, "error", err)
		}
	}
}

// needed returns the objects of an asset that clips have in their indexes, as rendition/name;
// false if that is not known of all of them.
func (l *Library) needed(id string, clips []string) (map[string]struct{}, bool) {
	need := map[string]struct{}{}
	for _, clip := range clips {
		a, ok := l.Asset(clip)
		if !ok {
			return nil, false // it is being made, or its index cannot be read
		}
		for _, r := range a.Snapshot().Renditions {
			for i := range r.Segments.Len() {
				if r.Segments.Unnamed(i).Asset == id {
					need[r.Name+"/"+r.Segments.Name(i)] = struct{}{}
				}
			}
		}
	}
	return need, true
}

// thin removes the objects of an asset that are not needed.
func (l *Library) thin(ctx context.Context, id string, need map[string]struct{}) error {
	list, err := l.storage.List(ctx, id)
	if err != nil {
		return err
	}
	var names []string
	for _, o := range list {
		if _, ok := need[strings.TrimPrefix(o.Name, id+"/")]; !ok {
			names = append(names, o.Name)
		}
	}
	if many, ok := l.storage.(manyDeleter); ok {
		return many.DeleteObjects(ctx, names)
	}
	for _, name := range names {
		if err := l.storage.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// manyDeleter is a Storage that removes many objects for less than one after the other. It is
// no error if one is not there.
type manyDeleter interface {
	DeleteObjects(ctx context.Context, names []string) error
}
