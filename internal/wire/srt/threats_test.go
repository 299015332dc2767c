package srt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
)

// The tests S1 to S8 are the rows of the list of threats of that name.

var (
	serverAddr = netip.MustParseAddrPort("10.0.0.1:8890")
	clientAddr = netip.MustParseAddrPort("10.0.0.2:1000")
)

// established is a publisher on a server in memory, and what the server got of it.
type established struct {
	net     *network
	server  *Server
	call    *call
	request *PublishRequest
	got     chan []int
	ended   chan error
	stop    func()
}

func establish(t *testing.T, passphrase string) *established {
	t.Helper()
	n := newNetwork()
	n.delay = 10 * time.Millisecond
	e := &established{net: n, server: inMemory(t, n, DefaultConfig(), secret(passphrase)), got: make(chan []int, 1), ended: make(chan error, 1)}
	e.stop = serve(t, e.server, handler{publish: func(ctx context.Context, r *PublishRequest) {
		if err := r.Accept(ctx); err != nil {
			t.Error(err)
			return
		}
		e.request = r
		got, err := numbers(ctx, r.conn)
		e.got <- got
		e.ended <- err
	}})
	var err error
	if e.call, err = callIn(t.Context(), n, clientAddr.String(), "streamid=publish:key&passphrase="+passphrase, false); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *established) write(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := e.call.conn.write(t.Context(), payload(i), time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// finish closes the publisher and wants all that many payloads at the server.
func (e *established) finish(t *testing.T, count int) {
	t.Helper()
	e.call.conn.drain(t.Context())
	e.call.close()
	got := <-e.got
	if err := <-e.ended; !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
	if len(got) != count || got[count-1] != count-1 {
		t.Errorf("%d of %d payloads arrive", len(got), count)
	}
	e.stop()
}

// inject sends a packet to the server as if the publisher had.
func (e *established) inject(h header, body []byte) {
	h.dest = e.request.conn.id
	e.server.ep.packet(append(h.append(nil), body...), clientAddr, time.Now())
}

// TestS1KeyMaterial: oversized and forged key refreshes have no effect, and a true one has.
func TestS1KeyMaterial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := establish(t, "correct horse battery")
		n := 0
		more := func(count int) {
			e.write(t, n, n+count)
			n += count
		}
		more(100)
		synctest.Wait()
		refresh := header{control: true, typ: ctrlUser, sub: extKMReq}
		_, foreign, err := newKeys("another passphrase", 16)
		if err != nil {
			t.Fatal(err)
		}
		own := e.call.conn.keys
		salted := bytes.Clone(own.lastKM)
		salted[20] ^= 1 // the salt
		wrapped := bytes.Clone(own.lastKM)
		wrapped[40] ^= 1
		for _, km := range [][]byte{make([]byte, 1400), bytes.Repeat(own.lastKM, 20), foreign, salted, wrapped, own.lastKM[:15], nil, {0, 0, 0, 4}} {
			for range 3 {
				e.inject(refresh, km)
				e.inject(header{control: true, typ: ctrlUser, sub: extKMRsp}, km)
				e.inject(header{control: true, typ: ctrlUser, sub: extHSReq}, km)
				time.Sleep(keyPause)
				more(10)
			}
		}
		// Media that are not encrypted are not taken.
		e.inject(header{seq: seqAdd(e.call.conn.isn, n), msg: 1}, payload(-1))
		more(100)
		// The publisher changes its key, which takes a round trip.
		c := e.call.conn
		c.mu.Lock()
		c.keyLeft = keyAnnounce + 1
		c.mu.Unlock()
		more(100)
		c.mu.Lock()
		c.keyLeft = 1
		c.mu.Unlock()
		more(100)
		if c.keys.outKey != keyOdd {
			t.Error("the key was not changed")
		}
		e.finish(t, n)
	})
}

// TestS2ControlRanges: loss reports, drop requests and acknowledgements about packets that
// do not exist are dropped.
func TestS2ControlRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := establish(t, "")
		e.write(t, 0, 100)
		synctest.Wait()
		words := func(v ...uint32) (b []byte) {
			for _, w := range v {
				b = binary.BigEndian.AppendUint32(b, w)
			}
			return b
		}
		next := seqAdd(e.call.conn.isn, 100)
		for _, body := range [][]byte{
			nil, {1}, words(0), words(1 << 31), words(1<<31, 1<<31-1), words(1<<31|next, seqAdd(next, 1<<29)), words(next, seqAdd(next, -1)),
			words(seqAdd(next, -200), seqAdd(next, 1<<29)), words(0, 1<<31-1), bytes.Repeat([]byte{0xFF}, 1456), bytes.Repeat(words(1<<31, 1<<30), 180),
		} {
			for _, typ := range []uint16{ctrlNAK, ctrlDropReq, ctrlACK, ctrlACKACK, ctrlUser, 4, 8, 0x1234} {
				for _, info := range []uint32{0, 1, 1 << 31} {
					e.inject(header{control: true, typ: typ, info: info}, body)
				}
			}
		}
		e.write(t, 100, 200)
		e.finish(t, 200)
	})
}

// extremes are values that break arithmetic.
var extremes = []uint32{0, 1, 2, 27, 28, 43, 44, 231, 1500, 1501, 1<<31 - 1, 1 << 31, 0xFFFFFFFF}

// TestS3Handshakes: a handshake with any field at its extreme, cut at any byte, or with
// extensions that lie about their size crashes nothing and allocates little.
func TestS3Handshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		s := inMemory(t, n, DefaultConfig(), secret(""))
		defer serve(t, s, handler{publish: func(ctx context.Context, r *PublishRequest) { _ = r.Accept(ctx) }})()
		synctest.Wait()
		good := func() *handshake {
			return &handshake{version: 5, mtu: 1500, window: 8192, typ: hsConclusion, socketID: 7, cookie: s.cookie.Get(clientAddr.String()),
				extension: &hsExtension{version: ourVersion, flags: ourFlags}, sid: "publish:key"}
		}
		send := func(b []byte) {
			s.ep.packet(append(header{control: true, typ: ctrlHandshake}.append(nil), b...), clientAddr, time.Now())
			synctest.Wait()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		whole := good().append(nil, true)
		for i := range whole {
			send(whole[:i])
		}
		for field := range 8 {
			for _, v := range extremes {
				b := bytes.Clone(whole)
				binary.BigEndian.PutUint32(b[4*field:], v)
				send(b)
			}
		}
		for typ := range uint16(20) {
			for _, words := range []uint16{0, 1, 2, 3, 128, 129, 0xFFFF} {
				b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(bytes.Clone(whole), typ), words)
				send(b)
				send(append(b, make([]byte, 512)...))
			}
		}
		send(append(whole, bytes.Repeat([]byte{0, 20, 0, 0}, 300)...))
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 256<<20 {
			t.Errorf("%d bytes are allocated", grown)
		}
	})
}

// TestS4Flood: inductions without end, and conclusions with old or invented cookies, keep
// nothing; answers are not longer than questions; a true caller connects meanwhile.
func TestS4Flood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := establish(t, "")
		synctest.Wait()
		goroutines := runtime.NumGoroutine()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		induction := &handshake{version: 4, ext: 2, mtu: 1500, window: 8192, typ: hsInduction, socketID: 9}
		conclusion := &handshake{version: 5, mtu: 1500, window: 8192, typ: hsConclusion, socketID: 9,
			extension: &hsExtension{version: ourVersion, flags: ourFlags}, sid: "publish:key"}
		ask := induction.append(header{control: true, typ: ctrlHandshake}.append(nil), true)
		sent, size := e.net.totals()
		for i := range 10_000 {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), uint16(i+1))
			e.server.ep.packet(ask, from, time.Now())
		}
		answers, bytes := e.net.totals()
		if answers, bytes = answers-sent, bytes-size; answers < 10_000 || bytes > answers*len(ask) {
			t.Errorf("%d answers of %d bytes to 10,000 questions of %d", answers, bytes, len(ask))
		}
		old := e.server.cookie.Get(clientAddr.String())
		time.Sleep(3 * time.Minute) // the publisher is silent and ends
		synctest.Wait()
		for i := range 10_000 {
			conclusion.cookie = uint32(i)
			if i%2 == 0 {
				conclusion.cookie = old
			}
			e.server.ep.packet(conclusion.append(header{control: true, typ: ctrlHandshake}.append(nil), true), clientAddr, time.Now())
		}
		e.server.mu.Lock()
		left := len(e.server.callers)
		e.server.mu.Unlock()
		if left != 0 {
			t.Errorf("%d callers are kept", left)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 5<<20 {
			t.Errorf("the heap grows by %d bytes", grown)
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines became %d", goroutines, n)
		}
		<-e.got
		if err := <-e.ended; err == nil {
			t.Error("it ended without an error")
		}
		e.call.close()
		began := time.Now()
		c, err := callIn(t.Context(), e.net, "10.0.0.3:1000", "streamid=publish:key", false)
		if err != nil || time.Since(began) > time.Second {
			t.Fatalf("a true caller has %v after %v", err, time.Since(began))
		}
		c.close()
		<-e.got
		if err := <-e.ended; err == nil {
			t.Error("it ended without an error")
		}
		e.stop()
	})
}

// TestS5LostConclusion: the answer that accepts is lost twice, and the caller connects.
func TestS5LostConclusion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.delay = 10 * time.Millisecond
		lost := 0
		n.drop = func(from, _ netip.AddrPort, b []byte) bool {
			h, body, _ := parseHeader(b)
			if from == serverAddr && h.control && h.typ == ctrlHandshake && binary.BigEndian.Uint32(body[20:]) == hsConclusion && lost < 2 {
				lost++
				return true
			}
			return false
		}
		s := inMemory(t, n, DefaultConfig(), secret(""))
		requests := make(chan []int, 4)
		stop := serve(t, s, handler{publish: func(ctx context.Context, r *PublishRequest) {
			if err := r.Accept(ctx); err != nil {
				t.Error(err)
			}
			got, _ := numbers(ctx, r.conn)
			requests <- got
		}})
		c, err := callIn(t.Context(), n, clientAddr.String(), "streamid=publish:key", false)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.conn.write(t.Context(), payload(0), time.Second); err != nil {
			t.Error(err)
		}
		c.conn.drain(t.Context())
		c.close()
		if got := <-requests; len(got) != 1 || lost != 2 || len(requests) != 0 {
			t.Errorf("%d payloads arrive, %d answers were lost, %d more requests", len(got), lost, len(requests))
		}
		stop()
	})
}

// TestS6StreamIDs: what is not a stream id is refused with a code, before anybody is asked.
func TestS6StreamIDs(t *testing.T) {
	for _, sid := range []string{"", "#!::m=publish,m=request,r=a", "#!::r=a,R=b", "#!::m=bidirectional,r=a", "#!:{u=1}", "#!::r=../../etc",
		"publish:..", "publish:a/../b", "publish:", "play:", "a b", "#!::nonsense", "\x01\x02", "%ff%fe", "#!::"} {
		t.Run(sid, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				s := inMemory(t, n, DefaultConfig(), secret(""))
				defer serve(t, s, handler{publish: func(context.Context, *PublishRequest) { t.Error("it was let in") },
					play: func(context.Context, *PlayRequest) { t.Error("it was let in") }})()
				_, err := dialOn(t.Context(), n.socket(clientAddr.String()), serverAddr, opPublish, target{sid: sid, latency: time.Second}, false)
				var own *rejection
				if !errors.As(err, &own) || own.code != rejectBadRequest {
					t.Errorf("got %v", err)
				}
			})
		})
	}
	if _, err := parseStreamID(string(bytes.Repeat([]byte{'a'}, 513))); !fault.Is(err, fault.Invalid) {
		t.Errorf("513 bytes: %v", err)
	}
}

// TestS7Passphrases: none, the right and a wrong one on either side, with all key sizes.
func TestS7Passphrases(t *testing.T) {
	const right, wrong = "correct horse battery", "wrong horse battery"
	for _, set := range []string{"", right} {
		for _, sent := range []string{"", right, wrong} {
			for _, length := range []int{16, 24, 32} {
				t.Run(fmt.Sprintf("set=%s,sent=%s,%d", set, sent, length), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						want := uint32(0)
						switch {
						case (set == "") != (sent == ""):
							want = rejectUnsecure
						case set != sent:
							want = rejectBadSecret
						}
						n := newNetwork()
						s := inMemory(t, n, DefaultConfig(), secret(set))
						defer serve(t, s, handler{publish: func(ctx context.Context, r *PublishRequest) {
							if want != 0 {
								t.Error("it was let in")
							}
							_ = r.Accept(ctx)
							_, _ = numbers(ctx, r.conn)
						}})()
						query := fmt.Sprintf("streamid=publish:key&passphrase=%s&pbkeylen=%d", sent, length)
						c, err := callIn(t.Context(), n, clientAddr.String(), query, false)
						var own *rejection
						switch {
						case err == nil:
							c.close()
							if want != 0 {
								t.Error("it connects")
							}
						case !errors.As(err, &own) || own.code != want:
							t.Errorf("got %v, want code %d", err, want)
						}
					})
				})
			}
		}
	}
}

// TestS8PoorNetwork: ten minutes of loss and reordering leave memory where it was.
func TestS8PoorNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.loss, n.delay, n.jitter = 0.05, 20*time.Millisecond, 30*time.Millisecond
		s := inMemory(t, n, DefaultConfig(), secret(""))
		count := make(chan int, 1)
		stop := serve(t, s, handler{publish: func(ctx context.Context, r *PublishRequest) {
			_ = r.Accept(ctx)
			src, b, read := &stream{conn: r.conn, ctx: ctx}, make([]byte, tsPayload), 0
			for {
				if _, err := io.ReadFull(src, b); err != nil {
					break
				}
				read++
			}
			count <- read
		}})
		defer stop()
		c, err := callIn(t.Context(), n, clientAddr.String(), "streamid=publish:key&latency=400", false)
		if err != nil {
			t.Fatal(err)
		}
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		var first uint64
		const packets = 30_000 // 50 a second
		for i := range packets {
			if err := c.conn.write(t.Context(), payload(i), time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * tick)
			if i == packets/10 {
				first = heap()
			}
		}
		if grown := int64(heap()) - int64(first); grown > 2<<20 {
			t.Errorf("the heap grows by %d bytes", grown)
		}
		c.conn.drain(t.Context())
		c.close()
		if got := <-count; got < packets-5 {
			t.Errorf("%d of %d payloads arrive", got, packets)
		}
	})
}

// TestBounds: connections in all, of an address and undecided ones are refused over their
// bounds, with a code.
func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		wait   bool
		code   uint32
	}{
		{"connections", func(c *Config) { c.MaxConnections = 2 }, false, rejectOverload},
		{"address", func(c *Config) { c.MaxPerAddress = 2 }, false, rejectOverload},
		{"pending", func(c *Config) { c.MaxPending = 2 }, true, rejectBacklog},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				cfg := DefaultConfig()
				tt.change(&cfg)
				s, err := listenOn(cfg, n.socket(serverAddr.String()), secret(""), quiet(), prometheus.NewRegistry())
				if err != nil {
					t.Fatal(err)
				}
				stop := serve(t, s, handler{publish: func(ctx context.Context, r *PublishRequest) {
					if !tt.wait {
						_ = r.Accept(ctx)
					}
					<-ctx.Done()
				}})
				results := make(chan error, 3)
				for i := range 3 {
					go func() {
						time.Sleep(time.Duration(i) * time.Second)
						c, err := callIn(t.Context(), n, fmt.Sprintf("10.0.0.2:%d", 1000+i), "streamid=publish:key", false)
						if err == nil {
							defer c.close()
						}
						results <- err
					}()
				}
				refused := 0
				for range 3 {
					var own *rejection
					if err := <-results; errors.As(err, &own) && own.code == tt.code {
						refused++
					}
				}
				if refused != 1 {
					t.Errorf("%d of 3 are refused", refused)
				}
				stop()
			})
		})
	}
}
