package record

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
)

// full makes all writing fail, or work again.
func (d *fakeDisk) full(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = func(op, _ string) error {
		if yes && (op == "write" || op == "create") {
			return syscall.ENOSPC
		}
		return nil
	}
}

// types returns the types of the events so far.
func types(t *testing.T, l *event.Listener) (out []string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Millisecond) // of the bubble's time
	defer stop()
	for {
		e, _, err := l.Next(ctx)
		if err != nil {
			return out
		}
		out = append(out, e.Event.Type())
	}
}

// A disk that is full for a while stops the recording with words, once; the live stream goes
// on, and so does the recording when there is room again: in the same asset, with a gap if it
// took longer than the live window.
func TestFullDisk(t *testing.T) {
	for _, c := range []struct {
		name string
		long time.Duration
		gap  bool
	}{{"for a moment", 10 * time.Second, false}, {"for long", 5 * time.Minute, true}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				d := newFakeDisk()
				l, _ := library(t, d)
				events := l.events.Listen()
				done := r.record(l)
				r.write(9 * time.Second)
				d.full(true)
				r.write(c.long)
				a, _ := l.Asset(assetID)
				s := a.Snapshot()
				trouble, ok := l.Trouble(streamID)
				if !ok || trouble.AssetID != assetID || !fault.Is(trouble.Err, fault.TooLarge) || time.Since(trouble.Since) > c.long || time.Since(trouble.Since) < c.long-5*time.Second {
					t.Errorf("while it is full: %+v, %v", trouble, ok)
				}
				if s.State != Recording || !strings.Contains(s.Error, "full") || s.Duration < 6*time.Second {
					t.Errorf("while it is full: %s %q %v", s.State, s.Error, s.Duration)
				}
				if _, ok := l.Trouble("ls_other"); ok {
					t.Error("another stream is in trouble")
				}
				if live := r.stream(); live.Ended() || !live.Renditions()[0].Snapshot().Flows() {
					t.Error("the live stream is not what it was")
				}
				d.full(false)
				r.write(15 * time.Second)
				if s = a.Snapshot(); s.Error != "" {
					t.Errorf("when there is room again: %q", s.Error)
				}
				if _, ok := l.Trouble(streamID); ok {
					t.Error("it is in trouble when there is room again")
				}
				r.end()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				s = a.Snapshot()
				check(t, l, s)
				want := 24*time.Second + c.long
				if s.State != Ready || s.Duration > want+time.Second || s.Duration < want-time.Second || (len(s.Gaps) > 0) != c.gap {
					t.Errorf("%s, %v of %v, gaps %v", s.State, s.Duration, want, s.Gaps)
				}
				if got := strings.Join(types(t, events), " "); got != "asset.created asset.errored asset.resumed asset.ready" {
					t.Errorf("events: %s", got)
				}
				again, _ := library(t, d)
				if err := again.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
				b, ok := again.Asset(assetID)
				if !ok || b.Snapshot().Duration != s.Duration || b.Snapshot().State != Ready {
					t.Errorf("read again: %+v", b)
				}
			})
		})
	}
}

// A disk that stays full: the asset is errored a minute after its broadcast, and has what
// was stored.
func TestADiskThatStaysFull(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		l, _ := library(t, d)
		events := l.events.Listen()
		done := r.record(l)
		r.write(9 * time.Second)
		d.full(true)
		r.write(20 * time.Second)
		r.end()
		if err := <-done; !fault.Is(err, fault.TooLarge) || !strings.Contains(err.Error(), "full") {
			t.Errorf("%v", err)
		}
		a, _ := l.Asset(assetID)
		s := a.Snapshot()
		if s.State != Errored || !strings.Contains(s.Error, "full") || s.Duration < 6*time.Second || s.Duration > 10*time.Second {
			t.Errorf("%s %q %v", s.State, s.Error, s.Duration)
		}
		check(t, l, s)
		if got := strings.Join(types(t, events), " "); got != "asset.created asset.errored" {
			t.Errorf("events: %s", got)
		}
		if _, ok := l.Trouble(streamID); ok {
			t.Error("what is over is in trouble")
		}
	})
}

// A storage that is away when the broadcast begins, and comes back.
func TestStorageAwayAtTheBeginning(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		l, _ := library(t, d)
		d.fail = func(string, string) error { return errors.New("input/output error") }
		done := r.record(l)
		r.write(15 * time.Second)
		if trouble, ok := l.Trouble(streamID); !ok || !fault.Is(trouble.Err, fault.Unavailable) {
			t.Errorf("%+v, %v", trouble, ok)
		}
		d.full(false)
		r.write(15 * time.Second)
		r.end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		a, _ := l.Asset(assetID)
		s := a.Snapshot()
		check(t, l, s)
		if s.State != Ready || len(s.Gaps) != 0 || s.Duration < 29*time.Second {
			t.Errorf("%s, %v, gaps %v", s.State, s.Duration, s.Gaps)
		}
	})
}

// Whoever tells that an asset is ready when it is written down elsewhere too does it alone.
func TestReadyIsLeftToTheCaller(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		l, _ := library(t, newFakeDisk())
		l.cfg.ReadyUntold = true
		heard := l.events.Listen()
		done := r.record(l)
		r.write(9 * time.Second)
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := types(t, heard); len(got) != 1 || got[0] != "asset.created" {
			t.Errorf("told: %v", got)
		}
	})
}
