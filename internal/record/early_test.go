package record

import (
	"context"
	"fmt"
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

// The power is cut, or the server killed, before a broadcast's first segment is complete: what
// pack had made of it is there, but for a second at most. Pack makes nothing while it learns the
// first group of pictures: half a second where it knows how often key frames come, and else
// what a segment is to last (docs/decisions/0003).
func TestKilledWithinTheFirstSegment(t *testing.T) {
	for _, c := range []struct {
		mode        media.LatencyMode
		keys, learn time.Duration
	}{
		{media.LatencyLow, 2 * time.Second, 500 * time.Millisecond},
		{media.LatencyUltra, 2 * time.Second, 500 * time.Millisecond},
		{media.LatencyStandard, 2 * time.Second, 500 * time.Millisecond},
		{media.LatencyLow, 0, 2 * time.Second},
		{media.LatencyUltra, 0, 2 * time.Second},
		{media.LatencyStandard, 0, 4 * time.Second},
	} {
		for _, power := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v/%v", c.mode, c.keys, power), func(t *testing.T) {
				random := rand.New(rand.NewPCG(21, 22))
				worst := time.Duration(0)
				for at := c.learn + 100*time.Millisecond; at < 6*time.Second; at += 130 * time.Millisecond {
					synctest.Test(t, func(t *testing.T) {
						r := newRig(t, pack.DefaultConfig())
						r.mode, r.keys = c.mode, c.keys
						defer r.close()
						r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
						worst = max(worst, cutAt(t, r, at, power, random))
					})
				}
				t.Logf("at most %v was lost", worst)
				if worst > time.Second {
					t.Errorf("%v was lost", worst)
				}
			})
		}
	}
}

// The power is cut at every operation of a recording's first second: an asset is there with
// media or not at all, and of what was told nothing is missing.
func TestNoAssetWithoutMedia(t *testing.T) {
	random := rand.New(rand.NewPCG(23, 24))
	absent, early := 0, 0
	for cut := range 60 {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, pack.DefaultConfig())
			r.keys = 2 * time.Second
			defer r.close()
			r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
			d := newFakeDisk()
			l, _ := library(t, d)
			ctx, kill := context.WithCancel(context.Background())
			done, s := make(chan error, 1), r.stream()
			d.cutAfter = d.ops + cut
			go func() { done <- l.Record(ctx, assetID, streamID, s) }()
			r.write(1600 * time.Millisecond)
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
			if err := l.Finish(t.Context(), assetID); err != nil && !fault.Is(err, fault.NotFound) {
				t.Fatal(err)
			}
			a, ok := l.Asset(assetID)
			if !ok {
				absent++
				if names := l.Assets(); len(names) != 0 {
					t.Errorf("cut %d: %v", cut, names)
				}
				for name, n := range d.now {
					if strings.Contains(name, assetID) && !n.dir {
						t.Errorf("cut %d: %s is left", cut, name)
					}
				}
				return
			}
			early++
			now := a.Snapshot()
			check(t, l, now)
			if now.State != Ready || now.Duration == 0 || now.Bytes == 0 {
				t.Errorf("cut %d: %s, %v, %d bytes", cut, now.State, now.Duration, now.Bytes)
			}
			if now.Renditions[0].Kind != media.Video {
				t.Errorf("cut %d: %s is first", cut, now.Renditions[0].Name)
			}
		})
	}
	if absent == 0 || early == 0 {
		t.Errorf("%d without an asset, %d with one", absent, early)
	}
}

// The event that an asset is made comes with the first part, and nothing of it when there is
// no media.
func TestAnAssetBeginsWithTheFirstPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pack.DefaultConfig())
		r.mode, r.keys = media.LatencyStandard, 2*time.Second
		defer r.close()
		r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
		l, _ := library(t, newFakeDisk())
		events := l.events.Listen()
		done := r.record(l)
		r.write(300 * time.Millisecond)
		if got := types(t, events); len(got) != 0 || len(l.Assets()) != 0 {
			t.Errorf("before there is anything: %v, assets %v", got, l.Assets())
		}
		r.write(800 * time.Millisecond)
		if got := strings.Join(types(t, events), " "); got != "asset.created" {
			t.Errorf("with the first part: %s", got)
		}
		r.write(6 * time.Second)
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a, _ := l.Asset(assetID)
		compare(t, l, r.stream(), a.Snapshot())
		if got := strings.Join(types(t, events), " "); got != "asset.ready" {
			t.Errorf("in the end: %s", got)
		}
	})
}

func TestABroadcastWithoutMediaIsNoAsset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pack.DefaultConfig())
		defer r.close()
		r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
		d := newFakeDisk()
		l, _ := library(t, d)
		events := l.events.Listen()
		done := r.record(l)
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := types(t, events); len(got) != 0 || len(l.Assets()) != 0 {
			t.Errorf("%v, assets %v", got, l.Assets())
		}
	})
}
