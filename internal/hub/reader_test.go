package hub

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"onair/internal/media"
)

func TestJoining(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	v := videoTrack(1)
	early := p.stream.Feed().NewReader(ReaderOptions{})
	if got := drain(t, early); got != nil {
		t.Errorf("read %v from an empty feed", got)
	}
	writeGroups(t, p, v, 0, 7, 3, 10)
	for from, want := range map[Start][]int64{
		NewestKey:  {240},
		OldestKept: {0, 40, 80, 120, 160, 200, 240},
	} {
		if diff := cmp.Diff(want, drain(t, p.stream.Feed().NewReader(ReaderOptions{From: from}))); diff != "" {
			t.Errorf("from %d (-want +got):\n%s", from, diff)
		}
	}
	if got := drain(t, early); got[0] != 240 {
		t.Errorf("a reader that was there before the media begins at %d", got[0])
	}
}

func TestLagIsToldOnce(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	v := videoTrack(1)
	writeGroups(t, p, v, 0, 1, 25, 10)
	r := p.stream.Feed().NewReader(ReaderOptions{Name: "test", MaxLag: second})
	writeGroups(t, p, v, 40, 24, 99, 10) // keys at 40 only: nothing newer than what it reads
	writeGroups(t, p, v, 1000, 60, 25, 10)
	if diff := cmp.Diff([]int64{-1, 3000, 3040, 3080, 3120, 3160, 3200, 3240, 3280, 3320, 3360}, drain(t, r)); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	if got := testutil.ToFloat64(h.metrics.lag.WithLabelValues("test")); got != 1 {
		t.Errorf("lag was counted %v times", got)
	}
	if got := testutil.ToFloat64(h.metrics.lost.WithLabelValues("test")); got != 75 {
		t.Errorf("%v packets counted as lost, want 75", got)
	}
	if got := (&Gap{Lost: 75}).Error(); got != "reader fell behind and lost 75 packets" {
		t.Errorf("a gap says %q", got)
	}
}

func TestLongGroupIsNoLag(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	v := videoTrack(1)
	writeGroups(t, p, v, 0, 250, 250, 10)
	r := p.stream.Feed().NewReader(ReaderOptions{MaxLag: second / 2})
	if got := drain(t, r); len(got) != 250 {
		t.Errorf("read %d packets of a group of 250: %v", len(got), got)
	}
}

func TestReadWaitsAndIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newTestHub(nil)
		p := mustPublish(t, h, "s", PublishOptions{})
		v := videoTrack(1)
		r := p.stream.Feed().NewReader(ReaderOptions{})
		got := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := r.ReadPacket(ctx); got <- err }()
		synctest.Wait()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled read returned %v", err)
		}
		if _, err := r.ReadPacket(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("read with an ended context returned %v", err)
		}
		go func() { _, err := r.ReadPacket(t.Context()); got <- err }()
		synctest.Wait()
		mustWrite(t, p, pkt(v, 0, true, 1))
		if err := <-got; err != nil {
			t.Errorf("woken read returned %v", err)
		}
		go func() { _, err := r.ReadPacket(t.Context()); got <- err }()
		synctest.Wait()
		p.End(io.EOF)
		if err := <-got; !errors.Is(err, io.EOF) {
			t.Errorf("read at the end returned %v", err)
		}
		r.Close()
		r.Close()
		if _, err := r.ReadPacket(t.Context()); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("read after Close returned %v", err)
		}
		if p.stream.Feed().readers != 0 {
			t.Errorf("%d readers counted", p.stream.Feed().readers)
		}
	})
}

func TestWhatIsKeptIsReadBeforeTheEnd(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	writeGroups(t, p, videoTrack(1), 0, 50, 25, 10)
	r := p.stream.Feed().NewReader(ReaderOptions{From: OldestKept})
	p.End(nil)
	n := 0
	for {
		_, err := r.ReadPacket(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 50 {
		t.Errorf("read %d packets, want 50", n)
	}
}

// Readers of all speeds and publishers that take over from one another, for the race
// detector: every reader sees each publisher's packets in order.
func TestReadersAndTakeoversTogether(t *testing.T) {
	h, _ := newTestHub(func(c *Config) { c.MaxFeedBytes, c.MaxFeedDuration = 1<<20, second })
	first := mustPublish(t, h, "s", PublishOptions{})
	feed := first.stream.Feed()
	var wg sync.WaitGroup
	for i := range 20 {
		r := feed.NewReader(ReaderOptions{Name: "test", MaxLag: second / 4, From: Start(i % 2)})
		wg.Go(func() {
			defer r.Close()
			last := map[*media.Track]int64{}
			for {
				p, err := r.ReadPacket(context.Background())
				var gap *Gap
				switch {
				case errors.As(err, &gap):
					continue
				case errors.Is(err, io.EOF):
					return
				case err != nil:
					t.Error(err)
					return
				}
				if p.DTS <= last[p.Track] && last[p.Track] > 0 {
					t.Errorf("packet %d came after %d", p.DTS, last[p.Track])
					return
				}
				last[p.Track] = p.DTS
			}
		})
	}
	var pubs sync.WaitGroup
	for range 4 {
		pubs.Go(func() {
			p, err := h.Publish("s", PublishOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			v := videoTrack(1)
			for i := range int64(2000) {
				if err := p.WritePacket(t.Context(), pkt(v, i*10, i%50 == 0, 100)); err != nil {
					if !errors.Is(err, ErrTakenOver) {
						t.Error(err)
					}
					return
				}
				_ = mustStream(t, h, "s").Snapshot()
			}
		})
	}
	pubs.Wait()
	h.Kick("s", nil)
	wg.Wait()
}

func TestAfterAGapEveryVideoTrackBeginsWithAKey(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	hi, lo := videoTrack(1), videoTrack(3)
	mustWrite(t, p, pkt(hi, 0, true, 1), pkt(lo, 1, true, 1))
	r := p.stream.Feed().NewReader(ReaderOptions{MaxLag: second})
	drain(t, r)
	mustWrite(t, p, pkt(hi, 10, false, 1), pkt(hi, 2000, true, 1), pkt(lo, 2001, false, 1), pkt(lo, 2040, true, 1), pkt(lo, 2080, false, 1))
	if diff := cmp.Diff([]int64{-1, 2000, 2040, 2080}, drain(t, r)); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

// TestR7AReaderThatStopsCostsNothing writes ten times what a feed may keep while one
// reader reads nothing: memory stays under the bound in bytes, whole groups go, and the
// reader is told once.
func TestR7AReaderThatStopsCostsNothing(t *testing.T) {
	const limit, size = 2 << 20, 64 << 10
	h, _ := newTestHub(func(c *Config) { c.MaxFeedBytes = limit })
	p := mustPublish(t, h, "s", PublishOptions{})
	v := videoTrack(1)
	mustWrite(t, p, pkt(v, 0, true, size))
	stalled := p.stream.Feed().NewReader(ReaderOptions{Name: "stalled"})
	defer stalled.Close()
	for i := int64(1); i < 10*limit/size; i++ {
		mustWrite(t, p, pkt(v, i*40, i%10 == 0, size))
		if p.stream.Feed().bytes > limit {
			t.Fatalf("%d bytes kept, more than %d", p.stream.Feed().bytes, limit)
		}
	}
	_, err := stalled.ReadPacket(t.Context())
	var gap *Gap
	if !errors.As(err, &gap) || gap.Lost == 0 {
		t.Fatalf("the reader was told %v, want a gap", err)
	}
	next, err := stalled.ReadPacket(t.Context())
	if err != nil || !next.Key {
		t.Errorf("after the gap came %+v, %v; want a key", next, err)
	}
}
