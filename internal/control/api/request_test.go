package api

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestAddresses(t *testing.T) {
	proxies := func(d *Deps) {
		d.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}
	}
	for _, tt := range []struct {
		name       string
		deps       func(*Deps)
		peer, host string
		tls        bool
		header     []string
		base, rtmp string
		client     string
	}{
		{name: "plain", host: "h:8080", base: "http://h:8080", rtmp: "rtmp://h:1935/live"},
		{name: "tls", host: "h", tls: true, base: "https://h", rtmp: "rtmp://h:1935/live"},
		{name: "ipv6", host: "[2001:db8::1]:8080", base: "http://[2001:db8::1]:8080", rtmp: "rtmp://[2001:db8::1]:1935/live"},
		{name: "no host", host: "", base: "http://localhost", rtmp: "rtmp://localhost:1935/live"},
		{name: "hostile host", host: `h"><script>`, base: "http://localhost", rtmp: "rtmp://localhost:1935/live"},
		{name: "host with user", host: "a@b", base: "http://localhost", rtmp: "rtmp://localhost:1935/live"},
		{name: "long host", host: strings.Repeat("h", 300), base: "http://localhost", rtmp: "rtmp://localhost:1935/live"},
		{name: "public url", deps: func(d *Deps) { d.PublicURL = "https://live.example.com/" }, host: "h:8080",
			base: "https://live.example.com", rtmp: "rtmp://live.example.com:1935/live"},
		{name: "untrusted proxy", host: "h", header: []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil", "X-Forwarded-For", "9.9.9.9"},
			base: "http://h", rtmp: "rtmp://h:1935/live", client: "192.0.2.1"},
		{name: "not this proxy", deps: proxies, host: "h", header: []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil", "X-Forwarded-For", "9.9.9.9"},
			base: "http://h", rtmp: "rtmp://h:1935/live", client: "192.0.2.1"},
		{name: "trusted proxy", deps: proxies, peer: "10.1.1.1:9", host: "inner", header: []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "live.example.com", "X-Forwarded-For", "6.6.6.6, 9.9.9.9, 10.2.2.2"},
			base: "https://live.example.com", rtmp: "rtmp://live.example.com:1935/live", client: "9.9.9.9"},
		{name: "trusted proxy that says nothing", deps: proxies, peer: "10.1.1.1:9", host: "inner", base: "http://inner", rtmp: "rtmp://inner:1935/live", client: "10.1.1.1"},
		{name: "trusted proxy with nonsense", deps: proxies, peer: "10.1.1.1:9", host: "inner", header: []string{"X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "a b", "X-Forwarded-For", "unknown"},
			base: "http://localhost", rtmp: "rtmp://localhost:1935/live", client: "10.1.1.1"},
		{name: "all trusted", deps: proxies, peer: "127.0.0.1:9", host: "h", header: []string{"X-Forwarded-For", "10.0.0.1, 10.0.0.2"},
			base: "http://h", rtmp: "rtmp://h:1935/live", client: "10.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.deps == nil {
				tt.deps = func(*Deps) {}
			}
			h := newHarness(t, tt.deps)
			r := h.request("GET", "/v1/server", "", tt.header...)
			r.Host = tt.host
			if tt.peer != "" {
				r.RemoteAddr = tt.peer
			}
			if tt.tls {
				r.TLS = new(tls.ConnectionState)
			} else {
				r.TLS = nil
			}
			got := decode(t, 200, h.serve(r))
			if got["url"] != tt.base || got["rtmp_url"] != tt.rtmp || got["hls_base"] != tt.base+"/hls/" || got["version"] != "0.1.0-test" {
				t.Errorf("server is %v, want %s and %s", got, tt.base, tt.rtmp)
			}
			if tt.client != "" {
				if got := h.api.describe(r).from.String(); got != tt.client {
					t.Errorf("client %s, want %s", got, tt.client)
				}
			}
		})
	}
}

func TestRTMPOff(t *testing.T) {
	h := newHarness(t, func(d *Deps) { d.RTMPPort = 0 })
	if v, ok := h.want(200, "GET", "/v1/server", "")["rtmp_url"]; !ok || v != nil {
		t.Errorf("rtmp_url %v", v)
	}
	if v := h.create("")["ingest"].(map[string]any)["rtmp_url"]; v != nil {
		t.Errorf("rtmp_url %v", v)
	}
}

// TestSlowBodiesEnd sends the beginning of a body and no more, to everything that may
// answer before it has read one. Each must be answered, and the connection must go.
func TestSlowBodiesEnd(t *testing.T) {
	h := newHarness(t)
	h.api.bodyTime = 30 * time.Millisecond
	srv := newServer(t, h)
	for _, tt := range []struct {
		line, token string
		status      int
	}{
		{"POST /v1/live-streams", h.token, 408},
		{"PATCH /v1/live-streams/x", h.token, 408},
		{"GET /v1/session", h.token, 408},
		{"POST /v1/live-streams", "", 401},
		{"POST /v1/nothing", h.token, 404},
		{"PUT /v1/live-streams", h.token, 405},
		{"GET /v1/openapi.json", "", 200},
	} {
		for _, length := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
			c, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() }) // before the server's, which waits for it
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			auth := ""
			if tt.token != "" {
				auth = "Authorization: Bearer " + tt.token + "\r\n"
			}
			fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: h\r\n%sContent-Type: application/json\r\n%s\r\n\r\n", tt.line, auth, length)
			b, err := io.ReadAll(c)
			if err != nil || !strings.HasPrefix(string(b), fmt.Sprintf("HTTP/1.1 %d ", tt.status)) {
				t.Fatalf("%s, %s: %v, %.60q; want %d and the end", tt.line, length, err, b, tt.status)
			}
		}
	}
	h.want(200, "GET", "/v1/session", "")
}

func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{"", "Bearer x", "bearer  y", "Basic Og==", "Basic eDo=", "Basic eDp5", "Basic %", "\x00 \x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := bearer(s); len(got) > len(s) {
			t.Errorf("%q gives the token %q", s, got)
		}
	})
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"", "h", "h:80", "[::1]:80", "a@b", "a/b", "h:99999999", "[", "::", `"`, "h\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if validHost(s) && strings.ContainsAny(s, "\"'<>@/\\ \x00\r\n?#") {
			t.Errorf("%q passes as a host", s)
		}
	})
}
