package srt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/media"
	"onair/internal/media/ts"
)

// network carries datagrams between sockets in memory, with the faults of a real one.
type network struct {
	mu      sync.Mutex
	sockets map[netip.AddrPort]*socket
	random  *rand.Rand
	loss    float64
	delay   time.Duration
	jitter  time.Duration
	twice   float64
	// drop, if set, takes datagrams that it returns true for.
	drop func(from, to netip.AddrPort, b []byte) bool
	sent int
	size int
}

func newNetwork() *network {
	return &network{sockets: make(map[netip.AddrPort]*socket), random: rand.New(rand.NewPCG(1, 2))}
}

// totals are the datagrams and bytes that were sent.
func (n *network) totals() (datagrams, bytes int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent, n.size
}

type socket struct {
	net   *network
	addr  netip.AddrPort
	inbox chan datagram
	done  chan struct{}
	once  sync.Once
}

type datagram struct {
	from netip.AddrPort
	data []byte
}

func (n *network) socket(addr string) *socket {
	s := &socket{net: n, addr: netip.MustParseAddrPort(addr), inbox: make(chan datagram, 4096), done: make(chan struct{})}
	n.mu.Lock()
	n.sockets[s.addr] = s
	n.mu.Unlock()
	return s
}

func (s *socket) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.addr) }

func (s *socket) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

func (s *socket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-s.inbox:
		return copy(b, d.data), d.from, nil
	case <-s.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (s *socket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent++
	n.size += len(b)
	target := n.sockets[to]
	if target == nil || n.random.Float64() < n.loss || n.drop != nil && n.drop(s.addr, to, b) {
		return len(b), nil
	}
	d := datagram{s.addr, bytes.Clone(b)}
	copies := 1
	if n.random.Float64() < n.twice {
		copies = 2
	}
	for range copies {
		late := n.delay
		if n.jitter > 0 {
			late += time.Duration(n.random.Int64N(int64(n.jitter)))
		}
		if late == 0 {
			target.deliver(d)
			continue
		}
		time.AfterFunc(late, func() { target.deliver(d) })
	}
	return len(b), nil
}

func (s *socket) deliver(d datagram) {
	select {
	case s.inbox <- d:
	default:
	}
}

// secret is a Secrets with one answer for all.
type secret string

func (s secret) Passphrase(context.Context, bool, string) (string, error) { return string(s), nil }

// handler is a Handler of functions.
type handler struct {
	publish func(ctx context.Context, r *PublishRequest)
	play    func(ctx context.Context, r *PlayRequest)
}

func (h handler) ServePublish(ctx context.Context, r *PublishRequest) { h.publish(ctx, r) }
func (h handler) ServePlay(ctx context.Context, r *PlayRequest)       { h.play(ctx, r) }

// serve runs a server until stop is called.
func serve(t *testing.T, s *Server, h Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, h) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// inMemory is a server on a network in memory.
func inMemory(t *testing.T, n *network, cfg Config, secrets Secrets) *Server {
	t.Helper()
	s, err := listenOn(cfg, n.socket("10.0.0.1:8890"), secrets, quiet(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// onLoopback is a server on a real port.
func onLoopback(t *testing.T, cfg Config, secrets Secrets) *Server {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, err := Listen(cfg, secrets, quiet(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// callIn calls the server of inMemory from an address.
func callIn(ctx context.Context, n *network, from, query string, receives bool) (*call, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	t, err := parseTarget(opPublish, "srt://10.0.0.1:8890?"+query, DefaultConfig().Latency)
	if err != nil {
		return nil, err
	}
	return dialOn(ctx, n.socket(from), netip.MustParseAddrPort("10.0.0.1:8890"), opPublish, t, receives)
}

// payload is the i-th of a sequence that can be checked.
func payload(i int) []byte {
	b := make([]byte, tsPayload)
	for j := 0; j < len(b); j += 4 {
		binary.BigEndian.PutUint32(b[j:], uint32(i))
	}
	return b
}

// numbers reads payloads to the end and returns their numbers.
func numbers(ctx context.Context, c *conn) (got []int, err error) {
	r := &stream{conn: c, ctx: ctx}
	b := make([]byte, tsPayload)
	for {
		if _, err := io.ReadFull(r, b); err != nil {
			return got, err
		}
		got = append(got, int(binary.BigEndian.Uint32(b)))
	}
}

// readAll reads a file of a transport stream.
func readAll(t *testing.T, file string) (packets []*media.Packet, tracks []*media.Track) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := ts.NewReader(f)
	for {
		p, err := r.ReadPacket(t.Context())
		if errors.Is(err, io.EOF) {
			return packets, r.Tracks()
		}
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p)
	}
}
