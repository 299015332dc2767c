package record

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/media"
)

// Repacker packages what was collected of a broadcast: a pack.Packer.
type Repacker interface {
	Repack(name string, e pack.Early) *pack.Stream
}

// Earlier is what a killed server had kept of a broadcast that had not begun, or not long ago.
type Earlier struct {
	StreamID string
	// AssetID is the asset that the broadcast has become, or was about to; empty if there was
	// none yet.
	AssetID string
	log     *earlyLog
	made    *pack.Stream
}

// Early returns the names of what is in the storage of broadcasts that a killed server had kept
// before they had begun; see OpenEarly.
func (l *Library) Early() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.left)
}

// findEarly remembers the early journals that there are.
func (l *Library) findEarly(names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = nil
	for _, name := range names {
		if _, below, _ := strings.Cut(name, "/"); strings.HasPrefix(below, earlyPrefix) {
			l.left = append(l.left, name)
		}
	}
}

// forgotten takes an early journal off those that are left.
func (l *Library) forgotten(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = slices.DeleteFunc(l.left, func(n string) bool { return n == name })
}

// OpenEarly reads one of Early. It returns nil, and removes it, if nothing can be made of it, or
// if the asset that the broadcast has become has it all. One that is unfinished and has less is
// removed for it: call it before Finish.
func (l *Library) OpenEarly(ctx context.Context, name string, p Repacker) (*Earlier, error) {
	e, all, err := l.readEarly(name)
	if err != nil {
		return nil, err
	}
	out := &Earlier{StreamID: e.stream, AssetID: e.asset, log: e, made: p.Repack(e.stream, all)}
	if e.stream == "" || len(out.made.Renditions()) == 0 {
		l.forgotten(name)
		e.drop()
		return nil, nil
	}
	if e.asset == "" {
		return out, nil
	}
	l.mu.Lock()
	_, known := l.known[e.asset]
	w := l.active[e.asset]
	l.mu.Unlock()
	covered := known && w == nil
	if w != nil {
		if covered, err = w.covers(ctx, out.made); err != nil {
			return nil, err
		}
	}
	if covered {
		l.forgotten(name)
		e.drop()
		return nil, nil
	}
	if w != nil {
		err = l.Delete(ctx, e.asset)
	}
	return out, err
}

// Began is when its first picture came, or its first sound where there are no pictures.
func (e *Earlier) Began() time.Time { return e.made.Renditions()[0].Snapshot().Segments[0].Start }

// Drop removes what there is: it is of no use.
func (e *Earlier) Drop() {
	e.log.l.forgotten(e.log.name)
	e.log.drop()
}

// GoesOnIn reports whether a broadcast that was taken up again after the restart is this one,
// and has it: it is then removed when the broadcast is recorded.
func (e *Earlier) GoesOnIn(s *pack.Stream) bool {
	first := e.made.Renditions()[0].Snapshot().Segments[0].Sequence
	for _, r := range s.Renditions() {
		if r.Derived() {
			continue
		}
		seg := r.Snapshot().Segment(first)
		if seg == nil || seg.Gap {
			return false
		}
		e.log.l.forgotten(e.log.name)
		e.log.l.setEarly(s, e.log)
		return true
	}
	return false
}

// RecordEarly makes a ready asset of what there is. Where that fails, it is tried again at the
// next start.
func (l *Library) RecordEarly(ctx context.Context, id string, e *Earlier) error {
	if e.log.asset != id {
		if err := e.log.seal(id); err != nil {
			return err
		}
	}
	w, err := l.claim(id, e.StreamID, e.made)
	if err != nil {
		return err
	}
	if err = w.commit(); err == nil {
		err = w.follow(ctx, e.made)
	}
	if err == nil {
		err = w.finish(nil)
	}
	l.forgotten(e.log.name)
	if err != nil {
		l.leave(w)
		l.mu.Lock()
		delete(l.active, id)
		delete(l.known, id)
		l.mu.Unlock()
		return err
	}
	e.log.drop()
	l.release(w)
	l.ready(w)
	return nil
}

// readEarly reads an early journal.
func (l *Library) readEarly(name string) (*earlyLog, pack.Early, error) {
	j, err := l.journals.Read(name)
	if err != nil {
		return nil, pack.Early{}, err
	}
	defer j.Close()
	e, all := &earlyLog{l: l, name: name}, pack.Early{}
	var tracks []*media.Track
	var part []byte
	e.size, _, err = readIndex(j, min(j.Size(), 2*maxEarly), func(r *entry, data []byte) error {
		switch {
		case r.Early != nil && r.Early.Asset != "":
			e.asset = r.Early.Asset
		case r.Early != nil && r.Early.Format == earlyFormat:
			e.stream, all.LatencyMode, all.Announced = r.Early.Stream, r.Early.Mode, r.Early.Announced
		case r.Init != nil && r.Init.Track != nil:
			tracks = append(tracks, r.Init.Track)
		case r.Packet != nil && r.Packet.Track >= 0 && r.Packet.Track < len(tracks):
			p := r.Packet
			if part = append(part, data...); p.More {
				return nil
			}
			all.Packets = append(all.Packets, &media.Packet{
				Track: tracks[p.Track], DTS: p.DTS, PTS: p.PTS, Duration: p.Duration, Key: p.Key, Arrival: p.Arrival, Data: part,
			})
			part, e.until = nil, p.Arrival
		}
		return nil
	})
	return e, all, err
}

// coverSlack is how much less of a rendition an unfinished asset may have than what was kept
// before, and coverMore how much longer it must be to have it for all that it lacks: its
// broadcast went on.
const (
	coverSlack = 100 * time.Millisecond
	coverMore  = time.Second
)

// covers reports whether an unfinished asset has what was kept of its broadcast before it had
// begun.
func (w *writer) covers(ctx context.Context, made *pack.Stream) (bool, error) {
	ends, err := w.ends(ctx)
	if err != nil {
		return false, err
	}
	all, most, longest := true, time.Duration(0), time.Duration(0)
	for _, end := range ends {
		longest = max(longest, end)
	}
	for _, r := range made.Renditions() {
		for _, seg := range r.Snapshot().Segments {
			if !seg.Gap {
				end := seg.Init.Track.Duration(seg.BaseTime + seg.Ticks)
				most = max(most, end)
				all = all && ends[r.Name()] >= end-coverSlack
			}
		}
	}
	return all || longest >= most+coverMore, nil
}

// ends returns the media time at which each rendition ends in the index and the journal of
// parts.
func (w *writer) ends(ctx context.Context) (map[string]time.Duration, error) {
	out := map[string]time.Duration{}
	for _, r := range w.draft.renditions {
		if r.Segments.Len() > 0 {
			seg := r.Segments.Last()
			out[r.Name] = r.Inits[seg.Init].Track.Duration(seg.BaseTime + seg.Ticks)
		}
	}
	list, _, err := w.l.readOpen(w.asset.id, w.draft)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.whole == 0 {
			continue
		}
		init := &Init{Name: s.init.Name, Track: s.init.Track, Data: s.initData}
		e, _, err := w.describeData(ctx, s.kind, init, s.seg.Name, s.data[:s.whole], s.seg.Sequence)
		if err != nil {
			if errors.Is(err, ctx.Err()) {
				return nil, err
			}
			continue // of no use: see foldSegment
		}
		out[s.rendition] = max(out[s.rendition], s.init.Track.Duration(e.Base+e.Ticks))
	}
	return out, nil
}
