package play

import (
	"testing"
	"time"

	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// BenchmarkStep is what it costs to think over what one viewer is sent, which is done twice
// a second for each.
func BenchmarkStep(b *testing.B) {
	th := newTheatre(&testing.T{}, offer("480p", media.H264, 480, 500_000), offer("360p", media.H264, 360, 200_000))
	pub, err := th.hub.Publish("ls_1", hub.PublishOptions{})
	if err != nil {
		b.Fatal(err)
	}
	g := mediatest.NewGenerator(camera(time.Second))
	for {
		p, err := g.ReadPacket(b.Context())
		if err != nil {
			break
		}
		if err := pub.WritePacket(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
	th.SetLimits(&limits{})
	q := newRTViewer()
	q.set(func(q *rtViewer) { q.estimate = Estimate{Bitrate: 2_000_000} })
	v := &viewing{r: th.Realtime, q: q, id: "ls_1", blocked: map[string]block{}, videoCodec: media.H264, audioCodec: media.Opus}
	v.enter()
	stream, _ := th.hub.Stream("ls_1")
	b.ReportAllocs()
	for b.Loop() {
		if err := v.step(b.Context(), stream, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	v.release()
	v.leave()
	pub.End(nil)
}
