package dash

import (
	"net/http"
	"time"

	"onair/internal/deliver/mpd"
	"onair/internal/deliver/pack"
	"onair/internal/media"
	"onair/internal/media/fmp4"
)

// derived reports whether a rendition is made here.
func derived(r *pack.Rendition) bool {
	d, ok := any(r).(interface{ Derived() bool })
	return ok && d.Derived()
}

// ahead is how many segments after the newest complete one may be asked for: the one in
// progress, the next one, and what a newer manifest than ours may list.
const ahead = 3

// media serves an initialization section or a segment.
func (h *Handler) media(a *answer, s *pack.Stream, t mpd.Target) {
	a.kind = kindMedia
	name, number, ok := mpd.ParseFile(t.File)
	if !ok {
		a.problem(problemResource)
		return
	}
	// Viewers are counted by what they play. A player that asks for the manifest where it
	// came in gets another session each time.
	if t.Session != "" && !h.viewers.Of(s).See(t.Session, time.Now()) {
		h.m.uncounted.Inc()
	}
	rend, ok := s.Rendition(t.Rendition)
	f := fetch{h: h, a: a, s: s, rend: rend, name: t.Rendition, stem: name, number: number}
	defer f.stop()
	if !ok || derived(rend) {
		f.made = true
		v := h.view(s)
		if !v.refused(t.Rendition) {
			if err := h.ladder.Want(s.Name(), t.Rendition); err != nil {
				if !v.lists(t.Rendition) {
					a.problem(problemOf(err))
					return
				}
				h.log.Info("rendition not to be had", "stream", s.Name(), "rendition", t.Rendition, "reason", err.Error())
				v.refuse(t.Rendition)
			}
		}
		if v.refused(t.Rendition) {
			f.replace()
			return
		}
	}
	if number < 0 {
		f.init()
	} else {
		f.segment()
	}
}

// fetch is a request for media that may not be there yet.
type fetch struct {
	h      *Handler
	a      *answer
	s      *pack.Stream
	rend   *pack.Rendition // nil until there is one
	name   string
	stem   string
	number int64

	// made is set for a rendition that is made here, and replaced once something else is to
	// be served in its place.
	made, replaced bool
	held           hold
}

// wait waits until the rendition may have more than in snap (nil: until there is it). It
// reports whether it is worth looking again.
func (f *fetch) wait(snap *pack.Snapshot) bool {
	if f.held.timer == nil {
		var ok bool
		if f.held, ok = f.h.hold(f.s, f.h.cfg.HoldSegment); !ok {
			return false
		}
	}
	var next <-chan struct{}
	if snap != nil {
		if snap.Ended {
			return false
		}
		next = snap.Next()
	} else if pulse := f.pulse(); pulse != nil {
		next = pulse
	} else {
		return false
	}
	select {
	case <-next:
		if f.rend == nil {
			f.rend, _ = f.s.Rendition(f.name)
		}
		return true
	case <-f.held.expired():
		f.h.m.expired.Inc()
	case <-f.a.r.Context().Done():
	}
	return false
}

// pulse is closed when the source has more, with which what is made of it may have begun.
func (f *fetch) pulse() <-chan struct{} {
	for _, r := range f.s.Renditions() {
		if snap := r.Snapshot(); !derived(r) && !snap.Ended {
			return snap.Next()
		}
	}
	return nil
}

func (f *fetch) stop() {
	if f.held.timer != nil {
		f.held.release()
	}
}

// giveUp answers what did not come in time.
func (f *fetch) giveUp() {
	switch {
	case f.a.r.Context().Err() != nil:
	case f.made && !f.replaced && !f.s.Ended():
		f.h.view(f.s).refuse(f.name) // its encoder does not come up
		f.stop()
		f.held = hold{}
		f.replace()
	default:
		f.a.problem(problemBusy)
	}
}

// replace answers for a rendition that was listed and is not to be had. If there never was
// any of it, the player has not decoded any of it and gets the source's media, initialization
// section and all, until the next Period lists it no more. Else it gets segments without
// media, and the section that it may have already.
func (f *fetch) replace() {
	f.replaced = true
	f.h.m.replaced.Inc()
	if f.rend != nil && derived(f.rend) {
		snap := f.rend.Snapshot()
		switch {
		case f.number < 0:
			f.init()
		case f.plausible():
			f.empty(snap, snap.Segment(f.number))
		default:
			f.a.problem(problemResource)
		}
		return
	}
	kind := media.Video
	for _, o := range f.h.ladder.Offers(f.s.Name()) {
		if o.Track.Rendition == f.name {
			kind = o.Track.Kind()
		}
	}
	for _, r := range f.s.Renditions() {
		if !derived(r) && r.Kind() == kind {
			f.rend = r
			break
		}
	}
	switch {
	case f.rend == nil:
		f.a.problem(problemResource)
	case f.number < 0:
		f.init()
	default:
		f.segment()
	}
}

func (f *fetch) mime() []string {
	if f.rend.Kind() == media.Audio {
		return typeAudio
	}
	return typeVideo
}

// init serves an initialization section: the one of a name, or the first one there is.
func (f *fetch) init() {
	for f.rend == nil {
		if !f.wait(nil) {
			f.giveUp()
			return
		}
	}
	snap := f.rend.Snapshot()
	if f.stem != mpd.FirstStem {
		blob, status := snap.Find(f.stem + mpd.InitExt)
		if status != pack.Found {
			f.a.problem(problemResource)
			return
		}
		f.a.whole(http.StatusOK, f.mime(), cacheForever, blob.Length, blob.Chunks...)
		return
	}
	init := newest(snap)
	if init == nil {
		f.a.problem(problemResource)
		return
	}
	f.a.whole(http.StatusOK, f.mime(), cacheNever, init.Blob.Length, init.Blob.Chunks...)
}

// newest is the initialization section in force.
func newest(snap *pack.Snapshot) *pack.Init {
	if snap.Open != nil {
		return snap.Open.Init
	}
	if n := len(snap.Segments); n > 0 {
		return snap.Segments[n-1].Init
	}
	return nil
}

// segment serves a segment: at once if it is complete, and else part by part.
func (f *fetch) segment() {
	for f.rend == nil {
		if !f.plausible() {
			f.a.problem(problemResource)
			return
		}
		if !f.wait(nil) {
			f.giveUp()
			return
		}
	}
	for sent := 0; ; {
		snap := f.rend.Snapshot()
		seg := snap.Segment(f.number)
		switch {
		case sent > 0 && seg == nil:
			return // it left the window under a reader that was too slow
		case seg == nil && f.missing(snap):
			f.empty(snap, nil)
			return
		case seg == nil && snap.Ended && f.number > snap.LastSequence() && f.number <= snap.LastSequence()+ahead:
			f.empty(snap, nil) // it was foretold
			return
		case seg == nil && !f.plausible():
			f.a.problem(problemResource)
			return
		case seg == nil:
		case seg.Gap, f.stem != mpd.FirstStem && f.stem != stem(seg.Init):
			f.empty(snap, seg)
			return
		case seg.Blob != nil && sent == 0:
			f.a.whole(http.StatusOK, f.mime(), cacheForever, seg.Blob.Length, seg.Blob.Chunks...)
			return
		default:
			if sent == 0 {
				f.a.head(http.StatusOK, f.mime(), cacheNever)
			}
			if f.a.r.Method == http.MethodHead || !f.send(seg, &sent) || seg.Blob != nil {
				return
			}
		}
		if !f.wait(snap) {
			if sent == 0 {
				f.giveUp()
			}
			return // with what there is, which ends where a part does
		}
	}
}

// send sends the parts that are there and were not sent yet.
func (f *fetch) send(seg *pack.Segment, sent *int) bool {
	for ; *sent < len(seg.Parts); *sent++ {
		if !f.a.write(seg.Parts[*sent].Blob.Chunks...) {
			return false
		}
	}
	return http.NewResponseController(f.a.w).Flush() == nil
}

// plausible reports whether the number is one that a manifest can have listed and that is
// not too long ago.
func (f *fetch) plausible() bool {
	for _, r := range f.s.Renditions() {
		if derived(r) {
			continue
		}
		snap := r.Snapshot()
		if snap.Segment(f.number) != nil || f.number > snap.LastSequence() && f.number <= snap.LastSequence()+ahead && !snap.Ended {
			return true
		}
	}
	return false
}

// missing reports whether a rendition that is made here has no such segment and will not
// have it, though the source had.
func (f *fetch) missing(snap *pack.Snapshot) bool {
	if !derived(f.rend) || !f.plausible() {
		return false
	}
	first := snap.Open
	for _, seg := range snap.Segments {
		if !seg.Gap {
			first = seg
			break
		}
	}
	return first != nil && f.number < first.Sequence || f.number <= snap.LastSequence()
}

// empty sends a fragment without samples in place of a segment that has no media, or that
// was foretold under parameters that it does not have.
func (f *fetch) empty(snap *pack.Snapshot, seg *pack.Segment) {
	f.h.m.filled.Inc()
	track, base := snap.Track, int64(0)
	if seg != nil {
		track, base = seg.Init.Track, seg.BaseTime
	} else {
		for _, r := range f.s.Renditions() {
			if like := r.Snapshot().Segment(f.number); like != nil {
				base = track.Ticks(like.Init.Track.Duration(like.BaseTime))
				break
			}
		}
	}
	fragment := fmp4.Fragment{Sequence: uint32(f.number), Track: track, BaseDTS: base}
	b := newBody(fragment.AppendTo(nil))
	f.a.whole(http.StatusOK, f.mime(), cacheNever, b.length, b.bytes)
}
