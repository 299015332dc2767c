package event

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestListenerSeesEventsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus()
		b.Publish(StreamIdle{StreamID: "before"})
		l := b.Listen()
		got := make(chan string, 3)
		go func() {
			for range 3 {
				e, missed, err := l.Next(t.Context())
				if err != nil || missed != 0 {
					t.Errorf("Next: missed %d, %v", missed, err)
				}
				got <- e.Event.Stream()
			}
		}()
		synctest.Wait()
		for _, id := range []string{"a", "b", "c"} {
			b.Publish(StreamIdle{StreamID: id})
		}
		for _, want := range []string{"a", "b", "c"} {
			if id := <-got; id != want {
				t.Errorf("got event of %q, want %q", id, want)
			}
		}
	})
}

func TestLagIsToldOnce(t *testing.T) {
	b := NewBus()
	l := b.Listen()
	for range historyLen + 5 {
		b.Publish(StreamIdle{})
	}
	e, missed, err := l.Next(t.Context())
	if err != nil || missed != 5 || e.Seq != 6 {
		t.Fatalf("got event %d, missed %d, %v; want event 6, missed 5", e.Seq, missed, err)
	}
	e, missed, err = l.Next(t.Context())
	if err != nil || missed != 0 || e.Seq != 7 {
		t.Fatalf("got event %d, missed %d, %v; want event 7, missed 0", e.Seq, missed, err)
	}
}

func TestListenAfterResumes(t *testing.T) {
	b := NewBus()
	for range 3 {
		b.Publish(StreamIdle{})
	}
	if e, _, _ := b.ListenAfter(1).Next(t.Context()); e.Seq != 2 {
		t.Errorf("resumed at %d, want 2", e.Seq)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.ListenAfter(99).Next(ctx); err == nil {
		t.Error("a number from the future must wait for new events")
	}
}

func TestNamesAreStable(t *testing.T) {
	for _, tt := range []struct {
		e    Event
		want string
	}{
		{StreamConnected{StreamID: "s"}, "live_stream.connected"},
		{StreamActive{StreamID: "s"}, "live_stream.active"},
		{StreamReconnecting{StreamID: "s"}, "live_stream.reconnecting"},
		{StreamIdle{StreamID: "s"}, "live_stream.idle"},
		{StreamTracksChanged{StreamID: "s"}, "live_stream.tracks_changed"},
		{IngestRefused{StreamID: "s"}, "ingest.refused"},
		{StreamRecord{StreamID: "s", Change: "created"}, "live_stream.created"},
	} {
		if tt.e.Type() != tt.want || tt.e.Stream() != "s" {
			t.Errorf("%T has type %q and stream %q", tt.e, tt.e.Type(), tt.e.Stream())
		}
	}
}
