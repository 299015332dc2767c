package record

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"onair/internal/media"
)

// sample is a journal, and where its records end.
func sample() (b []byte, ends []int) {
	track := &media.Track{ID: 1, Codec: media.H264, Timescale: 90000}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	add := func(e *entry, data []byte) {
		b = appendEntry(b, e, data)
		ends = append(ends, len(b))
	}
	add(&entry{Head: &headEntry{Format: indexFormat, Asset: assetID, Stream: streamID, Target: 3, Origin: start}}, nil)
	add(&entry{R: "v0", Track: &trackEntry{Kind: media.Video}}, nil)
	add(&entry{R: "v0", Init: &initEntry{Name: "ix.0.mp4", Track: track}}, []byte("init"))
	for i := range int64(6) {
		add(&entry{R: "v0", Segment: &segmentEntry{
			Sequence: 100 + i, Name: fmt.Sprintf("sx.%d.m4s", 100+i), Init: "ix.0.mp4", Start: start.Add(time.Duration(i) * 2 * time.Second),
			Duration: 2 * time.Second, Base: i * 180000, Ticks: 180000, Size: 1000,
		}}, []byte("table"))
	}
	return b, ends
}

func readAll(b []byte) (d *draft, good, lost int64) {
	d = &draft{}
	good, lost, err := readIndex(bytes.NewReader(b), int64(len(b)), func(e *entry, data []byte) error {
		d.apply(e, data)
		return nil
	})
	if err != nil {
		panic(err) // of memory: cannot happen
	}
	return d, good, lost
}

// Cut at every byte, a journal tells what it had told before.
func TestIndexCutAtEveryByte(t *testing.T) {
	b, ends := sample()
	for cut := range len(b) + 1 {
		whole := 0
		for whole < len(ends) && ends[whole] <= cut {
			whole++
		}
		want := 0
		if whole > 0 {
			want = ends[whole-1]
		}
		d, good, lost := readAll(b[:cut:cut])
		if good != int64(want) || lost != 0 {
			t.Fatalf("cut at %d: whole up to %d, want %d; %d bytes lost", cut, good, want, lost)
		}
		segments := 0
		if len(d.renditions) > 0 {
			segments = d.renditions[0].Segments.Len()
		}
		if segments != max(0, whole-3) {
			t.Fatalf("cut at %d: %d segments of %d records", cut, segments, whole)
		}
	}
}

// Cut at every byte, an asset is taken up again, and ended; one in which there is no segment is
// removed.
func TestLoadOfAnIndexCutAtEveryByte(t *testing.T) {
	b, ends := sample()
	for cut := range len(b) + 1 {
		d := newFakeDisk()
		l, f := library(t, d)
		j, err := f.Append(journalName(assetID))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Write(b[:cut]); err != nil {
			t.Fatal(err)
		}
		if err := l.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, id := range l.Unfinished() {
			if err := l.Finish(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		again, _ := library(t, d)
		if err := again.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		a, ok := again.Asset(assetID)
		if ok != (cut >= ends[3]) {
			t.Fatalf("cut at %d: there is an asset: %v", cut, ok)
		}
		if !ok {
			if len(d.now) != 1 {
				t.Fatalf("cut at %d: it is left on the disk", cut)
			}
			continue
		}
		whole := 0
		for whole < len(ends) && ends[whole] <= cut {
			whole++
		}
		n := 0
		if s := a.Snapshot(); len(s.Renditions) > 0 {
			n = s.Renditions[0].Segments.Len()
		}
		if n != max(0, whole-3) || a.Snapshot().State != Ready {
			t.Fatalf("cut at %d: %d segments of %d records", cut, n, whole)
		}
	}
}

// A byte that is another costs the record that it is in, and never one that says something
// else.
func TestIndexDamagedAtEveryByte(t *testing.T) {
	b, ends := sample()
	for at := range b {
		c := bytes.Clone(b)
		c[at] ^= 0x41
		d, good, lost := readAll(c)
		hit := 0
		for ends[hit] <= at {
			hit++
		}
		if hit == len(ends)-1 {
			if good != int64(ends[hit-1]) {
				t.Fatalf("at %d: whole up to %d", at, good)
			}
			continue
		}
		size := ends[hit]
		if hit > 0 {
			size -= ends[hit-1]
		}
		if good != int64(len(b)) || lost != int64(size) {
			t.Fatalf("at %d: whole up to %d of %d, lost %d of record %d, which has %d", at, good, len(b), lost, hit, size)
		}
		if hit < 3 {
			continue // nothing can be made of the rest
		}
		var gaps int
		segments := unpacked(d.renditions[0].Segments)
		for i := range segments {
			if segments[i].Gap {
				gaps++
			}
		}
		first := hit == 3
		if first && (len(segments) != 5 || gaps != 0) || !first && (len(segments) != 6 || gaps != 1 || d.renditions[0].Segments.At(hit-3).Duration != 2*time.Second) {
			t.Fatalf("at %d: %d segments, %d gaps", at, len(segments), gaps)
		}
	}
}

func TestReadEnd(t *testing.T) {
	b, _ := sample()
	if e, err := readEnd(bytes.NewReader(b), int64(len(b))); e != nil || err != nil {
		t.Errorf("of one that goes on: %v, %v", e, err)
	}
	end := appendEntry(bytes.Clone(b), &entry{End: &endEntry{State: Ready, Error: string(bytes.Repeat([]byte("\x01"), maxErrorText))}}, nil)
	if e, err := readEnd(bytes.NewReader(end), int64(len(end))); e == nil || e.State != Ready || err != nil {
		t.Errorf("%v, %v", e, err)
	}
	end = append(end, 'x')
	if e, err := readEnd(bytes.NewReader(end), int64(len(end))); e != nil || err != nil {
		t.Errorf("with something behind it: %v, %v", e, err)
	}
	if e, err := readEnd(bytes.NewReader(nil), 0); e != nil || err != nil {
		t.Errorf("of nothing: %v, %v", e, err)
	}
}

// FuzzReadIndex: whatever stands in an index, it is read without a failure, within bounds,
// and what is made of it holds together.
func FuzzReadIndex(f *testing.F) {
	b, ends := sample()
	f.Add(b)
	f.Add(b[:ends[4]+5])
	damaged := bytes.Clone(b)
	damaged[ends[5]+20] ^= 1
	f.Add(damaged)
	f.Add(append(b[:ends[2]:ends[2]], b[ends[6]:]...))
	f.Add(bytes.Repeat([]byte(recordMark+"\x08\x00\x00\x00"), 50))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, good, lost := readAll(b)
		if good < 0 || lost < 0 || good > int64(len(b)) || lost > good {
			t.Fatalf("whole up to %d, %d lost, of %d", good, lost, len(b))
		}
		if d.head == nil {
			return
		}
		for _, r := range d.snapshot().Renditions {
			for i := range r.Segments.Len() {
				if int(r.Segments.At(i).Init) >= len(r.Inits) || i > 0 && r.Segments.At(i).Sequence != r.Segments.At(i-1).Sequence+1 {
					t.Fatalf("segment %d of %s: %+v", i, r.Name, r.Segments.At(i))
				}
			}
		}
		_, err := readEnd(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
	})
}

// Marks without records cost no more than a pass, however many there are.
func TestIndexOfMarks(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	b, _ := sample()
	for range 100_000 {
		b = append(b, recordMark...)
		b = append(b, byte(random.IntN(256)), byte(random.IntN(256)), 0, 0, byte(random.IntN(256)), byte(random.IntN(256)), 1, 0)
	}
	r := &counted{ReaderAt: bytes.NewReader(b)}
	if _, _, err := readIndex(r, int64(len(b)), func(*entry, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if r.n > 4*maxMarks {
		t.Errorf("%d reads", r.n)
	}
}

type counted struct {
	io.ReaderAt
	n int
}

func (c *counted) ReadAt(b []byte, at int64) (int, error) {
	c.n++
	return c.ReaderAt.ReadAt(b, at)
}

// The entry of a segment says afterwards what it said.
func TestSegmentEntries(t *testing.T) {
	full := segmentEntry{
		Sequence: 1 << 62, Name: "stxé.7.m4s", Init: "ix.0.mp4", Start: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC), Duration: 2*time.Second + 1,
		Base: math.MinInt64, Ticks: math.MaxInt64, Offset: -3003, Size: 1 << 40, KeySize: 77, Discontinuity: true, Independent: true, Gap: true, Asset: "as_other",
	}
	entries := []entry{
		{R: "v0", Segment: &full},
		{R: "v0", Segment: &segmentEntry{}},
		{Segment: &segmentEntry{Name: "{}", Start: time.Date(1890, 1, 1, 0, 0, 0, 999999999, time.UTC)}},
		{R: "a0", Segment: &segmentEntry{Discontinuity: true}},
		{R: "a0", Segment: &segmentEntry{Independent: true}},
		{R: "a0", Segment: &segmentEntry{Gap: true}},
		{R: "a0", Segment: &segmentEntry{Name: strings.Repeat("n", 2000), Init: full.Init}},
	}
	var b []byte
	for i := range entries {
		b = appendEntry(b, &entries[i], []byte{byte(i)})
	}
	i := 0
	good, lost, err := readIndex(bytes.NewReader(b), int64(len(b)), func(e *entry, data []byte) error {
		if want := entries[i]; e.R != want.R || *e.Segment != *want.Segment || data[0] != byte(i) {
			t.Errorf("%d: of %+v became %s %+v with %v", i, want.Segment, e.R, e.Segment, data)
		}
		i++
		return nil
	})
	if i != len(entries) || good != int64(len(b)) || lost != 0 || err != nil {
		t.Errorf("%d entries, whole up to %d of %d, %d lost: %v", i, good, len(b), lost, err)
	}
	// What is too short, too long or has other flags is none, whatever its checksum.
	whole := marshalSegment("v0", &full)
	for _, meta := range append([][]byte{append(whole[:len(whole):len(whole)], 0), {segmentMeta, 8}}, cuts(whole)...) {
		if r, ok := new(segmentEntry).parse(meta, &names{}); ok {
			t.Errorf("%q is one of %s", meta, r)
		}
	}
}

// cuts are all true beginnings of b.
func cuts(b []byte) (out [][]byte) {
	for i := range b {
		out = append(out, b[:i:i])
	}
	return out
}

// FuzzSegmentEntry: whatever is read as a segment's entry is what would be written of it.
func FuzzSegmentEntry(f *testing.F) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	f.Add(marshalSegment("v0", &segmentEntry{Sequence: 7, Name: "s.7.m4s", Init: "i.0.mp4", Start: start, Duration: time.Second, Base: -1, Ticks: 90000, Size: 5, Asset: "a"}))
	f.Add([]byte("s\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again segmentEntry
		var seen names
		r, ok := e.parse(b, &seen)
		if !ok {
			return
		}
		if s, ok := again.parse(marshalSegment(r, &e), &seen); !ok || s != r || again != e {
			t.Fatalf("of %s %+v became %s %+v", r, e, s, again)
		}
	})
}
