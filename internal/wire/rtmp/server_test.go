package rtmp

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
)

func TestSplitKey(t *testing.T) {
	for _, tt := range []struct{ tcURL, app, name, key, query string }{
		{"rtmp://h/live", "live", "sk_1", "sk_1", ""},
		{"rtmp://h:1935/live/", "live/", "sk_1", "sk_1", ""},
		{"rtmp://h/live/inst", "live/inst", "sk_1", "sk_1", ""},
		{"rtmp://h/live", "live", "inst/sk_1", "sk_1", ""},
		{"rtmp://h/live", "live", "sk_1?token=x", "sk_1", "token=x"},
		{"rtmp://h/live?token=x", "live?token=x", "sk_1", "sk_1", "token=x"},
		{"rtmp://h/live?a=1", "live", "sk_1?b=2", "sk_1", "b=2&a=1"},
		{"rtmp://h/live/sk_1", "live/sk_1", "", "sk_1", ""},
		{"rtmp://h/live", "live", "", "", ""},
		{"rtmp://h/live", "live", "?key=sk_1", "sk_1", "key=sk_1"},
		{"rtmp://h/live", "live", "cam?streamkey=sk_1&x=y", "sk_1", "streamkey=sk_1&x=y"},
		{"rtmp://h/live?stream_key=sk_1", "live", "cam", "sk_1", "stream_key=sk_1"},
		{"rtmp://h/live", "live", "sk_1?%zz&key=sk_2", "sk_2", "%zz&key=sk_2"},
		{"", "live", "sk_1", "sk_1", ""},
		{"rtmp://h", "live", "sk_1", "sk_1", ""},
		{"rtmp://h/live", "live", "a%20b&c", "a%20b&c", ""},
		{"rtmp://h/live", "live", "sk_1/", "sk_1", ""},
	} {
		if key, query := splitKey(tt.tcURL, tt.app, tt.name); key != tt.key || query != tt.query {
			t.Errorf("%s + %s: key %q, query %q, want %q, %q", tt.tcURL, tt.name, key, query, tt.key, tt.query)
		}
	}
}

func TestBusyPort(t *testing.T) {
	srv := serve(t, testConfig(), newStation())
	cfg := testConfig()
	cfg.Listen = srv.Addr().String()
	_, err := Listen(cfg, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	_, port, _ := net.SplitHostPort(cfg.Listen)
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "port "+port+" is in use (rtmp). Use --rtmp :1936 or --rtmp off") {
		t.Errorf("%v", err)
	}
}

func TestOff(t *testing.T) {
	s := offline(t)
	if s.Addr() != nil {
		t.Error("it has an address")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx, newStation()); err != nil {
		t.Error(err)
	}
	s.Close()
}

func TestConfigNamesEveryProblem(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Listen: "nowhere", ListenTLS: "nowhere", IdleTimeout: -time.Second}.Validate()
	for _, key := range []string{"rtmp:", "rtmps:", "rtmp-handshake-timeout", "rtmp-publish-timeout", "rtmp-idle-timeout", "rtmp-write-timeout", "rtmp-max-connections", "rtmp-max-per-address"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}

func TestDialSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		address string
		kind    fault.Kind
	}{
		{"http://h/live/key", fault.Invalid}, {"rtmp://h", fault.Invalid}, {"rtmp://h/live", fault.Invalid}, {"::", fault.Invalid},
		{"rtmp://127.0.0.1:1/live/sk_secret", fault.Unavailable},
	} {
		_, err := DialPublish(t.Context(), tt.address)
		if !fault.Is(err, tt.kind) || strings.Contains(err.Error(), "sk_secret") {
			t.Errorf("%s: %v", tt.address, err)
		}
	}
}

func TestDialGivesUp(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	left := make(chan struct{})
	go func() {
		defer close(left)
		if nc, err := ln.Accept(); err == nil {
			_, _ = nc.Read(make([]byte, 1))
			cancel() // who called is connected, speaks, and hears nothing
			_, _ = io.Copy(io.Discard, nc)
			nc.Close()
		}
	}()
	if _, err := DialPublish(ctx, "rtmp://"+ln.Addr().String()+"/live/key"); !fault.Is(err, fault.Timeout) {
		t.Errorf("a silent server: %v", err)
	}
	ln.Close()
	<-left
}
