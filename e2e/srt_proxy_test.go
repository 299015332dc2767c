//go:build e2e

package e2e

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// badNetwork carries UDP to a port, loses some datagrams both ways, and delays those to
// the port. It returns the address to send to. Goodbyes are not lost: without one the last
// packets are waited for in vain, which is no fault of the repair.
func badNetwork(t *testing.T, port string, loss float64, delay time.Duration) string {
	t.Helper()
	target := netip.MustParseAddrPort("127.0.0.1:" + port)
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(3, 4))
	lost := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return random.Float64() < loss
	}
	clients := make(map[netip.AddrPort]*net.UDPConn)
	// One after the other: timers of their own would change the order.
	type delayed struct {
		due  time.Time
		data []byte
		to   *net.UDPConn
	}
	line := make(chan delayed, 4096)
	var running sync.WaitGroup
	running.Go(func() {
		for d := range line {
			pause(t.Context(), time.Until(d.due))
			d.to.Write(d.data)
		}
	})
	running.Go(func() {
		b := make([]byte, 2048)
		for {
			n, from, err := front.ReadFromUDPAddrPort(b)
			if err != nil {
				break
			}
			back := clients[from]
			if back == nil {
				if back, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(target)); err != nil {
					continue
				}
				clients[from] = back
				running.Go(func() {
					b := make([]byte, 2048)
					for {
						n, err := back.Read(b)
						if err != nil {
							return
						}
						if !lost() {
							front.WriteToUDPAddrPort(b[:n], from)
						}
					}
				})
			}
			goodbye := n >= 2 && b[0] == 0x80 && b[1] == 5 // SRT, table 1
			if goodbye || !lost() {
				select {
				case line <- delayed{time.Now().Add(delay), bytes.Clone(b[:n]), back}:
				default: // the way is full
				}
			}
		}
		close(line)
		for _, c := range clients {
			c.Close()
		}
	})
	t.Cleanup(func() {
		front.Close()
		running.Wait()
	})
	return front.LocalAddr().String()
}

// freeUDPPort is a port that nobody has at this moment.
func freeUDPPort(t *testing.T) string {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, port, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
