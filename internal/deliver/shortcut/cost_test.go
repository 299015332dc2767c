package shortcut

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onair/internal/deliver/hls"
)

// overTCP serves a broadcast on the loopback interface.
func overTCP(t testing.TB, b *broadcast) (address string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServing(t, l, b.handler, b.handler)
	return l.Addr().String(), s.close
}

// client asks and reads answers without using memory.
type client struct {
	net.Conn
	request []byte
	answer  []byte
}

func dial(t testing.TB, address, target, lines string) *client {
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return &client{c, []byte("GET " + target + " HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n" + lines + "\r\n"), make([]byte, 1<<20)}
}

// measure asks once, to know how long the answer is.
func (c *client) measure(t testing.TB) {
	if _, err := c.Write(c.request); err != nil {
		t.Fatal(err)
	}
	n, end := 0, -1
	for n < end || end < 0 {
		m, err := c.Read(c.answer[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
		text := string(c.answer[:n])
		if i := strings.Index(text, "\r\n\r\n"); i >= 0 {
			length := 0
			_, _ = fmt.Sscanf(text[strings.Index(text, "Content-Length: "):], "Content-Length: %d", &length)
			end = i + 4 + length
		}
	}
	c.answer = c.answer[:n]
}

func (c *client) ask(t testing.TB) {
	if _, err := c.Write(c.request); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, c.answer); err != nil {
		t.Fatal(err)
	}
}

func TestRequestsCostNoMemory(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := newBroadcast(t)
	defer b.close()
	address, stop := overTCP(t, b)
	defer stop()
	for name, target := range map[string]string{
		"playlist": child + "v0/index.m3u8", "delta": child + "v0/index.m3u8?_HLS_msn=1&_HLS_part=1&_HLS_skip=YES",
		"segment": child + "v0/" + b.names[0], "part": child + "v0/" + b.names[1], "init": child + "v0/" + b.names[2],
		"missing": child + "v0/p1.m4s", "malformed": child + "v0/index.m3u8?_HLS_msn=x",
	} {
		c := dial(t, address, target, "Accept-Encoding: gzip, br\r\n")
		c.measure(t)
		// The race detector makes pools forget now and then, so that parts of an
		// allocation count there.
		if n := testing.AllocsPerRun(200, func() { c.ask(t) }); n != 0 {
			t.Errorf("%s: %v allocations a request", name, n)
		}
		c.Close()
	}
	// A request that waits, and whose viewer is gone.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	answer := new(hls.Answer)
	r := hls.Request{Path: child + "v0/index.m3u8", Query: fmt.Sprintf("_HLS_msn=%d", b.snapshot().LastSequence()+1)}
	if n := testing.AllocsPerRun(100, func() {
		if b.handler.Answer(gone, r, answer) {
			t.Fatal("it did not wait")
		}
	}); n != 0 {
		t.Errorf("waiting: %v allocations a request", n)
	}
}

// H4: what a connection costs whose request waits.
func TestH4WaitingConnectionsAreSmall(t *testing.T) {
	b := newBroadcast(t)
	defer b.close()
	address, stop := overTCP(t, b)
	defer stop()
	const n = 400
	target := child + "v0/" + b.snapshot().Hint
	clients := make([]*client, n)
	before := memory()
	for i := range clients {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		clients[i] = &client{Conn: c}
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target); err != nil {
			t.Fatal(err)
		}
	}
	for b.waiting(t) < n {
		time.Sleep(time.Millisecond) // until the last has been read
	}
	each := (int64(memory()) - int64(before)) / n
	t.Logf("a waiting connection costs %d bytes", each)
	if each > 16<<10 {
		t.Errorf("a waiting connection costs %d bytes", each)
	}
	b.end() // answers all
	for _, c := range clients {
		if _, err := c.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

func (b *broadcast) waiting(t *testing.T) int {
	families, err := b.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "onair_hls_waiting" {
			return int(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	t.Fatal("no gauge of those who wait")
	return 0
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func benchmark(b *testing.B, short bool) {
	cast := newBroadcast(b)
	defer cast.close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var stop func()
	if short {
		stop = newServing(b, l, cast.handler, cast.handler).close
	} else {
		alone := newHTTP(cast.handler)
		go func() { _ = alone.Serve(l) }()
		stop = func() { _ = alone.Close() }
	}
	defer stop()
	for name, target := range map[string]string{"playlist": child + "v0/index.m3u8", "part": child + "v0/" + cast.names[1]} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				c := dial(b, l.Addr().String(), target, "Accept-Encoding: gzip\r\n")
				defer c.Close()
				c.measure(b)
				for pb.Next() {
					c.ask(b)
				}
			})
		})
	}
}

func BenchmarkLoop(b *testing.B)    { benchmark(b, true) }
func BenchmarkNetHTTP(b *testing.B) { benchmark(b, false) }
