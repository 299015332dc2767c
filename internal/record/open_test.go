package record

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// cutPower makes all further operations fail.
func (d *fakeDisk) cutPower() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAfter = d.ops
}

// The power is cut at random moments of a broadcast, and its publisher does not come back: at
// most a second of the end is lost in any rendition, and what is there is what was sent.
func TestPowerCutCostsASecond(t *testing.T) {
	for _, mode := range []media.LatencyMode{media.LatencyLow, media.LatencyUltra, media.LatencyStandard} {
		t.Run(string(mode), func(t *testing.T) {
			random := rand.New(rand.NewPCG(11, 12))
			worst := time.Duration(0)
			for range 40 {
				at := 7*time.Second + time.Duration(random.Int64N(int64(13*time.Second)))
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, pack.DefaultConfig())
					r.mode = mode
					defer r.close()
					r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
					worst = max(worst, cutAt(t, r, at, true, random))
				})
			}
			t.Logf("at most %v was lost", worst)
			if worst > time.Second {
				t.Errorf("%v was lost", worst)
			}
		})
	}
}

// cutAt records for a time until the power is cut, or the server is killed, and returns how
// much of the end was lost.
func cutAt(t *testing.T, r *rig, at time.Duration, power bool, random *rand.Rand) (lost time.Duration) {
	t.Helper()
	d := newFakeDisk()
	l, _ := library(t, d)
	ctx, kill := context.WithCancel(context.Background())
	done, s := make(chan error, 1), r.stream()
	go func() { done <- l.Record(ctx, assetID, streamID, s) }()
	r.write(at)
	if power {
		d.cutPower()
	}
	kill()
	if err := <-done; err == nil {
		t.Error("it did not end with ctx")
	}
	r.end()
	d.cutPower()
	d = d.reboot(random)
	l, _ = library(t, d)
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Finish(t.Context(), assetID); err != nil {
		t.Fatalf("after %v: %v", at, err)
	}
	a, ok := l.Asset(assetID)
	if !ok {
		t.Fatalf("after %v: there is no asset", at)
	}
	now := a.Snapshot()
	check(t, l, now)
	if now.State != Ready || len(now.Gaps) != 0 {
		t.Errorf("%s, gaps %v", now.State, now.Gaps)
	}
	for _, sent := range s.Renditions() {
		have, ok := now.Rendition(sent.Name())
		list := sent.Snapshot().Segments
		if !ok {
			lost = max(lost, list[len(list)-1].Start.Add(list[len(list)-1].Duration).Sub(list[0].Start))
			continue
		}
		end, last := list[len(list)-1], have.Segments.At(have.Segments.Len()-1)
		lost = max(lost, end.Start.Add(end.Duration).Sub(last.Start.Add(last.Duration)))
		for i, h := range unpacked(have.Segments) {
			w := list[i]
			if h.Name != w.Name || h.Start.Sub(w.Start).Abs() > time.Microsecond || h.BaseTime != w.BaseTime || h.Offset != w.Offset ||
				h.Independent != w.Independent || h.KeySize != w.KeySize || i < have.Segments.Len()-1 && h.Ticks != w.Ticks {
				t.Errorf("%s: %+v was %+v", sent.Name(), h, *w)
			}
			if b := content(t, l, assetID, sent.Name(), h.Name); !bytes.HasPrefix(bytes.Join(w.Blob.Chunks, nil), b) {
				t.Errorf("%s: %s is not as it was sent", sent.Name(), h.Name)
			}
		}
	}
	for name := range d.now {
		if strings.Contains(name, "/open.") {
			t.Errorf("%s is left", name)
		}
	}
	return lost
}

// The power is cut at operation after operation of a broadcast that is being recorded: what
// was told is there, and no more than a second is lost.
func TestPowerCutWhileParts(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 14))
	for cut := 40; cut < 260; cut += 3 {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, pack.DefaultConfig())
			defer r.close()
			r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
			d := newFakeDisk()
			l, _ := library(t, d)
			ctx, kill := context.WithCancel(context.Background())
			done, s := make(chan error, 1), r.stream()
			d.cutAfter = d.ops + cut
			go func() { done <- l.Record(ctx, assetID, streamID, s) }()
			for {
				d.mu.Lock()
				over := d.ops >= d.cutAfter
				d.mu.Unlock()
				if over {
					break
				}
				r.write(50 * time.Millisecond)
			}
			told := &Snapshot{}
			if a, ok := l.Asset(assetID); ok {
				told = a.Snapshot()
			}
			kill()
			if err := <-done; err == nil {
				t.Error("it did not end with ctx")
			}
			r.end()
			d = d.reboot(random)
			l, _ = library(t, d)
			// And once more while that is being repaired.
			d.cutAfter = d.ops + random.IntN(60)
			if l.Load(t.Context()) == nil {
				_ = l.Finish(t.Context(), assetID) // the power is cut
			}
			d = d.reboot(random)
			l, _ = library(t, d)
			if err := l.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := l.Finish(t.Context(), assetID); err != nil && !fault.Is(err, fault.NotFound) {
				t.Fatal(err)
			}
			b, ok := l.Asset(assetID)
			if !ok {
				if told.Duration > 0 {
					t.Errorf("cut %d: it is gone", cut)
				}
				return
			}
			now := b.Snapshot()
			check(t, l, now)
			if now.State != Ready || now.Ended.Before(told.Ended) {
				t.Errorf("cut %d: %s, %v, told %v", cut, now.State, now.Duration, told.Duration)
			}
			for _, sent := range s.Renditions() {
				list := sent.Snapshot().Segments
				have, ok := now.Rendition(sent.Name())
				if !ok {
					continue // the power was cut before
				}
				end, last := list[len(list)-1], have.Segments.At(have.Segments.Len()-1)
				if lost := end.Start.Add(end.Duration).Sub(last.Start.Add(last.Duration)); lost > time.Second && told.Duration > 0 {
					t.Errorf("cut %d: %v of %s is lost", cut, lost, sent.Name())
				}
			}
		})
	}
}

// After a power cut pack's last window may be older than the recording: a broadcast that goes
// on from there is another one, for it uses numbers again.
func TestAWindowOlderThanTheRecordingIsNotResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pack.DefaultConfig())
		defer r.close()
		r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
		d := newFakeDisk()
		l, _ := library(t, d)
		ctx, kill := context.WithCancel(context.Background())
		done, s := make(chan error, 1), r.stream()
		go func() { done <- l.Record(ctx, assetID, streamID, s) }()
		r.write(12*time.Second + 900*time.Millisecond)
		kill()
		if err := <-done; err == nil {
			t.Error("it did not end with ctx")
		}
		d.cutPower()
		d = d.reboot(rand.New(rand.NewPCG(1, 1)))
		l, _ = library(t, d)
		if err := l.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := l.active[assetID]
		if id, ok := l.Resume(streamID, s); !ok || id != assetID {
			t.Fatalf("the same broadcast is not resumed: %q, %v", id, ok)
		}
		if len(w.left) == 0 {
			t.Fatal("nothing is known of the segment in progress")
		}
		w.left[0].size++ // more than pack has of it
		if _, ok := l.Resume(streamID, s); ok {
			t.Error("a broadcast goes on that lost what is recorded of the segment in progress")
		}
		w.left[0].size--
		have := w.draft.renditions[0]
		list := unpacked(have.Segments)
		last := &list[len(list)-1]
		last.Name = "sother.1.m4s"
		have.Segments = SegmentsOf(list)
		if _, ok := l.Resume(streamID, s); ok {
			t.Error("a broadcast goes on whose segments are others")
		}
		have.Segments = SegmentsOf([]Segment{{Sequence: last.Sequence + 100}})
		if _, ok := l.Resume(streamID, s); ok {
			t.Error("a broadcast goes on that is behind the recording")
		}
		r.end()
	})
}
