package pack

import (
	"encoding/json"
	"time"

	"onair/internal/media"
)

// What a stream's last window looks like on disk: files of records, each an entry in JSON
// and the bytes it describes. Every file can be read without those before it, so that the
// oldest goes as a whole when the window has left it.

// entry is one record's description: one of its fields is set.
type entry struct {
	Head  *headEntry  `json:"head,omitempty"`
	Track *trackEntry `json:"track,omitempty"`
	Init  *initEntry  `json:"init,omitempty"`
	Part  *partEntry  `json:"part,omitempty"`
	Close *closeEntry `json:"close,omitempty"`
	State *stateEntry `json:"state,omitempty"`
	// Rendition is the name of the one that the others but Head are about.
	Rendition string `json:"r,omitempty"`
}

// headEntry is what does not change while a broadcast lasts.
type headEntry struct {
	Format  int               `json:"format"`
	Stream  string            `json:"stream"`
	Mode    media.LatencyMode `json:"mode"`
	Segment time.Duration     `json:"segment"`
	Part    time.Duration     `json:"part"`
	Target  int               `json:"target"`
	Video   bool              `json:"video"`
	Zero    time.Time         `json:"zero"` // wall clock at Anchor
	Anchor  time.Duration     `json:"anchor"`
	First   int64             `json:"first"`
}

// journalFormat is the version of all this; another one is not read.
const journalFormat = 2

type trackEntry struct {
	ID         int           `json:"id"`
	Feed       string        `json:"feed,omitempty"`
	Kind       media.Kind    `json:"kind"`
	PartTarget time.Duration `json:"target"`
	Grid       bool          `json:"grid,omitempty"`
	Derived    bool          `json:"derived,omitempty"`
}

type initEntry struct {
	N     int64        `json:"n"`
	Name  string       `json:"name"`
	Track *media.Track `json:"track"`
}

// segmentEntry is what is known of a segment from its beginning.
type segmentEntry struct {
	Sequence      int64     `json:"seq"`
	Name          string    `json:"name"`
	Init          int64     `json:"init"`
	Start         time.Time `json:"at"`
	OpenStart     int64     `json:"dts"`
	Discontinuity bool      `json:"disc,omitempty"`
	Independent   bool      `json:"indep,omitempty"`
	FirstPart     int64     `json:"first"`
	Discs         int       `json:"discs"`
	Base          int64     `json:"base"`
	Offset        int64     `json:"offset,omitempty"`
}

type partEntry struct {
	segmentEntry
	ID   int64         `json:"id"`
	Part string        `json:"part,omitempty"`
	Long time.Duration `json:"long"`
	Key  bool          `json:"key,omitempty"`
	// KeySize is the segment's, of its first part.
	KeySize int64 `json:"keysize,omitempty"`
}

// closeEntry ends a segment; without parts it is a gap.
type closeEntry struct {
	segmentEntry
	Parts    int           `json:"parts"`
	Duration time.Duration `json:"long"`
	End      time.Duration `json:"end"`
	Ticks    int64         `json:"ticks"`
}

// stateEntry is what a rendition is like after the records before it.
type stateEntry struct {
	// Of the stream.
	Wall  time.Time     `json:"wall"`
	Shift time.Duration `json:"shift"`
	Delay time.Duration `json:"delay"`
	Group time.Duration `json:"group"`
	Discs int           `json:"discs"`
	Lead  string        `json:"lead"`
	// Of the rendition.
	Oldest    int64  `json:"oldest"` // sequence of the oldest segment that is kept
	Listed    int64  `json:"listed"` // and of the oldest in the playlist
	NextPart  int64  `json:"next"`
	Hint      string `json:"hint,omitempty"`
	Fragments uint32 `json:"fragments"`
	End       int64  `json:"end"` // ticks
	Usual     int64  `json:"usual"`
	Peak      int64  `json:"peak"`
}

// note is an entry that waits for the next publication, with the initialization section
// it needs.
type note struct {
	entry entry
	init  *Init
	data  []byte
}

// record is an entry on its way to the disk.
type record struct{ meta, data []byte }

// journal is the segmenter's end of what is written to disk.
type journal struct {
	to    *recorder
	head  func() *headEntry
	size  int       // bytes since the last file began
	fresh bool      // begin anew: what is on disk has a hole
	rest  time.Time // until when nothing is written, after a failure
	file  int       // counts the files, so that each rendition introduces itself in each
}

// journalRest is the pause after the disk failed or was full.
const journalRest = 10 * time.Second

// works reports whether there is writing to be done.
func (j *journal) works() bool {
	if j.to.failed.Swap(false) {
		j.fresh, j.rest = true, time.Now().Add(journalRest)
	}
	return j.rest.IsZero() || time.Now().After(j.rest)
}

// fileBytes is about how large a file of the journal becomes.
const fileBytes = 4 << 20

// describe is a segment's beginning.
func (b *builder) describe(seg *Segment) segmentEntry {
	return segmentEntry{
		Sequence: seg.Sequence, Name: seg.Name, Init: seg.Init.n, Start: seg.Start, OpenStart: b.openStart,
		Discontinuity: seg.Discontinuity, Independent: seg.Independent, FirstPart: seg.firstPart, Discs: seg.discs,
		Base: seg.BaseTime, Offset: seg.Offset,
	}
}

// notePart and noteClose remember what happened for the journal.
func (b *builder) notePart(p *Part, id int64, data []byte) {
	if b.s.journal == nil {
		return
	}
	b.notes = append(b.notes, note{init: b.open.Init, data: data, entry: entry{Part: &partEntry{
		segmentEntry: b.describe(b.open), ID: id, Part: p.Name, Long: p.Duration, Key: p.Independent, KeySize: b.open.KeySize,
	}}})
}

func (b *builder) noteClose(seg *Segment) {
	if b.s.journal == nil {
		return
	}
	b.notes = append(b.notes, note{init: seg.Init, entry: entry{Close: &closeEntry{
		segmentEntry: b.describe(seg), Parts: len(seg.Parts), Duration: seg.Duration, End: seg.end, Ticks: seg.Ticks,
	}}})
}

// show makes a snapshot visible, once the journal has what it tells. Where the disk does
// not keep up, viewers do not wait for it: the journal begins anew.
func (b *builder) show(snap *Snapshot) {
	b.shown++
	snap.number = b.shown
	j := b.s.journal
	if j == nil || snap.Ended || !b.s.begun || !j.works() {
		clear(b.notes)
		b.notes = b.notes[:0]
		b.r.publish(snap)
		return
	}
	out := batch{rendition: b.r, snap: snap, last: snap.LastSequence() + 1}
	out.oldest = out.last
	for _, t := range b.s.tracks {
		if len(t.kept) > 0 {
			out.oldest = min(out.oldest, t.kept[0].Sequence)
		}
	}
	if j.fresh || j.size > fileBytes || j.file == 0 {
		out.begins, out.fresh = true, j.fresh
		j.file++
		j.size, j.fresh = 0, false
		out.add(entry{Head: j.head()}, nil)
	}
	if b.file != j.file {
		b.file, b.noted = j.file, nil
		out.add(entry{Rendition: b.r.name, Track: &trackEntry{
			ID: b.id, Feed: b.feed, Kind: b.r.kind, PartTarget: b.r.partTarget, Grid: b.grid, Derived: b.r.derived,
		}}, nil)
	}
	for _, n := range b.notes {
		if n.init != b.noted {
			b.noted = n.init
			out.add(entry{Rendition: b.r.name, Init: &initEntry{N: n.init.n, Name: n.init.Name, Track: n.init.Track}}, n.init.Blob.Chunks[0])
		}
		n.entry.Rendition = b.r.name
		out.add(n.entry, n.data)
	}
	clear(b.notes)
	b.notes = b.notes[:0]
	out.add(entry{Rendition: b.r.name, State: b.state(snap)}, nil)
	for _, r := range out.records {
		j.size += len(r.meta) + len(r.data)
	}
	if !j.to.offer(out) {
		j.fresh = true
		b.r.publish(snap)
	}
}

func (b *builder) state(snap *Snapshot) *stateEntry {
	s := b.s
	e := &stateEntry{
		Wall: time.Now(), Shift: s.shift, Delay: s.delay, Group: s.group, Discs: s.discs,
		NextPart: b.nextPart, Hint: snap.Hint, Fragments: b.fragments, End: b.partEnd(), Usual: b.usual, Peak: b.peak,
	}
	if s.lead != nil {
		e.Lead = s.lead.r.name
	}
	if len(b.kept) > 0 {
		e.Oldest = b.kept[0].Sequence
	}
	if b.listed < len(b.kept) {
		e.Listed = b.kept[b.listed].Sequence
	}
	return e
}

// add appends a record.
func (b *batch) add(e entry, data []byte) {
	meta, err := json.Marshal(e)
	if err != nil {
		panic(err) // of plain values: cannot happen
	}
	b.records = append(b.records, record{meta, data})
}
