package ingest

import (
	"context"
	"testing"
	"time"

	"onair/internal/media"
)

// BenchmarkOnAir is the way of a packet from a publisher to the hub.
func BenchmarkOnAir(b *testing.B) {
	e := newEncoder(b, 1000, 48000, func(_ media.Kind, at time.Duration) (time.Duration, time.Duration, bool) { return at, at, true })
	e.send(time.Second, nil)
	var packets [2000]*media.Packet
	at := time.Second
	b.ReportAllocs()
	for i := range b.N {
		if i%len(packets) == 0 {
			b.StopTimer()
			for j := range packets {
				packets[j] = e.packet(e.video, at)
				at += 40 * time.Millisecond
			}
			b.StartTimer()
		}
		if err := e.s.WritePacket(context.Background(), packets[i%len(packets)]); err != nil {
			b.Fatal(err)
		}
	}
}
