package record

import (
	"context"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// killed records a broadcast for a time, and returns the disk as a killed server leaves it;
// what was not synced is there, as no power was cut.
func killed(t *testing.T, cfg pack.Config, mode media.LatencyMode, d time.Duration) (disk *fakeDisk, told *Snapshot) {
	r := newRig(t, cfg)
	r.mode = mode
	r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
	disk = newFakeDisk()
	l, _ := library(t, disk)
	ctx, kill := context.WithCancel(context.Background())
	done, s := make(chan error, 1), r.stream()
	go func() { done <- l.Record(ctx, assetID, streamID, s) }()
	r.write(d)
	kill()
	if err := <-done; err == nil {
		t.Error("it did not end with ctx")
	}
	a, ok := l.Asset(assetID)
	if !ok {
		t.Fatal("there is no asset")
	}
	told = a.Snapshot()
	disk.mu.Lock()
	disk.cutAfter = disk.ops
	disk.mu.Unlock()
	// A killed packer leaves its files: they are copied before it ends.
	keep := copyDir(t, cfg.Dir)
	r.close()
	restoreDir(t, keep, cfg.Dir)
	return disk, told
}

// After a restart of the server the broadcast goes on as the same asset, with no other gaps
// than pack has, and with the segment that was in progress: where its publisher comes back,
// and where it does not.
func TestABroadcastGoesOnAfterARestart(t *testing.T) {
	t.Run("with its publisher", func(t *testing.T) { goesOn(t, true) })
	t.Run("without its publisher", func(t *testing.T) { goesOn(t, false) })
}

func goesOn(t *testing.T, back bool) {
	synctest.Test(t, func(t *testing.T) {
		cfg := pack.DefaultConfig()
		cfg.Dir = t.TempDir()
		d, told := killed(t, cfg, media.LatencyLow, 21*time.Second+700*time.Millisecond)
		time.Sleep(2 * time.Second) // until the server runs again

		d = d.reboot(rand.New(rand.NewPCG(5, 6)))
		l, _ := library(t, d)
		if err := l.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ids := l.Unfinished(); len(ids) != 1 || ids[0] != assetID {
			t.Fatalf("unfinished: %v", ids)
		}
		h := hub.New(hub.DefaultConfig(), nil, quiet, nil)
		r := &rig{t: t, hub: h, packer: pack.New(cfg, h, quiet, nil), tracks: map[*media.Track]*media.Track{}, done: make(chan struct{})}
		histories := r.packer.Histories()
		if len(histories) != 1 {
			t.Fatalf("%d histories", len(histories))
		}
		ctx, stop := context.WithCancel(context.Background())
		r.stop = stop
		r.run(ctx)
		defer r.close()

		s := r.stream()
		if _, ok := l.Resume("ls_other", s); ok {
			t.Error("another stream goes on with it")
		}
		id, ok := l.Resume(streamID, s)
		if !ok || id != assetID {
			t.Fatalf("%q, %v", id, ok)
		}
		done := r.record(l)
		synctest.Wait()
		if n := len(l.Unfinished()); n != 0 {
			t.Errorf("%d are unfinished while they are resumed", n)
		}
		want, slack := 21*time.Second, time.Second
		if back {
			// The seconds without a server are on the timeline, as pack has them.
			slack = 3 * time.Second
			r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60, Offset: histories[0].Position.Media})
			r.write(8 * time.Second)
			r.end()
			want += 8 * time.Second
		} else {
			r.packer.Forget(streamID)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a, _ := l.Asset(assetID)
		now := a.Snapshot()
		compare(t, l, s, now)
		if now.State != Ready || !back && len(now.Gaps) != 0 || now.Duration < want || now.Duration > want+slack || now.Duration < told.Duration {
			t.Errorf("%s, %v of %v and a little (%v before), gaps %v", now.State, now.Duration, want, told.Duration, now.Gaps)
		}
		if !now.Began.Equal(told.Began) {
			t.Errorf("it began %v, and before %v", now.Began, told.Began)
		}
	})
}

// Where nothing goes on, the asset is ended.
func TestAnAssetThatNobodyResumesIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, told := killed(t, pack.DefaultConfig(), media.LatencyLow, 15*time.Second)
		d = d.reboot(rand.New(rand.NewPCG(7, 8)))
		l, _ := library(t, d)
		if err := l.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		a, ok := l.Asset(assetID)
		if !ok || a.Snapshot().State != Recording {
			t.Fatalf("%v", a)
		}
		r := newRig(t, pack.DefaultConfig()) // another broadcast of the stream
		defer r.close()
		r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
		r.write(5 * time.Second)
		if id, ok := l.Resume(streamID, r.stream()); ok {
			t.Errorf("another broadcast goes on with %s", id)
		}
		events := l.events.Listen()
		if err := l.Finish(t.Context(), assetID); err != nil {
			t.Fatal(err)
		}
		if e, _, err := events.Next(t.Context()); err != nil || e.Event.Type() != "asset.ready" {
			t.Errorf("%+v, %v", e, err)
		}
		now := a.Snapshot()
		check(t, l, now)
		if now.State != Ready || now.Duration < told.Duration || len(l.Unfinished()) != 0 {
			t.Errorf("%s, %v, before %v", now.State, now.Duration, told.Duration)
		}
		r.end()
	})
}

// A server that was killed at any place of the segments starts again where the publisher is
// not waited for any more, and at most a second of the end is lost.
func TestKilledAnywhereAndNobodyComesBack(t *testing.T) {
	for _, mode := range []media.LatencyMode{media.LatencyLow, media.LatencyStandard} {
		for at := 9 * time.Second; at < 13500*time.Millisecond; at += 170 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				cfg := pack.DefaultConfig()
				cfg.Dir = t.TempDir()
				began := time.Now()
				d, told := killed(t, cfg, mode, at)
				dead := time.Now()
				h := hub.New(hub.DefaultConfig(), nil, quiet, nil)
				defer h.Close(io.EOF)
				packer := pack.New(cfg, h, quiet, nil)
				if n := len(packer.Histories()); n != 1 {
					t.Fatalf("%s, %v: %d histories", mode, at, n)
				}
				packer.Forget(streamID)
				l, _ := library(t, d.reboot(rand.New(rand.NewPCG(7, 8))))
				if err := l.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := l.Finish(t.Context(), assetID); err != nil {
					t.Fatal(err)
				}
				a, _ := l.Asset(assetID)
				now := a.Snapshot()
				check(t, l, now)
				lost := dead.Sub(began) - now.Duration
				if now.State != Ready || now.Duration < told.Duration || lost > time.Second || len(now.Gaps) != 0 {
					t.Errorf("%s, %v: %s, %v were recorded of %v, gaps %v", mode, at, now.State, now.Duration, dead.Sub(began), now.Gaps)
				}
			})
		}
	}
}
