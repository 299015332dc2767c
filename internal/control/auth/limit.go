package auth

import (
	"math"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"onair/internal/fault"
)

const (
	// failureCacheSize bounds the addresses whose failed attempts are counted.
	failureCacheSize = 10_000
	// failureBurst is how many wrong tokens an address may send at once, failureEvery
	// the time after which it may send one more.
	failureBurst = 10
	failureEvery = 5 * time.Second
)

// AdmitAdmin tells whether somebody at an address may administer with a token: nil,
// fault.Unauthorized, or fault.TooMany for an address that sent too many wrong tokens,
// which then must wait even with the right one. Sending no token costs nothing.
func (a *Auth) AdmitAdmin(from netip.Addr, token string) error {
	if token == "" {
		return fault.New(fault.Unauthorized, "authorize", "", "no admin token was sent",
			"Send it as Authorization: Bearer followed by the token that the server printed on its first start.")
	}
	key := addressKey(from)
	l, known := a.failures.GetIfPresent(key)
	if known && l.Tokens() < 1 {
		return a.tooMany()
	}
	if a.CheckAdmin(token) {
		return nil
	}
	if !known {
		fresh := rate.NewLimiter(rate.Every(failureEvery), failureBurst)
		l, _ = a.failures.SetIfAbsent(key, fresh) // the one that is there, or fresh
	}
	if !l.Allow() { // others from there were wrong in this moment
		return a.tooMany()
	}
	a.refused.WithLabelValues("admin_token").Inc()
	return fault.New(fault.Unauthorized, "authorize", "", "the admin token is wrong",
		"Use the one that the server printed on its first start, or the one of --admin-token.")
}

func (a *Auth) tooMany() error {
	a.refused.WithLabelValues("admin_rate").Inc()
	return fault.New(fault.TooMany, "authorize", "", "too many wrong tokens came from this address",
		"Wait "+strconv.Itoa(int(math.Ceil(failureEvery.Seconds())))+" seconds, then try again with the right token.")
}

// RetryAfter is how long somebody waits who was refused with fault.TooMany.
func RetryAfter() time.Duration { return failureEvery }

// addressKey is what failures are counted by: the IPv4 address, or the /64 network that
// one IPv6 host may choose its address in.
func addressKey(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
