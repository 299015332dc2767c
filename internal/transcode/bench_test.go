package transcode

import (
	"context"
	"testing"

	"onair/internal/event"
	"onair/internal/hub"
)

// BenchmarkWant is what each request of a rendition that is running costs.
func BenchmarkWant(b *testing.B) {
	h := hub.New(hub.DefaultConfig(), event.NewBus(), nil, nil)
	pub, err := h.Publish("s", hub.PublishOptions{})
	if err != nil {
		b.Fatal(err)
	}
	tr := New(DefaultConfig(), h, newFakeTool(), nil, nil, nil, nil)
	s := newStream(tr, pub.Stream())
	s.ctx = context.Background()
	r := &rung{name: "480p", state: Running}
	r.serving.Store(true)
	s.rungs.Store(&map[string]*rung{"480p": r})
	tr.streams.Store("s", s)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := tr.Want("s", "480p"); err != nil {
				b.Error(err)
			}
		}
	})
}
