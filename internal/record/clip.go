package record

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/media"
)

// Clip is an asset that is cut from another one: segments of that, and a few of its own at
// the edges. All its renditions have the numbers From to To.
type Clip struct {
	// Source is the asset that it is cut from, and From and To the media sequence numbers of
	// its first and last segment.
	Source   string
	From, To int64
	// Breaks are numbers at which something begins that does not continue what is before it.
	Breaks []int64
	// Renditions are those of the source that the clip has.
	Renditions []ClipRendition
}

// ClipRendition is one track of a clip. What is neither in Own nor a gap is the source's.
type ClipRendition struct {
	Name string
	// Own are the segments that are in the place of the source's, by number.
	Own []OwnSegment
	// Instead are initialization sections that the clip has in the place of the source's of the
	// same name, with which the source's segments can be decoded as well.
	Instead []Init
}

// OwnSegment is a segment that a clip has instead of the source's of that number.
type OwnSegment struct {
	// Segment is as in the index; Name, Asset, Init, Discontinuity and Size are filled in.
	Segment
	// Track and Init are the parameters that it was made with and their initialization
	// section, if they are not those of the source's segment.
	Track *media.Track
	Init  []byte
	// Data is the segment.
	Data []byte
}

// own is how much of a segment's size is the asset's own.
func (s *Segment) own() int64 {
	if s.Asset != "" {
		return 0
	}
	return s.Size
}

// CreateClip makes an asset of segments of another one, which is ready when it returns
// without an error: its own segments are durable, and what it has of the other asset stays in
// the storage for as long as a clip needs it, even if that asset is deleted.
//
// fault.NotFound if there is no such source, fault.Conflict if there is an asset of that id,
// fault.Invalid for what the source does not have, and what the storage says. Where it fails
// there is no asset.
func (l *Library) CreateClip(ctx context.Context, id string, c Clip) error {
	a, ok := l.Asset(c.Source)
	if !ok {
		return notFound("clip", c.Source)
	}
	s := a.Snapshot()
	of, err := s.sources(c)
	if err != nil {
		return err
	}
	if !wellNamed(id) {
		return fault.New(fault.Invalid, "clip", id, "an asset cannot be called so", "")
	}
	if err := l.tie(id, c.Source, of); err != nil {
		return err
	}
	w := &writer{l: l, asset: &Asset{id: id}, draft: &draft{}}
	err = w.clip(ctx, s, c, of)
	if w.j != nil {
		_ = w.j.Close() // its bytes are synced
	}
	l.tied(ctx, id, of, err == nil)
	if err != nil {
		return err
	}
	w.asset.show(w.draft.snapshot())
	l.keep(w.asset)
	l.publish(event.AssetCreated{StreamID: s.StreamID, AssetID: id})
	l.ready(w)
	return nil
}

// clipFlush is how many bytes of a clip's index are written at once.
const clipFlush = 1 << 20

// clip writes everything. The head is there before any object is, so that what a crash leaves
// is found; the end says that all is there.
func (w *writer) clip(ctx context.Context, s *Snapshot, c Clip, of []string) error {
	n := 0
	for i := range c.Renditions {
		r, _ := s.Rendition(c.Renditions[i].Name) // sources has found it
		between := r.between(c.From, c.To)
		n += between.Len()
	}
	w.add(&entry{Head: &headEntry{Format: indexFormat, Asset: w.asset.id, Stream: s.StreamID, Target: s.TargetDuration, Origin: s.Origin, Clip: n}}, nil)
	if err := w.flush(); err != nil {
		return err
	}
	for i := range c.Renditions {
		if err := w.clipRendition(ctx, s, &c, &c.Renditions[i]); err != nil {
			return err
		}
	}
	w.add(&entry{End: &endEntry{State: Ready, At: time.Now(), Of: of}}, nil)
	return w.flush()
}

func (w *writer) clipRendition(ctx context.Context, s *Snapshot, c *Clip, cr *ClipRendition) error {
	from, _ := s.Rendition(cr.Name) // sources has found it
	segments := from.between(c.From, c.To)
	if segments.Len() == 0 {
		return nil
	}
	list, err := w.l.Tables(ctx, s.ID, cr.Name)
	if err != nil {
		return err
	}
	tables := make(map[int64][]byte, segments.Len())
	for _, t := range list[0] {
		if t.Sequence >= c.From && t.Sequence <= c.To {
			tables[t.Sequence] = t.Data
		}
	}
	w.add(&entry{R: cr.Name, Track: &trackEntry{Kind: from.Kind}}, nil)
	for i := range segments.Len() {
		seg := segments.At(i)
		broken := i > 0 && (seg.Discontinuity || slices.Contains(c.Breaks, seg.Sequence))
		init, table := cr.init(w.asset.id, from.Inits[seg.Init]), tables[seg.Sequence]
		if own := cr.find(seg.Sequence); own != nil {
			if seg, init, err = w.ownSegment(ctx, cr.Name, own, init); err != nil {
				return err
			}
			table = w.l.scan([][]byte{own.Data})
		} else if seg.Asset == "" && !seg.Gap {
			seg.Asset = s.ID
		}
		if err := w.clipSegment(ctx, cr.Name, &seg, init, table, broken); err != nil {
			return err
		}
	}
	return nil
}

// ownSegment stores a segment of the clip's own, and returns what the index says of it.
func (w *writer) ownSegment(ctx context.Context, rendition string, own *OwnSegment, init *Init) (Segment, *Init, error) {
	seg := own.Segment
	number := strconv.FormatInt(seg.Sequence, 10)
	seg.Asset, seg.Gap, seg.Name, seg.Size = "", false, "sedge."+number+".m4s", int64(len(own.Data))
	if own.Track != nil {
		init = &Init{Name: "iedge." + number + ".mp4", Track: own.Track, Data: own.Init}
	}
	return seg, init, w.object(ctx, rendition, seg.Name, [][]byte{own.Data})
}

// clipSegment adds a segment to the index, and its initialization section before it.
func (w *writer) clipSegment(ctx context.Context, rendition string, seg *Segment, init *Init, table []byte, broken bool) error {
	r := w.draft.rendition(rendition)
	if r.initIndex(init.Name) < 0 {
		if err := w.object(ctx, rendition, init.Name, [][]byte{init.Data}); err != nil {
			return err
		}
		w.add(&entry{R: rendition, Init: &initEntry{Name: init.Name, Track: init.Track}}, init.Data)
	}
	e := &segmentEntry{
		Sequence: seg.Sequence, Name: seg.Name, Init: init.Name, Start: seg.Start, Duration: seg.Duration,
		Base: seg.BaseTime, Ticks: seg.Ticks, Offset: seg.Offset, Size: seg.Size, KeySize: seg.KeySize,
		Discontinuity: broken, Independent: seg.Independent, Gap: seg.Gap, Asset: seg.Asset,
	}
	if !w.add(&entry{R: rendition, Segment: e}, table) {
		return fmt.Errorf("segment %s does not fit into the index of a clip", seg.Name)
	}
	if len(w.buf) < clipFlush {
		return nil
	}
	return w.flush()
}

// init is what a clip has in the place of an initialization section of its source.
func (cr *ClipRendition) init(id string, source *Init) *Init {
	for i := range cr.Instead {
		if cr.Instead[i].Name == source.Name {
			return &Init{Name: "i" + id + "." + strconv.Itoa(i) + ".mp4", Track: cr.Instead[i].Track, Data: cr.Instead[i].Data}
		}
	}
	return source
}

func (cr *ClipRendition) find(number int64) *OwnSegment {
	for i := range cr.Own {
		if cr.Own[i].Sequence == number {
			return &cr.Own[i]
		}
	}
	return nil
}

// between returns the segments with the numbers from to to.
func (r *Rendition) between(from, to int64) Segments {
	n := int64(r.Segments.Len())
	if n == 0 {
		return Segments{}
	}
	first := r.Segments.Sequence(0)
	lo, hi := max(0, from-first), min(n, to-first+1)
	if lo >= hi {
		return Segments{}
	}
	return r.Segments.Slice(int(lo), int(hi))
}

// sources checks a clip, and returns the assets in which segments of it lie.
func (s *Snapshot) sources(c Clip) (of []string, err error) {
	there := false
	for i := range c.Renditions {
		r, ok := s.Rendition(c.Renditions[i].Name)
		if !ok {
			return nil, fault.New(fault.Invalid, "clip", s.ID, "it has no rendition "+strconv.Quote(c.Renditions[i].Name), "")
		}
		between := r.between(c.From, c.To)
		for k := range between.Len() {
			seg := between.Unnamed(k)
			there = true
			in := seg.Asset
			if in == "" {
				in = s.ID
			}
			if !seg.Gap && c.Renditions[i].find(seg.Sequence) == nil && !slices.Contains(of, in) {
				of = append(of, in)
			}
		}
	}
	if !there {
		return nil, fault.New(fault.Invalid, "clip", s.ID, fmt.Sprintf("it has no segments from %d to %d", c.From, c.To), "")
	}
	return of, nil
}
