package hub

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/media"
)

var errLost = errors.New("connection reset")

func TestTakeover(t *testing.T) {
	h, bus := newTestHub(nil)
	old := mustPublish(t, h, "s", PublishOptions{Session: "1"})
	v := videoTrack(1)
	writeGroups(t, old, v, 0, 30, 25, 10)
	r := old.stream.Feed().NewReader(ReaderOptions{From: OldestKept})
	drain(t, r)

	niu := mustPublish(t, h, "s", PublishOptions{Session: "2", LatencyMode: media.LatencyUltra})
	if err := old.WritePacket(t.Context(), pkt(v, 1200, true, 10)); !errors.Is(err, ErrTakenOver) || !fault.Is(err, fault.Conflict) {
		t.Errorf("the old publisher's write returned %v", err)
	}
	select {
	case <-old.Done():
	default:
		t.Error("the old publication is not done")
	}
	old.End(errLost) // nobody's loss any more
	s := mustStream(t, h, "s")
	if s.State() != Live || niu.Err() != nil || !errors.Is(old.Err(), ErrTakenOver) {
		t.Errorf("after the takeover: %v, old %v, new %v", s.State(), old.Err(), niu.Err())
	}
	w := videoTrack(1)
	mustWrite(t, niu, pkt(w, 1210, false, 10), pkt(w, 1250, true, 10), pkt(w, 1290, false, 10))
	if diff := cmp.Diff([]int64{1250, 1290}, drain(t, r)); diff != "" {
		t.Errorf("readers see the new publisher from its key on (-want +got):\n%s", diff)
	}
	if got := testutil.ToFloat64(h.metrics.takeovers); got != 1 {
		t.Errorf("%v takeovers counted", got)
	}
	if snap := s.Snapshot(); snap.Publisher.Session != "2" || snap.LatencyMode != media.LatencyUltra || s.LatencyMode() != media.LatencyUltra {
		t.Errorf("snapshot %+v", snap)
	}
	l := bus.ListenAfter(1)
	if e, _, _ := l.Next(t.Context()); e.Event != (event.StreamActive{StreamID: "s", Session: "2", TookOver: true}) {
		t.Errorf("the takeover was told as %+v", e.Event)
	}
}

func TestLingerAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, bus := newTestHub(nil)
		v := videoTrack(1)
		p := mustPublish(t, h, "s", PublishOptions{Linger: time.Minute})
		writeGroups(t, p, v, 0, 25, 25, 10)
		s := mustStream(t, h, "s")
		p.End(errLost)
		p.End(errLost)
		if s.State() != Lingering || s.Snapshot().Publisher != nil || s.Snapshot().Reason != "connection reset" {
			t.Errorf("after the loss: %v, %+v", s.State(), s.Snapshot())
		}
		time.Sleep(59 * time.Second)
		p2 := mustPublish(t, h, "s", PublishOptions{Linger: time.Minute})
		time.Sleep(time.Hour) // the first timer must not end the second publication
		if s.State() != Live || mustStream(t, h, "s") != s {
			t.Errorf("after the return: %v", s.State())
		}
		p2.End(errLost)
		s.expired(p) // a timer of the first wait that fires late
		if s.State() != Lingering {
			t.Errorf("a late timer made the stream %v", s.State())
		}
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if s.State() != Ended {
			t.Errorf("after the linger: %v", s.State())
		}
		<-s.Done()
		if _, ok := h.Stream("s"); ok {
			t.Error("the ended stream is still there")
		}
		want := []string{"live_stream.active", "live_stream.reconnecting", "live_stream.active", "live_stream.reconnecting", "live_stream.idle"}
		if diff := cmp.Diff(want, eventNames(t, bus, 5)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		e, _, _ := bus.ListenAfter(4).Next(t.Context())
		if got := e.Event.(event.StreamIdle).Reason; got != "the publisher did not come back: connection reset" {
			t.Errorf("the end is explained as %q", got)
		}
		// A new broadcast of the same name begins anew.
		mustPublish(t, h, "s", PublishOptions{})
		if mustStream(t, h, "s") == s {
			t.Error("a new broadcast resumes the one that ended")
		}
	})
}

func TestEndings(t *testing.T) {
	kicked := fault.New(fault.Disabled, "publish", "s", "the stream was disabled", "")
	for name, tt := range map[string]struct {
		linger time.Duration
		end    func(*Hub, *Publication)
		err    error
		state  State
	}{
		"clean stop":               {time.Minute, func(_ *Hub, p *Publication) { p.End(nil) }, io.ErrClosedPipe, Ended},
		"end of input":             {time.Minute, func(_ *Hub, p *Publication) { p.End(io.EOF) }, io.ErrClosedPipe, Ended},
		"loss without a linger":    {0, func(_ *Hub, p *Publication) { p.End(errLost) }, errLost, Ended},
		"loss":                     {time.Minute, func(_ *Hub, p *Publication) { p.End(errLost) }, errLost, Lingering},
		"kick":                     {time.Minute, func(h *Hub, _ *Publication) { h.Kick("s", kicked) }, kicked, Ended},
		"kick while it lingers":    {time.Minute, func(h *Hub, p *Publication) { p.End(errLost); h.Kick("s", kicked) }, errLost, Ended},
		"the hub is closed":        {time.Minute, func(h *Hub, _ *Publication) { h.Close(kicked) }, kicked, Ended},
		"end after the hub closed": {time.Minute, func(h *Hub, p *Publication) { h.Close(kicked); p.End(errLost) }, kicked, Ended},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := newTestHub(nil)
				p := mustPublish(t, h, "s", PublishOptions{Linger: tt.linger})
				s := mustStream(t, h, "s")
				tt.end(h, p)
				<-p.Done()
				if s.State() != tt.state || !errors.Is(p.Err(), tt.err) {
					t.Errorf("the stream is %v and the publisher was told %v", s.State(), p.Err())
				}
				if err := p.WritePacket(t.Context(), pkt(videoTrack(1), 0, true, 1)); !errors.Is(err, tt.err) {
					t.Errorf("WritePacket returned %v", err)
				}
				if h.Kick("s", kicked) != (tt.state == Lingering) || h.Kick("nobody", kicked) {
					t.Error("Kick ended what was not there")
				}
				if got := h.living.Load(); got != 0 {
					t.Errorf("%d feeds counted at the end", got)
				}
			})
		})
	}
}

func TestLimitsOfTheHub(t *testing.T) {
	h, _ := newTestHub(func(c *Config) { c.MaxStreams = 2 })
	a := mustPublish(t, h, "a", PublishOptions{})
	mustPublish(t, h, "b", PublishOptions{})
	if _, err := h.Publish("c", PublishOptions{}); !fault.Is(err, fault.TooMany) {
		t.Errorf("the third of two streams: %v", err)
	}
	mustPublish(t, h, "b", PublishOptions{}) // a takeover is no new stream
	a.End(nil)
	mustPublish(t, h, "c", PublishOptions{})
	var names []string
	for _, s := range h.Snapshots() {
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"b", "c"}, names); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	h.Close(errors.New("stopping"))
	if _, err := h.Publish("d", PublishOptions{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("publish after Close: %v", err)
	}
}

func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newTestHub(nil)
		mustPublish(t, h, "a", PublishOptions{})
		mustPublish(t, h, "gone", PublishOptions{}).End(nil)
		mustPublish(t, h, "b", PublishOptions{})
		got := make(chan string, 8)
		ended := make(chan error, 1)
		w := h.Watch()
		go func() {
			for {
				s, err := w.Next(t.Context())
				if err != nil {
					ended <- err
					return
				}
				got <- s.Name()
			}
		}()
		synctest.Wait()
		mustPublish(t, h, "b", PublishOptions{}) // a takeover is no new stream
		c := mustPublish(t, h, "c", PublishOptions{})
		synctest.Wait()
		c.End(nil)
		mustPublish(t, h, "c", PublishOptions{})
		synctest.Wait()
		for _, want := range []string{"a", "b", "c", "c"} {
			if name := <-got; name != want {
				t.Errorf("watched %q, want %q", name, want)
			}
		}
		h.Close(errors.New("stopping"))
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("the watcher ended with %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Watch().Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled watcher returned %v", err)
		}
	})
}

func TestCyclesLeaveNothing(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := New(DefaultConfig(), event.NewBus(), nil, reg)
	v := videoTrack(1)
	cycle := func() {
		p := mustPublish(t, h, "s", PublishOptions{Linger: time.Hour})
		r := p.stream.Feed().NewReader(ReaderOptions{Name: "test"})
		writeGroups(t, p, v, 0, 50, 25, 20_000)
		p2 := mustPublish(t, h, "s", PublishOptions{Linger: time.Hour})
		p2.End(errLost)
		h.Kick("s", errLost)
		r.Close()
	}
	measure := func() (uint64, int) {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine()
	}
	for range 20 {
		cycle()
	}
	heap, goroutines := measure()
	for range 300 {
		cycle()
	}
	heap2, goroutines2 := measure()
	if heap2 > heap+1<<20 || goroutines2 > goroutines {
		t.Errorf("after 300 cycles: heap %d (before %d), %d goroutines (before %d)", heap2, heap, goroutines2, goroutines)
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n == 0 {
		t.Errorf("gathered %d metrics, %v", n, err)
	}
	if got := h.bytes.Load(); got != 0 {
		t.Errorf("%d bytes are still counted", got)
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	err := Config{}.Validate()
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("an empty configuration: %v", err)
	}
	if n := len(err.(interface{ Unwrap() []error }).Unwrap()); n != 3 {
		t.Errorf("%d problems reported, want 3: %v", n, err)
	}
}

// TestCloseWithoutAReason: nil is a clean stop, and closes the hub all the same.
func TestCloseWithoutAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newTestHub(nil)
		p := mustPublish(t, h, "a", PublishOptions{Linger: time.Minute})
		w := h.Watch()
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			_, err := w.Next(ctx)
			ended <- err
		}()
		synctest.Wait()
		h.Close(nil)
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("the watcher ended with %v", err)
		}
		if err := p.Err(); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the publisher is told %v", err)
		}
		if _, err := h.Publish("b", PublishOptions{}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("publish after Close: %v", err)
		}
	})
}
