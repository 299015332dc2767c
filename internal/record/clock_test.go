package record

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/media/mediatest"
)

// The clock jumps by an hour while a broadcast is recorded: what is listed stays in order,
// without overlaps, and no hour is made up or taken away.
func TestTheClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				l, _ := library(t, newFakeDisk())
				done := r.record(l)
				r.write(9 * time.Second)
				r.jump = jump
				r.write(10 * time.Second)
				r.end()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				a, _ := l.Asset(assetID)
				s := a.Snapshot()
				check(t, l, s)
				ordered(t, s)
				if s.Duration < 18*time.Second || s.Duration > 20*time.Second || len(s.Gaps) != 0 {
					t.Errorf("%v of 19 s, gaps %v", s.Duration, s.Gaps)
				}
			})
		})
	}
}

// ordered fails where a segment begins before the one before it ended.
func ordered(t *testing.T, s *Snapshot) {
	t.Helper()
	for _, r := range s.Renditions {
		for i := 1; i < r.Segments.Len(); i++ {
			before, seg := r.Segments.At(i-1), r.Segments.At(i)
			if d := seg.Start.Sub(before.Start.Add(before.Duration)); d < -time.Millisecond {
				t.Errorf("%s: %s begins %v before %s ended", r.Name, seg.Name, -d, before.Name)
			}
		}
	}
}

// The clock is an hour ahead or behind when a killed server starts again: the asset is what it
// was.
func TestTheClockJumpsOverARestart(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			var d *fakeDisk
			var told *Snapshot
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(2 * time.Hour)
				r := newRig(t, pack.DefaultConfig())
				defer r.close()
				r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
				d = newFakeDisk()
				l, _ := library(t, d)
				ctx, kill := context.WithCancel(context.Background())
				done, s := make(chan error, 1), r.stream()
				go func() { done <- l.Record(ctx, assetID, streamID, s) }()
				r.write(12 * time.Second)
				kill()
				if err := <-done; err == nil {
					t.Error("it did not end with ctx")
				}
				r.end()
				a, _ := l.Asset(assetID)
				told = a.Snapshot()
			})
			synctest.Test(t, func(t *testing.T) { // its clock begins anew
				time.Sleep(2*time.Hour + jump)
				d = d.reboot(rand.New(rand.NewPCG(1, 2)))
				l, _ := library(t, d)
				if err := l.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := l.Finish(t.Context(), assetID); err != nil {
					t.Fatal(err)
				}
				a, _ := l.Asset(assetID)
				s := a.Snapshot()
				check(t, l, s)
				ordered(t, s)
				if !s.Began.Equal(told.Began) || s.Duration < 11*time.Second || s.Duration > 13*time.Second || len(s.Gaps) != 0 || s.State != Ready {
					t.Errorf("%s, %v from %v, gaps %v; told %v from %v", s.State, s.Duration, s.Began, s.Gaps, told.Duration, told.Began)
				}
			})
		})
	}
}

// What the journal of parts costs.
func TestSyncsAreFew(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		open, all := 0, 0
		d.fail = func(op, name string) error {
			if op == "sync" || op == "syncdir" {
				all++
				if op == "sync" && len(name) > 10 && name[len(name)-10:len(name)-5] == "open." {
					open++
				}
			}
			return nil
		}
		l, _ := library(t, d)
		done := r.record(l)
		r.write(10 * time.Second)
		d.mu.Lock()
		openBefore, allBefore := open, all
		d.mu.Unlock()
		r.write(time.Minute)
		d.mu.Lock()
		openAfter, allAfter := open-openBefore, all-allBefore
		d.mu.Unlock()
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		t.Logf("%.1f syncs a second, %.1f of them of the journal of parts", float64(allAfter)/60, float64(openAfter)/60)
		if openAfter > 5*60 {
			t.Errorf("%d syncs of the journal of parts in a minute", openAfter)
		}
	})
}
