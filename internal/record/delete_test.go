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
