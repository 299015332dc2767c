package record

import (
	"time"
)

// Bounds on what an index may hold, far above what pack makes.
const (
	maxRenditions = 64
	maxInits      = 4096 // of a rendition
	maxMissing    = 1 << 20
)

// draft is an asset while it is made of the entries of its index.
type draft struct {
	head       *headEntry
	renditions []*Rendition
	bytes      int64
	gaps       []Gap // of the first rendition
	end        *endEntry
	repaired   repairedEntry
	useless    repairedEntry // that and what is of no use since
}

// apply takes an entry. It reports false for one that is of no use: of a damaged index, in
// which what it needs is missing.
func (d *draft) apply(e *entry, data []byte) bool {
	switch {
	case e.Head != nil:
		if d.head != nil || e.Head.Format != indexFormat || e.Head.Target <= 0 || e.Head.Target > 3600 {
			return false
		}
		d.head = e.Head
		return true
	case d.head == nil:
		return false
	case e.End != nil:
		d.end = e.End
		return true
	case e.Repaired != nil:
		d.repaired = *e.Repaired
		return true
	case e.Track != nil:
		if d.rendition(e.R) == nil && len(d.renditions) < maxRenditions && wellNamed(e.R) {
			d.renditions = append(d.renditions, &Rendition{Name: e.R, Kind: e.Track.Kind})
		}
		return true
	}
	r := d.rendition(e.R)
	switch {
	case r == nil:
		return false
	case e.Init != nil:
		if e.Init.Track == nil || e.Init.Track.Timescale <= 0 || len(r.Inits) == maxInits || !wellNamed(e.Init.Name) {
			return false
		}
		if _, ok := r.Init(e.Init.Name); !ok {
			r.Inits = append(r.Inits, &Init{Name: e.Init.Name, Track: e.Init.Track, Data: data})
			d.bytes += int64(len(data))
		}
		return true
	case e.Segment != nil:
		return d.segment(r, e.Segment)
	case e.Lost != nil:
		return d.lose(r, e.Lost.Sequence)
	}
	return false
}

// lose makes a gap of a segment.
func (d *draft) lose(r *Rendition, sequence int64) bool {
	i, ok := r.Segments.Index(sequence)
	if !ok {
		return false
	}
	s := r.Segments.At(i)
	if s.Gap {
		return false
	}
	d.bytes -= s.own()
	s.Name, s.Asset, s.Gap, s.Size, s.KeySize = gapName, "", true, 0, 0
	r.Segments.set(i, s)
	d.countGaps(r)
	return true
}

// countGaps finds the gaps anew if they are those of a rendition.
func (d *draft) countGaps(r *Rendition) {
	if r != d.renditions[0] {
		return
	}
	d.gaps = nil
	for i := range r.Segments.Len() {
		seg := r.Segments.Unnamed(i)
		d.gaps = appendGap(d.gaps, &seg)
	}
}

func (d *draft) rendition(name string) *Rendition {
	for _, r := range d.renditions {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// segment adds a segment, or puts one in the place of a gap.
func (d *draft) segment(r *Rendition, e *segmentEntry) bool {
	init := r.initIndex(e.Init)
	if init < 0 || e.Duration < 0 || e.Size < 0 || e.Sequence < 0 || !wellNamed(e.Name) || e.Asset != "" && !wellNamed(e.Asset) {
		return false
	}
	seg := Segment{
		Sequence: e.Sequence, Name: e.Name, Init: init, Start: e.Start, Duration: e.Duration,
		BaseTime: e.Base, Ticks: e.Ticks, Offset: e.Offset, Size: e.Size, KeySize: e.KeySize,
		Discontinuity: e.Discontinuity, Independent: e.Independent, Gap: e.Gap, Asset: e.Asset,
	}
	n := r.Segments.Len()
	if n > 0 && seg.Sequence <= r.Segments.Sequence(n-1) {
		i, ok := r.Segments.Index(seg.Sequence)
		if !ok || !r.Segments.Unnamed(i).Gap || seg.Gap {
			return false
		}
		r.Segments.set(i, seg)
		d.bytes += seg.own()
		d.countGaps(r)
		return true
	}
	if !r.fill(&seg, time.Duration(d.head.Target)*time.Second) {
		return false
	}
	r.Segments.append(seg)
	d.bytes += seg.own()
	for i := n; r == d.renditions[0] && i < r.Segments.Len(); i++ {
		added := r.Segments.Unnamed(i)
		d.gaps = appendGap(d.gaps, &added)
	}
	return true
}

// initIndex finds an initialization section, where almost always it is the last one.
func (r *Rendition) initIndex(name string) int32 {
	for i := len(r.Inits) - 1; i >= 0; i-- {
		if r.Inits[i].Name == name {
			return int32(i)
		}
	}
	return -1
}

// fill adds gaps for the numbers that are missing before a segment, and reports false if
// that cannot be so many. The time between is shared among them; none is longer than the
// playlist's target duration.
func (r *Rendition) fill(seg *Segment, target time.Duration) bool {
	if r.Segments.Len() == 0 {
		return true
	}
	last := r.Segments.Last()
	missing := seg.Sequence - last.Sequence - 1
	if missing == 0 {
		return true
	}
	if missing > maxMissing {
		return false
	}
	track, at := r.Inits[last.Init].Track, last.Start.Add(last.Duration)
	each := min(max(seg.Start.Sub(at)/time.Duration(missing), 0), target)
	base := last.BaseTime + last.Ticks
	for i := range missing {
		r.Segments.append(Segment{
			Sequence: last.Sequence + 1 + i, Name: gapName, Init: last.Init, Gap: true,
			Start: at, Duration: each, BaseTime: base, Ticks: track.Ticks(each),
		})
		at, base = at.Add(each), base+track.Ticks(each)
	}
	seg.Discontinuity = seg.Discontinuity || seg.Init != last.Init
	return true
}

// gapName is what a segment is called that was missed: nothing is stored under it.
const gapName = "gap.m4s"

// snapshot is the asset as it is now. The slices are shared with those to come.
func (d *draft) snapshot() *Snapshot {
	s := &Snapshot{
		ID: d.head.Asset, StreamID: d.head.Stream, Origin: d.head.Origin, TargetDuration: d.head.Target,
		State: Recording, Bytes: d.bytes, Gaps: d.gaps[:len(d.gaps):len(d.gaps)],
	}
	if d.end != nil {
		s.State, s.Error = d.end.State, d.end.Error
	}
	for _, r := range d.renditions {
		if r.Segments.Len() == 0 {
			continue
		}
		s.Renditions = append(s.Renditions, &Rendition{
			Name: r.Name, Kind: r.Kind, Inits: r.Inits[:len(r.Inits):len(r.Inits)], Segments: r.Segments,
		})
		last := r.Segments.Last()
		from, to := r.Segments.Unnamed(0).Start, last.Start.Add(last.Duration)
		if s.Began.IsZero() || from.Before(s.Began) {
			s.Began = from
		}
		if to.After(s.Ended) {
			s.Ended = to
		}
	}
	s.Duration = s.Ended.Sub(s.Began)
	return s
}

// appendGap adds a segment's time if it is a gap, to the one before if it follows it.
func appendGap(list []Gap, seg *Segment) []Gap {
	if !seg.Gap {
		return list
	}
	if n := len(list); n > 0 && list[n-1].Start.Add(list[n-1].Duration).Equal(seg.Start) {
		longer := Gap{list[n-1].Start, list[n-1].Duration + seg.Duration}
		return append(list[:n-1:n-1], longer) // elsewhere: snapshots share what there was
	}
	return append(list, Gap{seg.Start, seg.Duration})
}
