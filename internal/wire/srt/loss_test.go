package srt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestLossIsRepaired sends through a network that loses 5 % each way and delays by 50 ms,
// with a latency of 400 ms: everything arrives, in order, and the end is told from a loss.
func TestLossIsRepaired(t *testing.T) {
	const count = 4000 // 10 s of 4.2 Mbit/s
	for _, passphrase := range []string{"", "correct horse battery"} {
		for _, publish := range []bool{true, false} {
			t.Run(fmt.Sprintf("encrypted=%t,publish=%t", passphrase != "", publish), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newNetwork()
					n.loss, n.delay, n.jitter, n.twice = 0.05, 25*time.Millisecond, 2*time.Millisecond, 0.01
					cfg := DefaultConfig()
					s := inMemory(t, n, cfg, secret(passphrase))
					type result struct {
						numbers []int
						err     error
					}
					results := make(chan result, 1)
					write := func(c *conn) error {
						for i := range count {
							if err := c.write(t.Context(), payload(i), time.Second); err != nil {
								return err
							}
							time.Sleep(2500 * time.Microsecond)
						}
						c.drain(t.Context())
						return nil
					}
					stop := serve(t, s, handler{
						publish: func(ctx context.Context, r *PublishRequest) {
							if err := r.Accept(ctx); err != nil {
								t.Error(err)
								return
							}
							got, err := numbers(ctx, r.conn)
							results <- result{got, err}
							l := r.Link()
							t.Logf("round trip %v, packets %d, lost %d, repeated %d, dropped %d", *l.RTT, *l.Packets, *l.Lost, *l.Retransmitted, *l.Dropped)
							if *l.Lost < count/50 || *l.Retransmitted < *l.Lost/2 || l.RTT.Milliseconds() < 50 || l.RTT.Milliseconds() > 80 {
								t.Error("the link is described wrongly")
							}
						},
						play: func(ctx context.Context, r *PlayRequest) {
							if err := r.accept(ctx, false); err != nil {
								t.Error(err)
								return
							}
							if err := write(r.conn); err != nil {
								t.Error(err)
							}
						},
					})
					defer stop()
					query := "latency=400&streamid=publish:key&passphrase=" + passphrase
					if !publish {
						query = "latency=400&streamid=play:id&passphrase=" + passphrase
					}
					c, err := callIn(t.Context(), n, "10.0.0.2:1000", query, !publish)
					if err != nil {
						t.Fatal(err)
					}
					defer c.close()
					if publish {
						if err := write(c.conn); err != nil {
							t.Fatal(err)
						}
						c.close()
					} else {
						got, err := numbers(t.Context(), c.conn)
						results <- result{got, err}
					}
					got := <-results
					if !errors.Is(got.err, io.EOF) {
						t.Errorf("the end is %v", got.err)
					}
					if len(got.numbers) != count {
						t.Errorf("%d of %d payloads arrive", len(got.numbers), count)
					}
					for i, v := range got.numbers {
						if v != i {
							t.Fatalf("payload %d is number %d", i, v)
						}
					}
				})
			})
		}
	}
}
