package guard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"onair/internal/fault"
)

func TestCheck(t *testing.T) {
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.8.8.8", "169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.0.0.8", "192.168.1.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
		"64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1",
		"ff02::1", "2001:db8::1", "2001::1", "::ffff:0:127.0.0.1", "::ffff:0:10.1.1.1",
	} {
		a := netip.MustParseAddr(s)
		if err := New(false).Check(a); !fault.Is(err, fault.Forbidden) {
			t.Errorf("%s: %v", s, err)
		}
		if err := New(true).Check(a); err != nil {
			t.Errorf("%s with all allowed: %v", s, err)
		}
	}
	for _, s := range []string{
		"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.1.1", "223.255.255.255",
		"::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::", "2606:4700::1111", "2a00:1450::1",
	} {
		if err := New(false).Check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	if New(false).Check(netip.Addr{}) == nil {
		t.Error("no address is allowed")
	}
}

// The address that is connected to counts, whatever a name resolved to before.
func TestDialer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		_, err := New(false).Dialer().DialContext(t.Context(), "tcp", host+":"+port)
		if !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "this machine's own") {
			t.Errorf("%s: %v", host, err)
		}
	}
	c, err := New(true).Dialer().DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func TestResolve(t *testing.T) {
	names := map[string][]netip.Addr{
		"good":  {netip.MustParseAddr("::ffff:8.8.8.8"), netip.MustParseAddr("2606:4700::1")},
		"mixed": {netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("10.0.0.1")},
		"none":  {},
		"many":  make([]netip.Addr, maxAddresses+1),
	}
	g := New(false)
	g.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if a, ok := names[host]; ok {
			return append([]netip.Addr(nil), a...), nil
		}
		return nil, errors.New("no such host")
	}
	for host, want := range map[string]fault.Kind{
		"good": "", "mixed": fault.Forbidden, "none": fault.Unavailable, "many": fault.Unavailable, "other": fault.Unavailable,
		"127.0.0.1": fault.Forbidden, "::1": fault.Forbidden, "8.8.4.4": "", "0x7f.1": fault.Unavailable, "2130706433": fault.Unavailable,
	} {
		got, err := g.Resolve(t.Context(), host)
		if want == "" && (err != nil || len(got) == 0 || got[0].Is4In6()) || want != "" && !fault.Is(err, want) {
			t.Errorf("%s: %v, %v", host, got, err)
		}
	}
}
