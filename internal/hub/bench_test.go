package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"onair/internal/media"
)

// BenchmarkWrite is the cost of a packet for the publisher when nobody waits.
func BenchmarkWrite(b *testing.B) {
	h, _ := newTestHub(nil)
	p := mustPublish(b, h, "s", PublishOptions{})
	packets := benchPackets()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		_ = p.WritePacket(context.Background(), packets.next(i))
		i++
	}
}

// BenchmarkFanOut is the cost of a packet for the publisher, and for the publisher
// and all readers together, when every reader waits for it.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 100, 1000, 5000} {
		b.Run(fmt.Sprintf("readers=%d", n), func(b *testing.B) { fanOut(b, n) })
	}
}

func fanOut(b *testing.B, readers int) {
	h, _ := newTestHub(nil)
	p := mustPublish(b, h, "s", PublishOptions{})
	packets := benchPackets()
	_ = p.WritePacket(context.Background(), packets.next(0))
	var wg sync.WaitGroup
	// got counts deliveries; whoever makes it reach due says so.
	var got, due atomic.Int64
	all := make(chan struct{}, 1)
	due.Store(int64(readers))
	for range readers {
		r := p.stream.Feed().NewReader(ReaderOptions{Name: "bench"})
		wg.Go(func() {
			defer r.Close()
			for {
				_, err := r.ReadPacket(context.Background())
				var gap *Gap
				if err != nil && !errors.As(err, &gap) {
					return
				}
				if got.Add(1) == due.Load() {
					all <- struct{}{}
				}
			}
		})
	}
	<-all
	var writing time.Duration
	n := 1
	b.ResetTimer()
	for b.Loop() {
		n++
		due.Store(int64(n * readers))
		begin := time.Now()
		_ = p.WritePacket(context.Background(), packets.next(n-1))
		writing += time.Since(begin)
		<-all
	}
	b.StopTimer()
	b.ReportMetric(float64(writing.Nanoseconds())/float64(n-1), "ns/write")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64((n-1)*readers), "ns/delivery")
	p.End(nil)
	wg.Wait()
}

// stampede is a publisher's packets, made before the clock runs.
type stampede struct {
	video, audio *media.Track
	data         []byte
	ring         [4096]media.Packet
}

func benchPackets() *stampede {
	return &stampede{video: videoTrack(1), audio: audioTrack(2), data: make([]byte, 5000)}
}

// next is packet i of a stream of 200 packets a second, every 400th a key. It reuses
// packets that have left the ring long ago.
func (s *stampede) next(i int) *media.Packet {
	p := &s.ring[i%len(s.ring)]
	*p = media.Packet{Track: s.video, DTS: int64(i) * 5, PTS: int64(i) * 5, Key: i%400 == 0, Data: s.data, Arrival: time.Unix(0, int64(i)*5e6)}
	return p
}

func TestWriteWithoutWaitersDoesNotAllocate(t *testing.T) {
	h, _ := newTestHub(func(c *Config) { c.MaxFeedDuration = 2 * second })
	p := mustPublish(t, h, "s", PublishOptions{})
	packets := benchPackets()
	i := 0
	write := func() {
		if err := p.WritePacket(context.Background(), packets.next(i)); err != nil {
			t.Fatal(err)
		}
		i++
	}
	for range 2000 {
		write()
	}
	if n := testing.AllocsPerRun(2000, write); n > 0 {
		t.Errorf("a write without waiters allocates %v times", n)
	}
}
