package srt

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"onair/internal/fault"
)

func TestMain(m *testing.M) {
	// The other implementation that a test calls with leaves a goroutine behind, which waits
	// to hand on an error of its reader, when it is closed at a certain moment.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/datarhei/gosrt.Dial.func1"))
}

// TestCycles connects and disconnects 200 times, in every way to end, and wants
// goroutines and memory where they were.
func TestCycles(t *testing.T) {
	s := onLoopback(t, DefaultConfig(), secret("correct horse battery"))
	stop := serve(t, s, handler{
		publish: func(ctx context.Context, r *PublishRequest) {
			if r.Key() == "denied" {
				r.Reject(fault.New(fault.Forbidden, "publish", "", "no", ""))
				return
			}
			if err := r.Accept(ctx); err != nil {
				t.Error(err)
				return
			}
			_, _ = numbers(ctx, r.conn)
		},
		play: func(ctx context.Context, r *PlayRequest) { _ = r.accept(ctx, false) },
	})
	defer stop()
	cycle := func(i int) {
		id := []string{"publish:key", "publish:denied", "play:id", "nonsense:/.."}[i%4]
		address := "srt://" + s.Addr().String() + "?passphrase=correct%20horse%20battery&streamid=" + id
		switch c, err := DialPlay(t.Context(), address); {
		case err == nil:
			if i%4 == 0 {
				if err := c.conn.write(t.Context(), payload(i), time.Second); err != nil {
					t.Error(err)
				}
			}
			c.Close()
		case i%2 == 0:
			t.Error(err)
		}
	}
	// measure waits until nobody is served any more, and no more goroutines are left than that.
	measure := func(goroutines int) (int, uint64) {
		deadline := time.Now().Add(30 * time.Second)
		for {
			s.mu.Lock()
			left := len(s.callers)
			s.mu.Unlock()
			if left == 0 && runtime.NumGoroutine() <= goroutines || time.Now().After(deadline) {
				break
			}
			<-time.NewTimer(tick).C
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	for i := range 8 {
		cycle(i)
	}
	goroutines, heap := measure(math.MaxInt)
	for i := range 200 {
		cycle(i)
	}
	after, heapAfter := measure(goroutines)
	if after > goroutines {
		t.Errorf("%d goroutines became %d", goroutines, after)
	}
	if grown := int64(heapAfter) - int64(heap); grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	s.ep.mu.Lock()
	defer s.ep.mu.Unlock()
	if len(s.ep.conns) != 0 || s.pending != 0 || len(s.from) != 0 {
		t.Errorf("%d connections, %d pending, %d addresses are kept", len(s.ep.conns), s.pending, len(s.from))
	}
}

// TestEveryKindHasACode holds the mapping of faults to codes and back.
func TestEveryKindHasACode(t *testing.T) {
	for _, k := range []fault.Kind{fault.Invalid, fault.Unauthorized, fault.Forbidden, fault.NotFound, fault.Conflict, fault.Disabled,
		fault.Unsupported, fault.TooMany, fault.Timeout, fault.Unavailable, fault.Internal} {
		if err := refuse("call", "host", codeOf(k)); !fault.Is(err, k) {
			t.Errorf("%s becomes %d, which is %s", k, codeOf(k), fault.KindOf(err))
		}
	}
	var own *rejection
	if err := error(refuse("call", "host", 4711)); !errors.As(err, &own) || own.code != 4711 {
		t.Errorf("got %v", err)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{Listen: "nowhere", Latency: time.Hour}).Validate(); err == nil || !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
	s, err := Listen(Config{Listen: Off}, secret(""), quiet(), prometheus.NewRegistry())
	if err != nil || s.Addr() != nil {
		t.Errorf("off: %v", err)
	}
	_, err = Listen(Config{Listen: onBusyPort(t)}, secret(""), quiet(), prometheus.NewRegistry())
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("a busy port: %v", err)
	}
}

func onBusyPort(t *testing.T) string {
	s := onLoopback(t, DefaultConfig(), secret(""))
	t.Cleanup(s.Close)
	return s.Addr().String()
}

// FuzzPacket gives a connection, encrypted and not, whatever may come from its peer, and
// the handshake reader what may come from anybody.
func FuzzPacket(f *testing.F) {
	for _, h := range []header{{seq: 1, msg: 1}, {control: true, typ: ctrlNAK}, {control: true, typ: ctrlACK, info: 1}, {control: true, typ: ctrlDropReq},
		{control: true, typ: ctrlShutdown}, {control: true, typ: ctrlUser, sub: extKMReq}, {control: true, typ: ctrlACKACK, info: 1}} {
		f.Add(append(h.append(nil), payload(1)[:64]...), uint16(3))
	}
	drop := header{control: true, typ: ctrlDropReq}.append(nil)
	f.Add(append(drop, 0x40, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF), uint16(63)) // half a circle ahead to just behind
	hs := &handshake{version: 5, typ: hsConclusion, extension: &hsExtension{}, sid: "publish:key", km: make([]byte, 40)}
	f.Add(hs.append(header{control: true}.append(nil), true), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, repeat uint16) {
		_, _ = parseHandshake(b)
		h, body, ok := parseHeader(b)
		if !ok {
			return
		}
		_, _ = parseHandshake(body)
		now := time.Unix(0, 0)
		keys, _, err := newKeys("correct horse battery", 16)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []*ciphers{nil, keys} {
			sent := 0
			c := newConn(settings{isn: 1, recvLatency: time.Second, peerDelay: time.Second, window: 100, payload: maxPayload, keys: k,
				peerTimeout: time.Minute, mediaLimit: time.Minute, receives: true}, &payloads{},
				func(_ netip.AddrPort, d ...[]byte) { sent += len(d) }, now)
			for i := range 50 {
				c.mu.Lock()
				if err := c.enqueue(payload(i), now); err != nil {
					t.Fatal(err)
				}
				c.flush()
			}
			for range repeat % 64 {
				c.packet(h, append([]byte(nil), body...), now)
				h.seq = seqAdd(h.seq, 3)
				now = now.Add(tick)
				c.tick(now)
			}
			if len(c.in.ring) > maxWindow || sent > 64*200 {
				t.Errorf("a ring of %d, %d datagrams sent", len(c.in.ring), sent)
			}
		}
	})
}
