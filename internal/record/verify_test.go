package record

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/fault"
	"onair/internal/media/mediatest"
)

// What is missing, cut off, changed, or not listed is found; repaired, the asset plays, and
// nothing more is found.
func TestVerifyAndRepair(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		l, _ := library(t, d)
		done := r.record(l)
		r.write(21 * time.Second)
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a, _ := l.Asset(assetID)
		was := a.Snapshot()
		v := was.Renditions[0]
		found := func(deep bool) (list []string) {
			t.Helper()
			report, err := l.Verify(t.Context(), assetID, deep)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range report.Problems {
				list = append(list, string(p.Kind)+" "+p.Object)
			}
			slices.Sort(list)
			return list
		}
		if list := found(true); len(list) > 0 {
			t.Fatalf("of what is whole: %q", list)
		}

		object := func(name string) string { return assetID + "/" + v.Name + "/" + name }
		at := func(name string) string { return "r/" + object(name) }
		missing, short, stray := v.Segments.At(2).Name, v.Segments.At(4).Name, "s0.5.m4s"
		init := v.Inits[0].Name
		delete(d.now, at(missing))
		d.now[at(short)].data = d.now[at(short)].data[:100]
		delete(d.now, at(init))
		if err := l.storage.Put(t.Context(), object(stray), [][]byte{[]byte("no segment")}); err != nil {
			t.Fatal(err)
		}
		index := d.now["r/"+journalName(assetID)]
		index.data[strings.Index(string(index.data), v.Segments.At(6).Name)] ^= 1
		l, _ = library(t, d)
		if err := l.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"altered " + object(short), "damaged " + journalName(assetID), "missing " + object(init), "missing " + object(missing),
			"stray " + object(stray), "stray " + object(v.Segments.At(6).Name),
		}
		slices.Sort(want)
		if list := found(false); !slices.Equal(list, want) {
			t.Fatalf("found %q, not %q", list, want)
		}
		fixed, err := l.Repair(t.Context(), assetID, false)
		if err != nil {
			t.Fatal(err)
		}
		// The strays of a damaged index stay where they are.
		if len(fixed) != len(want)-1 {
			t.Errorf("repaired: %v", fixed)
		}
		if _, err := l.Repair(t.Context(), assetID, false); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if list := found(true); len(list) > 0 {
				t.Errorf("after it was repaired: %q", list)
			}
			a, ok := l.Asset(assetID)
			if !ok {
				t.Fatal("there is no asset any more")
			}
			now := a.Snapshot()
			check(t, l, now)
			if now.State != Ready || now.Duration != was.Duration || len(now.Gaps) != 2 ||
				!now.Renditions[0].Segments.At(2).Gap || !now.Renditions[0].Segments.At(4).Gap || now.Renditions[0].Segments.At(6).Gap {
				t.Errorf("%s, %v, before %v, gaps %v", now.State, now.Duration, was.Duration, now.Gaps)
			}
			l, _ = library(t, d) // and once more as it is on disk
			if err := l.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func all(r *Rendition) (out []Segment) {
	for i := range r.Segments.Len() {
		out = append(out, r.Segments.At(i))
	}
	return out
}

// What is taken into the index again is told of as it was: where its key picture is, and that
// it does not continue the one before, also after the entry that said so is lost.
func TestRepairKeepsWhatASegmentIs(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		l, _ := library(t, d)
		done := r.record(l)
		r.write(9 * time.Second)
		time.Sleep(3 * time.Second)
		r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60, Offset: time.Hour})
		r.write(9 * time.Second)
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a, _ := l.Asset(assetID)
		was := a.Snapshot()
		index := d.now["r/"+journalName(assetID)]
		for _, r := range was.Renditions {
			list := all(r)
			i := slices.IndexFunc(list, func(s Segment) bool { return s.Discontinuity })
			if i < 2 || i > len(list)-3 {
				t.Fatalf("%s: segment %d of %d is the first behind the break", r.Name, i, len(list))
			}
			// The entry of one in the middle, and that of the one that breaks.
			for _, at := range []int{i - 2, i} {
				entry := marshalSegment(r.Name, &segmentEntry{
					Sequence: list[at].Sequence, Name: list[at].Name, Init: r.Inits[list[at].Init].Name, Start: list[at].Start, Duration: list[at].Duration,
					Base: list[at].BaseTime, Ticks: list[at].Ticks, Offset: list[at].Offset, Size: list[at].Size, KeySize: list[at].KeySize,
					Discontinuity: list[at].Discontinuity, Independent: list[at].Independent,
				})
				n := bytes.Index(index.data, entry)
				if n < 0 {
					t.Fatalf("%s: %s is not in the index as it should be", r.Name, list[at].Name)
				}
				index.data[n+1] ^= 8
			}
		}
		l, _ = library(t, d)
		if err := l.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Repair(t.Context(), assetID, false); err != nil {
			t.Fatal(err)
		}
		a, _ = l.Asset(assetID)
		now := a.Snapshot()
		check(t, l, now)
		for _, r := range was.Renditions {
			again, _ := now.Rendition(r.Name)
			for i, s := range all(r) {
				g := again.Segments.At(i)
				g.Start, g.Duration = g.Start.UTC().Round(time.Microsecond), g.Duration.Round(time.Microsecond)
				s.Start, s.Duration = s.Start.UTC().Round(time.Microsecond), s.Duration.Round(time.Microsecond)
				if g != s {
					t.Errorf("%s: %+v was %+v", r.Name, g, s)
				}
			}
		}
	})
}

// An asset that is read while its recording ends is in memory once, and counts once.
func TestAnAssetIsKeptOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		l, _ := library(t, newFakeDisk())
		done := r.record(l)
		r.write(6 * time.Second)
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a, _ := l.Asset(assetID)
		cost := l.cost
		other := &Asset{id: assetID}
		other.show(a.Snapshot())
		l.keep(other)
		if len(l.cache) != 1 || l.cost != cost {
			t.Errorf("%d indexes of %d bytes, not one of %d", len(l.cache), l.cost, cost)
		}
	})
}

// While a server records, another process may look, and changes nothing.
func TestLookWhileRecording(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		l, _ := library(t, d)
		done := r.record(l)
		r.write(9 * time.Second)
		before, _ := l.storage.List(t.Context(), "")
		other, _ := library(t, d)
		if err := other.Look(); err != nil {
			t.Fatal(err)
		}
		if ids := other.Assets(); !slices.Equal(ids, []string{assetID}) {
			t.Fatalf("assets: %q", ids)
		}
		report, err := other.Verify(t.Context(), assetID, true)
		if err != nil || len(report.Problems) > 0 || report.State != Recording {
			t.Errorf("%v, %v, %s", err, report.Problems, report.State)
		}
		if _, err := l.Repair(t.Context(), assetID, false); !fault.Is(err, fault.Conflict) {
			t.Errorf("repaired while it is recorded: %v", err)
		}
		if after, _ := l.storage.List(t.Context(), ""); len(after) != len(before) {
			t.Errorf("%d objects, before %d", len(after), len(before))
		}
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// A folder that is opened to be looked at needs no lock, and cannot be changed.
func TestReadFolder(t *testing.T) {
	dir := t.TempDir()
	server, err := NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := server.Put(t.Context(), "a/b", [][]byte{[]byte("x")}); err != nil {
		t.Fatal(err)
	}
	f, err := ReadFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := f.List(t.Context(), ""); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if err := f.Put(t.Context(), "a/c", nil); err == nil {
		t.Error("something was stored")
	}
	if err := f.Delete(t.Context(), "a"); err == nil {
		t.Error("something was deleted")
	}
	if _, err := ReadFolder(dir + "/none"); !fault.Is(err, fault.NotFound) {
		t.Errorf("no folder: %v", err)
	}
}

// A segment is stored before it is in the index: nothing is wrong where that is so while the
// asset is being recorded.
func TestLookWhileASegmentIsStored(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		l, _ := library(t, d)
		done := r.record(l)
		r.write(9 * time.Second)
		other, _ := library(t, d)
		if err := other.Look(); err != nil {
			t.Fatal(err)
		}
		s, err := other.Peek(assetID)
		if err != nil {
			t.Fatal(err)
		}
		stored := assetID + "/" + s.Renditions[0].Name + "/s0.99.m4s"
		if err := l.storage.Put(t.Context(), stored, [][]byte{[]byte("a segment")}); err != nil {
			t.Fatal(err)
		}
		report, err := other.Verify(t.Context(), assetID, true)
		if err != nil || len(report.Problems) > 0 || report.State != Recording {
			t.Errorf("%v, %v, %s", err, report.Problems, report.State)
		}
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if report, err = other.Verify(t.Context(), assetID, true); err != nil || len(report.Problems) != 1 || report.Problems[0].Kind != Stray {
			t.Errorf("of what is complete: %v, %v", err, report.Problems)
		}
	})
}

// Where nothing of an asset is in the storage, that may be another one: its index stays.
func TestRepairInAnotherStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		l, s := recordedOn(t, d)
		if err := l.CreateClip(t.Context(), clipID, edges(s)); err != nil {
			t.Fatal(err)
		}
		there := map[string]*inode{}
		for name, n := range d.now {
			if strings.HasSuffix(name, ".m4s") || strings.HasSuffix(name, ".mp4") {
				there[name] = n
				delete(d.now, name)
			}
		}
		for _, id := range []string{assetID, clipID} {
			if _, err := l.Repair(t.Context(), id, false); !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", id, err)
			}
		}
		maps.Copy(d.now, there)
		for _, id := range []string{assetID, clipID} {
			if report, err := l.Verify(t.Context(), id, true); err != nil || len(report.Problems) > 0 || report.State != Ready {
				t.Errorf("%s in its own storage: %v, %v", id, err, report.Problems)
			}
		}
	})
}
