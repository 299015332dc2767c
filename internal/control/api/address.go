package api

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"onair/internal/fault"
)

// maxAddress bounds the address of a source or a simulcast target, in bytes.
const maxAddress = 2048

// mask stands in an answer where a secret is kept.
const mask = "****"

// checkAddress refuses an address that could never be connected to, with what to write
// instead. Neither the cause nor the hint repeats it: it may hold a password.
func checkAddress(op, field, raw string, schemes []string) error {
	bad := func(cause, hint string) error {
		return fault.New(fault.Invalid, op, field, cause, hint)
	}
	example := "Write it as " + schemes[0] + "://host/path; possible are " + strings.Join(schemes, ", ") + "."
	switch {
	case raw == "":
		return bad("the address is empty", example)
	case len(raw) > maxAddress:
		return bad("the address is longer than "+strconv.Itoa(maxAddress)+" characters", "Use a shorter one.")
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' }):
		return bad("the address has spaces or characters that cannot stand in an address", "Write special characters as %XX.")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return bad("the address cannot be read", example)
	}
	if !slices.Contains(schemes, u.Scheme) {
		return bad("the address must begin with one of "+strings.Join(schemes, ", ")+" and ://", example)
	}
	if u.Opaque != "" || u.Hostname() == "" {
		return bad("the address names no host", example)
	}
	if u.Fragment != "" {
		return bad("the address has a part behind #", "Leave it out; programs do not send it.")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return bad("the port must be from 1 to 65535", example)
		}
	} else if u.Scheme == "srt" {
		return bad("an SRT address needs a port", "Write it as srt://host:9000.")
	}
	if strings.Contains(raw, mask) {
		return bad("the address has "+mask+" in it, which stands for a hidden secret", "Write the secret in its place.")
	}
	return nil
}

// maskAddress hides what may be a credential in an address: the password before the
// host, and the value of every parameter but those that are known to be harmless.
func maskAddress(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return mask
	}
	if u.User != nil {
		name := u.User.Username()
		if _, has := u.User.Password(); has {
			name += ":" + mask
		} else {
			name = mask // some services take a token as the name
		}
		u.User = nil
		raw = strings.Replace(u.String(), "://", "://"+name+"@", 1)
	}
	head, query, has := strings.Cut(raw, "?")
	if !has {
		return raw
	}
	pairs := strings.Split(query, "&")
	for i, p := range pairs {
		k, _, ok := strings.Cut(p, "=")
		switch {
		case !ok:
			pairs[i] = mask
		case !slices.Contains([]string{"mode", "latency", "pkt_size", "transtype", "pbkeylen", "timeout", "connect_timeout", "backup"}, k):
			pairs[i] = k + "=" + mask
		}
	}
	return head + "?" + strings.Join(pairs, "&")
}

// maskKey hides a stream key but for its end, by which its owner knows it.
func maskKey(key string) string {
	const shown = 4
	switch {
	case key == "":
		return ""
	case len(key) < 4*shown:
		return mask
	}
	return mask + key[len(key)-shown:]
}

// hostPort is the host of the request with another port.
func hostPort(i *info, port int) string { return net.JoinHostPort(i.host, strconv.Itoa(port)) }
