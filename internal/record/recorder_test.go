package record

import (
	"math/rand/v2"
	"testing"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/fault"
)

// compare holds an asset against all that pack has.
func compare(t *testing.T, l *Library, s *pack.Stream, snap *Snapshot) {
	t.Helper()
	check(t, l, snap)
	for _, r := range s.Renditions() {
		mine, ok := snap.Rendition(r.Name())
		if !ok {
			t.Errorf("%s is missing", r.Name())
			continue
		}
		segments := r.Snapshot().Segments
		have := unpacked(mine.Segments)[max(0, mine.Segments.Len()-len(segments)):]
		if len(have) != len(segments) {
			t.Errorf("%s: %d segments, of %d", r.Name(), len(have), len(segments))
			continue
		}
		for i, seg := range segments {
			h := have[i]
			if h.Sequence != seg.Sequence || h.Name != seg.Name || !h.Start.Equal(seg.Start) || h.Duration != seg.Duration ||
				h.BaseTime != seg.BaseTime || h.Ticks != seg.Ticks || h.Offset != seg.Offset || h.Gap != seg.Gap || h.Discontinuity != seg.Discontinuity ||
				mine.Inits[h.Init].Name != seg.Init.Name {
				t.Errorf("%s: %+v is not %+v", r.Name(), h, *seg)
			}
			if seg.Gap {
				continue
			}
			var want []byte
			for _, c := range seg.Blob.Chunks {
				want = append(want, c...)
			}
			if string(content(t, l, snap.ID, r.Name(), h.Name)) != string(want) {
				t.Errorf("%s: %s is not as it was sent", r.Name(), h.Name)
			}
		}
	}
}

func TestABroadcastBecomesAnAsset(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		l, _ := library(t, newFakeDisk())
		done := r.record(l)
		r.write(9 * time.Second)
		a, ok := l.Asset(assetID)
		if !ok {
			t.Fatal("there is no asset")
		}
		s := a.Snapshot()
		if s.State != Recording || s.StreamID != streamID || len(s.Renditions) != 2 || s.Duration < 6*time.Second || s.TargetDuration == 0 {
			t.Errorf("while it is recorded: %+v", s)
		}
		compare(t, l, r.stream(), s)
		r.write(40 * time.Second)
		select {
		case <-s.Changed:
		default:
			t.Error("who waits is not told of more")
		}
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		s = a.Snapshot()
		if s.State != Ready || len(s.Gaps) != 0 || s.Duration < 48*time.Second || s.Duration > 50*time.Second {
			t.Errorf("at the end: %v, %v, %v", s.State, s.Duration, s.Gaps)
		}
		compare(t, l, r.stream(), s)
		var bytes int64
		for _, rend := range s.Renditions {
			for i := range rend.Segments.Len() {
				bytes += rend.Segments.At(i).Size
			}
			for _, i := range rend.Inits {
				bytes += int64(len(i.Data))
			}
			tables, err := l.Tables(t.Context(), assetID, rend.Name)
			if err != nil || len(tables[0]) != rend.Segments.Len() {
				t.Fatalf("%s: %d tables, %v", rend.Name, len(tables), err)
			}
			for i, table := range tables[0] {
				if table.Size != rend.Segments.At(i).Size || int64(table.Data[0])|int64(table.Data[1])<<8|int64(table.Data[2])<<16 != table.Size {
					t.Errorf("%s: table %d is another's", rend.Name, i)
				}
			}
		}
		if bytes != s.Bytes {
			t.Errorf("%d bytes, in fact %d", s.Bytes, bytes)
		}

		// Another server.
		again, _ := library(t, l.storage.(*Folder).sys.(*fakeDisk))
		if err := again.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, ok := again.Asset(assetID)
		if !ok || b.Snapshot().State != Ready || b.Snapshot().Duration != s.Duration || b.Snapshot().Bytes != s.Bytes {
			t.Errorf("read again: %+v", b)
		}
		compare(t, again, r.stream(), b.Snapshot())
		if err := again.Delete(t.Context(), assetID); err != nil {
			t.Fatal(err)
		}
		if _, ok := again.Asset(assetID); ok || len(again.Assets()) != 0 {
			t.Error("it is there after it was deleted")
		}
		if n := len(l.storage.(*Folder).sys.(*fakeDisk).now); n != 1 {
			t.Errorf("%d files are left", n-1)
		}
	})
}

// indexed counts the segments in the asset's index.
func indexed(l *Library) (n int) {
	d, _, _, err := l.read(assetID)
	if err != nil {
		return 0
	}
	for _, r := range d.renditions {
		n += r.Segments.Len()
	}
	return n
}

// The power is cut at every operation on the disk: what the library had told is there, byte
// for byte, after what was not synced is gone; and so it is after a second cut while the
// first one is being repaired.
func TestPowerCutAtEveryOperation(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.write(11 * time.Second)
		r.end()
		s := r.stream()
		random := rand.New(rand.NewPCG(1, 2))
		finished := 0
		for cut := 0; ; cut++ {
			d := newFakeDisk()
			l, _ := library(t, d)
			d.cutAfter = d.ops + cut
			err := l.Record(t.Context(), assetID, streamID, s)
			told := &Snapshot{}
			if a, ok := l.Asset(assetID); ok {
				told = a.Snapshot()
			}
			if err == nil {
				t.Logf("%d operations in all, %d segments found without an entry", cut, finished)
				if finished == 0 {
					t.Error("no segment was ever found without an entry")
				}
				return
			}
			d = d.reboot(random)
			if second := random.IntN(30); second < 20 {
				l, _ = library(t, d)
				d.cutAfter = d.ops + second
				if l.Load(t.Context()) == nil {
					for _, id := range l.Unfinished() {
						_ = l.Finish(t.Context(), id) // the power is cut
					}
				}
				d = d.reboot(random)
			}
			l, _ = library(t, d)
			before := indexed(l)
			if err := l.Load(t.Context()); err != nil {
				t.Fatalf("cut %d: %v", cut, err)
			}
			finished += indexed(l) - before
			for _, id := range l.Unfinished() {
				if err := l.Finish(t.Context(), id); err != nil {
					t.Fatalf("cut %d: %v", cut, err)
				}
			}
			a, ok := l.Asset(assetID)
			if !ok {
				if len(told.Renditions) > 0 {
					t.Fatalf("cut %d: the asset is gone", cut)
				}
				continue
			}
			now := a.Snapshot()
			check(t, l, now)
			if now.State != Ready {
				t.Errorf("cut %d: it is %s", cut, now.State)
			}
			for _, was := range told.Renditions {
				is, ok := now.Rendition(was.Name)
				if !ok || is.Segments.Len() < was.Segments.Len() {
					t.Fatalf("cut %d: %s has lost segments", cut, was.Name)
				}
				for i, seg := range unpacked(was.Segments) {
					if got := is.Segments.At(i); got.Name != seg.Name || got.Size != seg.Size {
						t.Errorf("cut %d: %+v was %+v", cut, got, seg)
					}
				}
			}
			for _, is := range now.Renditions {
				sent, _ := s.Rendition(is.Name)
				for i, got := range unpacked(is.Segments) {
					want := sent.Snapshot().Segments[i]
					if got.Name != want.Name || got.Start.Sub(want.Start).Abs() > time.Microsecond || (got.Duration-want.Duration).Abs() > time.Microsecond || got.BaseTime != want.BaseTime || got.Ticks != want.Ticks || got.Offset != want.Offset || got.Independent != want.Independent {
						t.Errorf("cut %d: %+v was %+v", cut, got, *want)
					}
				}
			}
		}
	})
}

// What the storage is too slow for is a gap, in numbers and in words.
func TestASlowStorageLeavesAGap(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		l, _ := library(t, newFakeDisk())
		slow := &slowStorage{Storage: l.storage}
		l.storage = slow
		done := r.record(l)
		r.write(9 * time.Second)
		slow.delay.Store(int64(4 * time.Minute))
		r.write(5 * time.Minute)
		slow.delay.Store(0)
		r.write(5 * time.Minute)
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a, _ := l.Asset(assetID)
		s := a.Snapshot()
		check(t, l, s)
		if len(s.Gaps) == 0 || s.State != Ready {
			t.Fatalf("%s, gaps %v", s.State, s.Gaps)
		}
		var missing time.Duration
		for _, g := range s.Gaps {
			missing += g.Duration
		}
		if missing < time.Minute || missing > 9*time.Minute || s.Duration < 10*time.Minute || s.Duration > 10*time.Minute+10*time.Second {
			t.Errorf("%v of %v is missing", missing, s.Duration)
		}
		for _, r := range s.Renditions {
			for i := 1; i < r.Segments.Len(); i++ {
				before := r.Segments.At(i - 1)
				if d := r.Segments.At(i).Start.Sub(before.Start.Add(before.Duration)); d > 50*time.Millisecond || d < -50*time.Millisecond {
					t.Errorf("%s: %v between %d and the next", r.Name, d, before.Sequence)
				}
			}
		}
	})
}

func TestRecordTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		l, _ := library(t, newFakeDisk())
		done := r.record(l)
		r.write(5 * time.Second)
		if err := l.Record(t.Context(), assetID, streamID, r.stream()); !fault.Is(err, fault.Conflict) {
			t.Errorf("again: %v", err)
		}
		if err := l.Delete(t.Context(), assetID); !fault.Is(err, fault.Conflict) {
			t.Errorf("deleted while it is recorded: %v", err)
		}
		if err := l.Finish(t.Context(), assetID); !fault.Is(err, fault.NotFound) {
			t.Errorf("finished while it is recorded: %v", err)
		}
		r.end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
