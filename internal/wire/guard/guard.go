// Package guard keeps the server from connecting to where its operator did not mean it to:
// an address that a user gives (a source to pull, a target to send to) may name a machine
// behind the firewall, or the cloud's own metadata service.
//
// What counts is the address that is connected to, after names are resolved: a name may
// resolve to something else the next time it is asked for.
package guard

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"onair/internal/fault"
)

// maxAddresses bounds how many addresses of one name are looked at.
const maxAddresses = 32

// Guard tells which addresses may be connected to.
type Guard struct {
	allowPrivate bool
	lookup       func(ctx context.Context, host string) ([]netip.Addr, error)
}

// New returns a Guard. With allowPrivate every address is allowed.
func New(allowPrivate bool) *Guard {
	return &Guard{allowPrivate: allowPrivate, lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
}

// Control refuses a connection to an address that is not public. It is what the field of
// the same name of net.Dialer and net.ListenConfig takes; it is called with the address
// after resolution, for each address that is tried.
func (g *Guard) Control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fault.Wrap(fault.Invalid, "connect to", address, err, "")
	}
	return g.Check(a.Addr())
}

// Dialer returns a dialer that is guarded.
func (g *Guard) Dialer() *net.Dialer { return &net.Dialer{Control: g.Control} }

// Check returns a fault.Forbidden for an address that is not public, unless all are allowed.
func (g *Guard) Check(a netip.Addr) error {
	if g.allowPrivate {
		return nil
	}
	if reason := private(a); reason != "" {
		return fault.New(fault.Forbidden, "connect to", a.String(), "the address is "+reason,
			"Use a public address, or ask the operator to allow others.")
	}
	return nil
}

// Resolve returns the addresses of a host, which may be an address itself. One of them that
// is not public makes it fail with a fault.Forbidden, so that the answer does not depend on
// which is tried; a name that does not resolve is a fault.Unavailable. Who connects with
// something that resolves for itself connects to what this returned.
func (g *Guard) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses, err := g.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	for i, a := range addresses {
		if err := g.Check(a); err != nil {
			return nil, err
		}
		addresses[i] = a.Unmap()
	}
	return addresses, nil
}

func (g *Guard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	addresses, err := g.lookup(ctx, host)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "find the address of", host, err, "Check the name.")
	}
	if len(addresses) == 0 || len(addresses) > maxAddresses {
		return nil, fault.New(fault.Unavailable, "find the address of", host, fmt.Sprintf("it has %d addresses", len(addresses)), "Check the name.")
	}
	return addresses, nil
}

// reserved are the ranges that are not for the public (IANA's registries of special-purpose
// addresses, RFC 6890 and what came after), and what they are.
var reserved = []struct {
	prefix netip.Prefix
	name   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "of this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by a carrier's customers"},
	{netip.MustParsePrefix("127.0.0.0/8"), "this machine's own"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "reserved"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for measurements"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("::/96"), "unspecified, this machine's own or reserved"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "private"},
	{netip.MustParsePrefix("100::/64"), "for discarding"},
	{netip.MustParsePrefix("2001::/23"), "reserved"},
	{netip.MustParsePrefix("2001:db8::/32"), "for documentation"},
	{netip.MustParsePrefix("3fff::/20"), "for documentation"},
	{netip.MustParsePrefix("5f00::/16"), "reserved"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "private"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4 = netip.MustParsePrefix("2002::/16")
	compat = netip.MustParsePrefix("::ffff:0:0:0/96")
)

// private says what an address is that is not public; "" if it is.
func private(a netip.Addr) string {
	if !a.IsValid() {
		return "not valid"
	}
	a = a.WithZone("").Unmap()
	for _, r := range reserved {
		if r.prefix.Contains(a) {
			return r.name
		}
	}
	if !a.Is6() {
		return ""
	}
	// Forms that a gateway turns into the IPv4 address they carry.
	b := a.As16()
	switch {
	case nat64.Contains(a), compat.Contains(a):
		return private(netip.AddrFrom4([4]byte(b[12:])))
	case sixTo4.Contains(a):
		return private(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return ""
}
