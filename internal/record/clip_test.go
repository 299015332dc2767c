package record

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

const clipID = "as_clip"

// recordedOn records 12 s on a disk.
func recordedOn(t *testing.T, d *fakeDisk) (*Library, *Snapshot) {
	t.Helper()
	r := newRig(t, pack.DefaultConfig())
	defer r.close()
	r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
	l, _ := library(t, d)
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.write(time.Second)
	done := r.record(l)
	r.write(11 * time.Second)
	r.end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	a, _ := l.Asset(assetID)
	return l, a.Snapshot()
}

// edges is a clip of a recording without its first and last segments, in which the first one
// of pictures is the clip's own.
func edges(s *Snapshot) Clip {
	v := s.Renditions[0]
	c := Clip{Source: s.ID, From: v.Segments.At(1).Sequence, To: v.Segments.At(v.Segments.Len() - 2).Sequence}
	own := OwnSegment{Segment: v.Segments.At(1), Track: &media.Track{Codec: media.H264, Timescale: v.Inits[0].Track.Timescale}, Init: []byte("init"), Data: []byte("data")}
	c.Breaks = []int64{c.From + 1}
	for _, r := range s.Renditions {
		cr := ClipRendition{Name: r.Name}
		if r == v {
			cr.Own = []OwnSegment{own}
		}
		c.Renditions = append(c.Renditions, cr)
	}
	return c
}

// checkClip compares a clip with what it was cut from.
func checkClip(t *testing.T, l *Library, s *Snapshot, c Clip, id string) {
	t.Helper()
	a, ok := l.Asset(id)
	if !ok {
		t.Fatalf("there is no %s", id)
	}
	got := a.Snapshot()
	if got.State != Ready || len(got.Renditions) != len(c.Renditions) || got.StreamID != s.StreamID || len(got.Gaps) != 0 {
		t.Fatalf("%+v", got)
	}
	for _, r := range got.Renditions {
		from, _ := s.Rendition(r.Name)
		want := unpacked(from.between(c.From, c.To))
		if r.Segments.Len() != len(want) {
			t.Fatalf("%s has %d segments, not %d", r.Name, r.Segments.Len(), len(want))
		}
		list, err := l.Tables(t.Context(), id, r.Name)
		if err != nil || len(list[0]) != len(want) {
			t.Fatalf("not %d tables: %v", len(want), err)
		}
		tables := list[0]
		for i, seg := range unpacked(r.Segments) {
			size := 4
			if seg.Asset != "" {
				size = int(want[i].Size)
			} else if r.Name != s.Renditions[0].Name || i > 0 {
				t.Errorf("%s: %s is the clip's own", r.Name, seg.Name)
			}
			in := seg.Asset
			if in == "" {
				in = id
			}
			if b := content(t, l, in, r.Name, seg.Name); len(b) != size || seg.Size != int64(size) || tables[i].Data[0] != byte(size) {
				t.Errorf("%s: %s has %d bytes, and %d in the index and table %v; not %d", r.Name, seg.Name, len(b), seg.Size, tables[i], size)
			}
			if seg.Discontinuity != (i == 1) {
				t.Errorf("%s: %s: discontinuity %v", r.Name, seg.Name, seg.Discontinuity)
			}
		}
		for _, init := range r.Inits {
			if string(content(t, l, id, r.Name, init.Name)) != string(init.Data) {
				t.Errorf("%s is another than in the index", init.Name)
			}
		}
	}
}

// objects are what a disk has below a folder.
func stored(t *testing.T, l *Library, id string) (names []string) {
	t.Helper()
	list, err := l.storage.List(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		names = append(names, o.Name)
	}
	return names
}

func TestClipKeepsWhatItNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		l, s := recordedOn(t, d)
		c := edges(s)
		events := l.events.Listen()
		if err := l.CreateClip(t.Context(), clipID, c); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"asset.created", "asset.ready"} {
			if e, _, err := events.Next(t.Context()); err != nil || e.Event.Type() != want {
				t.Errorf("%v, %v; not %s", e, err, want)
			}
		}
		checkClip(t, l, s, c, clipID)
		if err := l.CreateClip(t.Context(), clipID, c); !fault.Is(err, fault.Conflict) {
			t.Errorf("of the same id: %v", err)
		}
		// A clip of the clip has its segments where they are.
		a, _ := l.Asset(clipID)
		second := edges(a.Snapshot())
		second.Breaks = []int64{second.From + 1}
		if err := l.CreateClip(t.Context(), "as_second", second); err != nil {
			t.Fatal(err)
		}
		before := stored(t, l, assetID)
		if err := l.Delete(t.Context(), assetID); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, ok := l.Asset(assetID); ok {
				t.Error("the deleted recording is there")
			}
			checkClip(t, l, s, c, clipID)
			kept := stored(t, l, assetID)
			if n := 2*int(c.To-c.From+1) - 1; len(kept) != n || len(before) <= n {
				t.Errorf("%d objects are kept of %d, not %d", len(kept), len(before), n)
			}
			if err := l.CreateClip(t.Context(), "as_third", c); !fault.Is(err, fault.NotFound) {
				t.Errorf("of what is deleted: %v", err)
			}
			if err := l.CreateClip(t.Context(), assetID, second); err == nil {
				t.Error("with the id of what is deleted and kept")
			}
			l, _ = library(t, d) // and after a restart
			if err := l.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Delete(t.Context(), clipID); err != nil {
			t.Fatal(err)
		}
		if kept := stored(t, l, clipID); len(kept) != 0 {
			t.Errorf("of the first clip, of which the second needs nothing: %v", kept)
		}
		if kept := stored(t, l, assetID); len(kept) != 2*int(second.To-second.From+1)-1 {
			t.Errorf("for the second clip: %v", kept)
		}
		a, _ = l.Asset("as_second")
		if n := a.Snapshot().Renditions[0].Segments.Len(); n != int(second.To-second.From+1) {
			t.Errorf("the second clip has %d segments", n)
		}
		if err := l.Delete(t.Context(), "as_second"); err != nil {
			t.Fatal(err)
		}
		if names, _ := l.journals.Names(); len(names) != 0 || len(stored(t, l, "")) != 0 {
			t.Errorf("left: %v %v", names, stored(t, l, ""))
		}
		if len(l.ties.clips)+len(l.ties.gone)+len(l.ties.making) != 0 {
			t.Errorf("ties that nobody has: %+v", l.ties)
		}
	})
}

// The power fails at every operation of the making of a clip and of the deletion of its
// source: there is the whole clip or nothing of it, and nothing that it needs is missing.
func TestClipAndPowerCuts(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	synctest.Test(t, func(t *testing.T) {
		first := newFakeDisk()
		_, s := recordedOn(t, first)
		c := edges(s)
		whole, none := 0, 0
		for cut := 1; ; cut++ {
			d := first.reboot(random)
			l, _ := library(t, d)
			if err := l.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			d.cutAfter = d.ops + cut
			made := l.CreateClip(t.Context(), clipID, c)
			var deleted error
			if made == nil {
				deleted = l.Delete(t.Context(), assetID)
			}
			d = d.reboot(random)
			l, _ = library(t, d)
			if err := l.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, source := l.Asset(assetID)
			if _, ok := l.Asset(clipID); ok {
				whole++
				checkClip(t, l, s, c, clipID)
			} else {
				none++
				if made == nil || !source || len(stored(t, l, clipID)) > 0 {
					t.Fatalf("cut %d: the clip is gone (it was made: %v, its source is there: %v): %v", cut, made == nil, source, stored(t, l, clipID))
				}
			}
			if source {
				a, _ := l.Asset(assetID)
				check(t, l, a.Snapshot())
			}
			if made == nil && deleted == nil {
				if kept := stored(t, l, assetID); source || len(kept) != 2*int(c.To-c.From+1)-1 {
					t.Errorf("source is there: %v; kept: %v", source, kept)
				}
				break
			}
		}
		t.Logf("the clip was there after %d cuts, and not after %d", whole, none)
		if whole == 0 || none == 0 {
			t.Error("one of both was never seen")
		}
	})
}

func TestClipThatFailsLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		l, s := recordedOn(t, d)
		for _, bad := range []func(*Clip){
			func(c *Clip) { c.Source = "as_none" },
			func(c *Clip) { c.Renditions[0].Name = "v9" },
			func(c *Clip) { c.From, c.To = 1, 2 },
			func(*Clip) { // there is no room for its segment
				d.fail = func(op, name string) error {
					if op == "create" && strings.Contains(name, tempPrefix) {
						return syscall.ENOSPC
					}
					return nil
				}
			},
		} {
			c := edges(s)
			bad(&c)
			if err := l.CreateClip(t.Context(), clipID, c); err == nil {
				t.Errorf("made: %+v", c)
			}
			d.fail = nil
		}
		if names := stored(t, l, clipID); len(names) != 0 {
			t.Errorf("left: %v", names)
		}
		if err := l.CreateClip(t.Context(), "../x", edges(s)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := l.CreateClip(ctx, clipID, edges(s)); err == nil {
			t.Error("made with an ended context")
		}
		if ids := l.Assets(); !slices.Equal(ids, []string{assetID}) || len(l.ties.clips)+len(l.ties.making) != 0 {
			t.Errorf("%v, %+v", ids, l.ties)
		}
	})
}

// An index whose end is damaged is a clip all the same; one that cannot be read keeps what it
// may need.
func TestClipWithDamagedIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		l, s := recordedOn(t, d)
		c := edges(s)
		if err := l.CreateClip(t.Context(), clipID, c); err != nil {
			t.Fatal(err)
		}
		j, err := l.journals.Append(journalName(clipID))
		if err != nil {
			t.Fatal(err)
		}
		r, _ := l.journals.Read(journalName(clipID))
		if err := j.Truncate(r.Size() - 3); err != nil {
			t.Fatal(err)
		}
		_ = j.Sync()
		if err := l.Delete(t.Context(), assetID); err != nil {
			t.Fatal(err)
		}
		again, _ := library(t, d)
		if err := again.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkClip(t, again, s, c, clipID)
	})
}

// Clips and deletions of one recording at the same time.
func TestClipsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		l, s := recordedOn(t, d)
		c := edges(s)
		const n = 8
		made := make(chan string, n)
		for i := range n {
			go func() {
				id := fmt.Sprintf("as_clip%d", i)
				err := l.CreateClip(t.Context(), id, c)
				if err != nil && !fault.Is(err, fault.NotFound) {
					t.Error(err)
				}
				if err != nil {
					id = ""
				}
				made <- id
			}()
		}
		if err := l.Delete(t.Context(), assetID); err != nil {
			t.Error(err)
		}
		for range n {
			id := <-made
			if id == "" {
				continue
			}
			checkClip(t, l, s, c, id)
			if err := l.Delete(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
		if left := stored(t, l, ""); len(left) != 0 {
			t.Errorf("left: %s", strings.Join(left, " "))
		}
	})
}

// The source is deleted while a clip of it is made, and then the clip: nothing of both is known.
func TestClipOfWhatIsDeletedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := recordedOn(t, newFakeDisk())
		c := edges(s)
		c.Renditions = c.Renditions[:1]
		scan := l.cfg.Scan
		l.cfg.Scan = func(chunks [][]byte) ([]byte, error) {
			if err := l.Delete(t.Context(), assetID); err != nil {
				t.Error(err)
			}
			return scan(chunks)
		}
		if err := l.CreateClip(t.Context(), clipID, c); err != nil {
			t.Fatal(err)
		}
		checkClip(t, l, s, c, clipID)
		if err := l.Delete(t.Context(), clipID); err != nil {
			t.Fatal(err)
		}
		if _, ok := l.Asset(clipID); ok || len(l.cache) > 0 || l.cost != 0 {
			t.Errorf("the deleted clip is there: %v; %d indexes of %d bytes are in memory", ok, len(l.cache), l.cost)
		}
		if left := stored(t, l, ""); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}
