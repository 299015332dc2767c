package api

import (
	"errors"
	"net/netip"
	"strings"

	"onair/internal/fault"
)

// Config are the settings of the API.
type Config struct {
	TrustedProxies string `name:"trusted-proxies" yaml:"trusted_proxies" env:"ONAIR_TRUSTED_PROXIES" help:"Addresses or networks (10.0.0.0/8) of the proxies in front of the server, with commas between them. They alone are believed what X-Forwarded-For, -Host and -Proto say." default:""`
}

// DefaultConfig trusts no proxy.
func DefaultConfig() Config { return Config{} }

// Validate reports every entry that cannot be read, each as a fault.Invalid.
func (c Config) Validate() error {
	_, err := c.Proxies()
	return err
}

// Proxies returns the networks of the trusted proxies, for Deps.
func (c Config) Proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	var errs []error
	for _, s := range strings.Split(c.TrustedProxies, ",") {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		if a, err := netip.ParseAddr(s); err == nil {
			a = a.Unmap().WithZone("")
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			errs = append(errs, fault.New(fault.Invalid, "read the configuration", "trusted-proxies",
				"an entry is neither an address nor a network", "Write such as 127.0.0.1,10.0.0.0/8,fd00::/8."))
			continue
		}
		out = append(out, p.Masked())
	}
	return out, errors.Join(errs...)
}
