package rtmp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// certificate makes a self-signed one for 127.0.0.1 and what trusts it.
func certificate(t testing.TB) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	// The protocols are those of HTTP, as a node that shares its certificate has them.
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}, pool
}

// serveBoth runs a server with both listeners.
func serveBoth(t testing.TB, h Handler, log io.Writer) (*server, Dialer) {
	t.Helper()
	certs, pool := certificate(t)
	cfg := testConfig()
	cfg.ListenTLS = "127.0.0.1:0"
	return serveWith(t, cfg, certs, h, log), Dialer{TLS: &tls.Config{RootCAs: pool}}
}

func (s *server) urlTLS(key string) string { return "rtmps://" + s.AddrTLS().String() + "/live/" + key }

func TestRTMPSLoopBack(t *testing.T) {
	st := newStation()
	srv, dialer := serveBoth(t, st, logTo{t})
	g := mediatest.NewGenerator(mediatest.Options{Timescale: 1000, Duration: 4 * time.Second, BFrames: 2})
	want := collect(t, g)
	st.source = func() ([]*media.Track, media.Source) { return g.Tracks(), &slice{want} }

	pub, err := dialer.Publish(t.Context(), srv.urlTLS(goodKey)+"?backup=1", g.Tracks()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range want {
		if err := pub.WritePacket(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(); err != nil {
		t.Fatal(err)
	}
	st.wait(t)
	comparePackets(t, want, st.packets)
	if st.protocol != "rtmps" || !st.backup {
		t.Errorf("protocol %q, backup %v", st.protocol, st.backup)
	}
	player, err := dialer.Play(t.Context(), srv.urlTLS(goodKey))
	if err != nil {
		t.Fatal(err)
	}
	defer player.Close()
	comparePackets(t, rebased(want), collect(t, player))
}

func TestRTMPSIsVerified(t *testing.T) {
	srv, _ := serveBoth(t, newStation(), io.Discard)
	_, err := DialPublish(t.Context(), srv.urlTLS("sk_secret"))
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) || strings.Contains(err.Error(), "sk_secret") {
		t.Errorf("%v", err)
	}
	srv.stop()
	if srv.rejected(t, reasonTLS)+srv.rejected(t, reasonHandshake) > 1 {
		t.Error("counted twice")
	}
}

func TestWrongPortIsToldAloudOnce(t *testing.T) {
	var log safeBuffer
	srv, dialer := serveBoth(t, newStation(), &log)
	for range 3 {
		// TLS to the plain port.
		if _, err := dialer.Publish(t.Context(), "rtmps://"+srv.Addr().String()+"/live/"+goodKey); err == nil {
			t.Fatal("it worked")
		}
		// Plain RTMP to the port of TLS.
		if _, err := DialPublish(t.Context(), "rtmp://"+srv.AddrTLS().String()+"/live/"+goodKey); err == nil {
			t.Fatal("it worked")
		}
	}
	srv.stop()
	if n := srv.rejected(t, reasonTLS); n != 6 {
		t.Errorf("%v were counted", n)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "the client speaks TLS on the port for plain RTMP. Use an address that begins with rtmp://") {
		t.Errorf("%d warnings in\n%s", n, log.String())
	}
	if !strings.Contains(log.String(), "plain RTMP on the port for RTMPS") {
		t.Errorf("no word of the other in\n%s", log.String())
	}
}

func TestRTMPSNeedsACertificate(t *testing.T) {
	cfg := testConfig()
	cfg.ListenTLS = "127.0.0.1:0"
	if _, err := Listen(cfg, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); !fault.Is(err, fault.Invalid) ||
		!strings.Contains(err.Error(), "Give --tls-cert and --tls-key, or --rtmps off") {
		t.Errorf("%v", err)
	}
}

// TestR13TLSHandshakeDeadline sends a TLS handshake a byte a second.
func TestR13TLSHandshakeDeadline(t *testing.T) {
	certs, _ := certificate(t)
	for name, first := range map[string][]byte{"silent": nil, "slow": {0x16, 3, 1, 1, 0, 1, 0, 0, 0xfc, 3, 3}} {
		synctest.Test(t, func(t *testing.T) {
			srv := offline(t)
			client, served := net.Pipe()
			var running sync.WaitGroup
			var took time.Duration
			start := time.Now()
			running.Go(func() {
				srv.serve(t.Context(), served, certs, newStation())
				took = time.Since(start)
				served.Close()
			})
			running.Go(func() { _, _ = io.Copy(io.Discard, client) })
			for _, b := range first {
				if _, err := client.Write([]byte{b}); err != nil {
					break
				}
				<-time.After(time.Second)
			}
			running.Wait()
			client.Close()
			if took != DefaultConfig().HandshakeTimeout {
				t.Errorf("%s: kept for %v", name, took)
			}
		})
	}
}

func TestBackup(t *testing.T) {
	for query, want := range map[string]bool{"": false, "backup=1": true, "a=b&backup=true": true, "backup=0": false, "backup=yes%": false, "backup": false} {
		r := &PublishRequest{target: target{query: query}}
		if r.Backup() != want {
			t.Errorf("%q: %v", query, !want)
		}
	}
	// The query stands where the client put it.
	for _, tt := range [][3]string{{"rtmp://h/live?backup=1", "live", "k"}, {"rtmp://h/live", "live?backup=1", "k"}, {"rtmp://h/live", "live", "k?backup=1"}, {"", "live?backup=1", "k"}} {
		key, query := splitKey(tt[0], tt[1], tt[2])
		if r := (&PublishRequest{target: target{query: query}}); key != "k" || !r.Backup() {
			t.Errorf("%q: key %q, query %q", tt, key, query)
		}
	}
}

func TestLinkKnowsWhatTCPDoes(t *testing.T) {
	st := newStation()
	srv, dialer := serveBoth(t, st, io.Discard)
	g := mediatest.NewGenerator(mediatest.Options{})
	pub, err := dialer.Publish(t.Context(), srv.urlTLS(goodKey), g.Tracks()...)
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	if err := pub.WritePacket(t.Context(), g.Next()); err != nil {
		t.Fatal(err)
	}
	<-st.accepted
	st.mu.Lock()
	got := st.link()
	st.mu.Unlock()
	if got.RTT == nil || *got.RTT <= 0 || *got.RTT > time.Second || got.Packets == nil || *got.Packets == 0 {
		t.Errorf("received: %+v", got)
	}
	if got.Retransmitted != nil || got.Lost != nil || got.Jitter != nil || got.Bitrate != nil {
		t.Errorf("what is not known is told: %+v", got)
	}
	if l := pub.Link(); l.RTT == nil || l.Retransmitted == nil || l.Packets == nil {
		t.Errorf("sent: %+v", l)
	}
}

func TestRateIsMeasuredOverTime(t *testing.T) {
	var r rate
	start := time.Unix(1000, 0)
	for i, tt := range []struct {
		after time.Duration
		bytes uint64
		want  float64 // in bits a second; -1 for unknown
	}{{0, 100, -1}, {500 * time.Millisecond, 1000, -1}, {2 * time.Second, 250_100, 1_000_000}, {2500 * time.Millisecond, 500_000, 1_000_000}, {4 * time.Second, 250_100, 0}} {
		got := r.measure(start.Add(tt.after), tt.bytes)
		if (got == nil) != (tt.want < 0) || got != nil && *got != tt.want {
			t.Errorf("look %d: %v, want %v", i, got, tt.want)
		}
	}
}
