package record

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The power is cut at every operation of a deletion: at the next start the asset is there as
// it was, or nothing of it is.
func TestDeletionAndPowerCuts(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.write(11 * time.Second)
		r.end()
		random := rand.New(rand.NewPCG(3, 4))
		whole, gone := 0, 0
		for cut := 0; ; cut++ {
			d := newFakeDisk()
			l, _ := library(t, d)
			if err := l.Record(t.Context(), assetID, streamID, r.stream()); err != nil {
				t.Fatal(err)
			}
			d.cutAfter = d.ops + cut
			err := l.Delete(t.Context(), assetID)
			d = d.reboot(random)
			l, _ = library(t, d)
			if err := l.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			a, ok := l.Asset(assetID)
			switch {
			case ok && err == nil:
				t.Fatal("it is there after it was deleted")
			case ok:
				whole++
				check(t, l, a.Snapshot())
			default:
				gone++
				for name, n := range d.now {
					if !n.dir { // an empty folder is nothing of it
						t.Errorf("cut %d: %s is left", cut, name)
					}
				}
			}
			if err == nil {
				t.Logf("%d operations; it was whole after %d cuts and gone after %d", cut, whole, gone)
				return
			}
		}
	})
}

// half is journals of which some may not be known.
type half struct {
	Journals
	partial bool
}

func (h *half) Partial() bool { return h.partial }

// What is left of a deleted asset may be a clip's whose index is not known: it stays until all
// indexes are.
func TestDeletedStaysWhileIndexesAreUnknown(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.write(11 * time.Second)
		r.end()
		d := newFakeDisk()
		l, _ := library(t, d)
		if err := l.Record(t.Context(), assetID, streamID, r.stream()); err != nil {
			t.Fatal(err)
		}
		if err := l.mark(assetID); err != nil { // and killed
			t.Fatal(err)
		}
		objects := 0
		for _, partial := range []bool{true, false} {
			l, f := library(t, d)
			l.journals = &half{f, partial}
			if err := l.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			objects = len(stored(t, l, ""))
			if partial && objects == 0 {
				t.Error("its objects are gone")
			}
		}
		if objects > 0 {
			t.Errorf("%d objects are left", objects)
		}
	})
}
