package pack

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/event"
	"onair/internal/hub"
	"onair/internal/media/mediatest"
)

// Each stream is yielded once, in order, also to who comes later; then the end.
func TestWatchYieldsEachStreamOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		h := hub.New(hub.DefaultConfig(), event.NewBus(), log, nil)
		p := New(DefaultConfig(), h, log, nil)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()

		w := p.Watch()
		waiting, cancel := context.WithTimeout(ctx, time.Second)
		if s, err := w.Next(waiting); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before anything: %v, %v", s, err)
		}
		cancel()
		for _, name := range []string{"ls_a", "ls_b"} {
			pub, err := h.Publish(name, hub.PublishOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer pub.End(io.EOF)
			if err := pub.WritePacket(ctx, generate(t, mediatest.Options{Duration: time.Second})[0]); err != nil {
				t.Fatal(err)
			}
			s, err := w.Next(ctx)
			if err != nil || s.Name() != name {
				t.Fatalf("%v, %v: want %s", s, err, name)
			}
		}
		late := p.Watch()
		for _, name := range []string{"ls_a", "ls_b"} {
			if s, err := late.Next(ctx); err != nil || s.Name() != name {
				t.Errorf("later: %v, %v: want %s", s, err, name)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s, err := w.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v, %v", s, err)
		}
		h.Close(nil)
	})
}
