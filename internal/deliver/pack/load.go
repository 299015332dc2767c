package pack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
)

// past is a stream as its journal tells it.
type past struct {
	head       *headEntry
	renditions []*pastRendition // in the order in which they began
	newest     *stateEntry
	files      []journalFile
	number     int // of the newest file
}

type pastRendition struct {
	name     string
	track    trackEntry
	inits    map[int64]*Init
	segments []*Segment // complete, without a hole in their numbers
	open     *Segment
	openDTS  int64
	state    *stateEntry
}

// readPast reads the journal in a folder. What a killed server left half written ends a
// file and is not read.
func readPast(folder string) (*past, error) {
	list, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	p := &past{}
	for _, e := range list { // sorted by name
		name := filepath.Join(folder, e.Name())
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		p.number++
		if n, ok := fileNumber(e.Name()); ok {
			p.number = n
		}
		p.files = append(p.files, journalFile{name: name, size: int64(len(b))})
		p.read(b, &p.files[len(p.files)-1])
	}
	for _, r := range p.renditions {
		r.trim()
	}
	if p.head == nil || p.newest == nil || p.lead() == nil {
		return nil, fault.New(fault.Invalid, "read last window", folder, "it is not complete", "")
	}
	return p, nil
}

func fileNumber(name string) (n int, ok bool) {
	digits, _, _ := strings.Cut(name, ".")
	for _, c := range digits {
		if c < '0' || c > '9' || n > 1<<40 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, digits != ""
}

// lead is the rendition that led; nil if it has no complete segment.
func (p *past) lead() *pastRendition {
	for _, r := range p.renditions {
		if r.name == p.newest.Lead && len(r.segments) > 0 && r.state != nil {
			return r
		}
	}
	return nil
}

// read takes the records of one file.
func (p *past) read(b []byte, f *journalFile) {
	for {
		rec, rest, ok := cutRecord(b)
		if !ok {
			return
		}
		b = rest
		var e entry
		if json.Unmarshal(rec.meta, &e) != nil {
			return
		}
		if h := e.Head; h != nil {
			if h.Format != journalFormat || h.Target <= 0 || h.Zero.IsZero() {
				return
			}
			p.head = h
			continue
		}
		if p.head == nil || !p.apply(&e, rec.data, f) {
			return
		}
	}
}

// apply takes one record. It reports false if there is something wrong with it.
func (p *past) apply(e *entry, data []byte, f *journalFile) bool {
	i := slices.IndexFunc(p.renditions, func(r *pastRendition) bool { return r.name == e.Rendition })
	if i < 0 {
		if e.Track == nil || len(p.renditions) == maxTracks+maxDerived || !wellNamed(e.Rendition) {
			return false
		}
		p.renditions = append(p.renditions, &pastRendition{name: e.Rendition, track: *e.Track, inits: map[int64]*Init{}})
		return true
	}
	r := p.renditions[i]
	switch {
	case e.Track != nil:
		return true
	case e.Init != nil:
		if e.Init.Track == nil || e.Init.Track.Timescale <= 0 || e.Init.Track.Kind() != r.track.Kind {
			return false
		}
		if r.inits[e.Init.N] == nil {
			r.inits[e.Init.N] = &Init{Name: e.Init.Name, Track: e.Init.Track, Blob: newBlob(data), n: e.Init.N}
		}
		return true
	case e.Part != nil:
		f.last = max(f.last, e.Part.Sequence)
		return r.addPart(e.Part, data)
	case e.Close != nil:
		f.last = max(f.last, e.Close.Sequence)
		return r.close(e.Close)
	case e.State != nil:
		r.state, p.newest = e.State, e.State
		return true
	}
	return false
}

// segment makes the beginning of a segment; nil without its initialization section.
func (r *pastRendition) segment(e *segmentEntry) *Segment {
	init := r.inits[e.Init]
	if init == nil {
		return nil
	}
	return &Segment{
		Sequence: e.Sequence, Name: e.Name, Init: init, Start: e.Start, Discontinuity: e.Discontinuity,
		Independent: e.Independent, BaseTime: e.Base, Offset: e.Offset, firstPart: e.FirstPart, discs: e.Discs,
	}
}

func (r *pastRendition) addPart(e *partEntry, data []byte) bool {
	if r.open == nil || r.open.Sequence != e.Sequence {
		if e.ID != e.FirstPart {
			return true // the beginning is not there: of no use
		}
		if r.open = r.segment(&e.segmentEntry); r.open == nil {
			return false
		}
		r.openDTS, r.open.KeySize = e.OpenStart, e.KeySize
	}
	if e.ID != r.open.firstPart+int64(len(r.open.Parts)) {
		r.open = nil
		return true
	}
	r.open.Parts = append(r.open.Parts, Part{Name: e.Part, Duration: e.Long, Independent: e.Key, Blob: newBlob(data)})
	return true
}

func (r *pastRendition) close(e *closeEntry) bool {
	seg := r.open
	r.open = nil
	if e.Parts == 0 {
		if seg = r.segment(&e.segmentEntry); seg == nil {
			return false
		}
		seg.Gap = true
	} else {
		if seg == nil || seg.Sequence != e.Sequence || len(seg.Parts) != e.Parts {
			return true
		}
		var chunks [][]byte
		for i := range seg.Parts {
			chunks = append(chunks, seg.Parts[i].Blob.Chunks...)
		}
		seg.Blob = newBlob(chunks...)
	}
	seg.Duration, seg.Ticks, seg.end = e.Duration, e.Ticks, e.End
	if n := len(r.segments); n > 0 && r.segments[n-1].Sequence+1 != seg.Sequence {
		r.segments = nil
	}
	r.segments = append(r.segments, seg)
	return true
}

// trim leaves what the last state had.
func (r *pastRendition) trim() {
	if r.state == nil {
		r.segments, r.open = nil, nil
		return
	}
	r.segments = slices.DeleteFunc(r.segments, func(s *Segment) bool { return s.Sequence < r.state.Oldest })
	if n := len(r.segments); n > 0 && r.open != nil && r.open.Sequence != r.segments[n-1].Sequence+1 {
		r.open = nil
	}
}

// restore makes the stream anew, as it was when its last state was written.
func (s *Stream) restore(p *past) {
	h := p.head
	s.mode = h.Mode
	pl := &plan{
		segment: h.Segment, part: h.Part, target: h.Target, video: h.Video, group: p.newest.Group,
		cadence: map[trackKey][]time.Duration{},
	}
	g := newSegmenter(s.cfg, pl, newEpoch(), s.m, s)
	s.seg = g
	g.anchor, g.zero, g.first, g.begun = h.Anchor, h.Zero, h.First, true
	g.shift, g.delay, g.discs = p.newest.Shift, p.newest.Delay, p.newest.Discs
	for _, r := range p.renditions {
		if len(r.segments) == 0 {
			continue // nobody saw it; it begins anew under the same name
		}
		b := r.builder(g)
		g.tracks = append(g.tracks, b)
		g.of.added(b)
		if r.name == p.newest.Lead {
			g.lead = b
		}
	}
	g.reopen()
	s.set(state{target: pl.target, holdBack: pl.holdBack(), origin: g.wall(0)})
	g.publish()
	s.update()
}

// builder makes the builder of a rendition.
func (r *pastRendition) builder(g *segmenter) *builder {
	last := r.segments[len(r.segments)-1]
	init := last.Init
	if r.open != nil {
		init = r.open.Init
	}
	b := &builder{
		s: g, id: r.track.ID, feed: r.track.Feed, grid: r.track.Grid, hinted: -1,
		r:     &Rendition{name: r.name, kind: r.track.Kind, derived: r.track.Derived, partTarget: r.track.PartTarget},
		track: init.Track, init: init, kept: r.segments, needKey: true, dirty: true,
		nextPart: r.state.NextPart, fragments: r.state.Fragments, usual: r.state.Usual, peak: r.state.Peak,
		end: r.state.End, endTime: max(last.end, init.Track.Duration(r.state.End)),
		promised: r.state.Hint, promisedID: r.state.NextPart, openStart: r.state.End,
	}
	for n := range r.inits {
		b.inits = max(b.inits, n+1)
	}
	if o := r.open; o != nil {
		b.open, b.openStart = o, r.openDTS
		for i := range o.Parts {
			b.openChunks = append(b.openChunks, o.Parts[i].Blob.Chunks...)
			b.openBytes += int(o.Parts[i].Blob.Size)
		}
	}
	b.partStart = b.end
	for _, seg := range b.kept {
		if !seg.Gap {
			b.reorder = seg.Init.Track.Duration(seg.Offset)
		}
		if seg.Blob != nil {
			b.keptBytes += int(seg.Blob.Size)
		}
		if seg.Sequence < r.state.Listed && b.listed < len(b.kept)-1 {
			b.listed++
		}
	}
	b.longest = last.end - b.kept[b.listed].end + b.kept[b.listed].Duration
	for _, seg := range b.kept[:b.listed] {
		seg.keepUntil = last.end + b.longest
	}
	g.m.bytes.Add(float64(b.keptBytes))
	return b
}

// reopen opens the domain that was open: its boundaries are those of the leading track.
func (s *segmenter) reopen() {
	lead := s.lead
	var domain []*Segment
	for _, seg := range lead.kept {
		if seg.discs == s.discs {
			domain = append(domain, seg)
		}
	}
	s.next = lead.kept[len(lead.kept)-1].Sequence + 1
	if lead.open != nil {
		s.next++
		if lead.open.discs == s.discs {
			domain = append(domain, lead.open)
		}
	}
	if len(domain) == 0 {
		return // the next frame opens one
	}
	s.open = true
	s.start, s.startSeq, s.startTag = s.at(domain[0].Start), domain[0].Sequence, domain[0].Discontinuity
	for _, seg := range domain[1:] {
		s.cuts = append(s.cuts, cut{at: s.at(seg.Start), sequence: seg.Sequence})
	}
	s.frontier = lead.endTime + s.delay
	s.lastKey = lead.endTime
	for _, b := range s.tracks {
		n := b.kept[len(b.kept)-1].Sequence + 1
		if b.open != nil {
			n = b.open.Sequence
		}
		b.ahead = int(max(0, n-s.startSeq))
	}
}

// resume takes the first frames of the leading track after a restart, where the media on
// disk ended: what is a little earlier is moved there. It reports whether it did.
func (s *segmenter) resume(b *builder, f *frame) bool {
	if b.pending != nil && !b.resumed || b.end == 0 {
		return false
	}
	off := f.Track.Duration(f.dts - b.end)
	if off > s.plan.limit() || off < -time.Second {
		return false
	}
	if b.pending != nil && f.dts > b.pending.dts {
		b.resumed = false
		return false
	}
	delay := f.pts - f.dts
	if f.dts < b.end || b.open != nil && f.dts-b.end <= 2*b.usual {
		f.dts = b.end
	}
	f.pts = f.dts + delay
	b.pending, b.resumed = f, true
	if b.open == nil {
		at := f.decode() + s.delay
		b.begin(f, s.next, false, at)
		if s.next > s.startSeq {
			s.cuts = append(s.cuts, cut{at: at, sequence: s.next})
		}
		s.next++
	}
	s.frontier = max(s.frontier, f.decode()+s.delay)
	return true
}

// keyPacket returns the last key frame on disk of a video rendition, as ingest wrote it;
// nil if there is none.
func (b *builder) keyPacket() *media.Packet {
	chunks := append([][]byte(nil), b.openChunks...)
	for i := len(b.kept) - 1; i >= -1; i-- {
		if p := lastKey(b.init, chunks); p != nil {
			p.Track = b.track
			return p
		}
		if i < 0 || b.kept[i].Init != b.init || b.kept[i].Blob == nil {
			return nil
		}
		chunks = b.kept[i].Blob.Chunks
	}
	return nil
}
