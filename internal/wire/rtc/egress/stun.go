package egress

import (
	"net/netip"
	"strings"

	"github.com/pion/stun/v4"
)

// maxUsername bounds the username of a check, in bytes (RFC 8489, section 14.3).
const maxUsername = 513

// isCheck reports whether a datagram looks like STUN.
func isCheck(b []byte) bool { return len(b) >= 20 && b[0] < 4 && stun.IsMessage(b) }

// parseCheck reads a binding request (RFC 8445, section 7.1) and whom it is for. It is
// not authentic yet.
func parseCheck(b []byte) (m *stun.Message, ufrag string, ok bool) {
	m = &stun.Message{Raw: b}
	if err := m.Decode(); err != nil || m.Type != stun.BindingRequest {
		return nil, "", false
	}
	name, err := m.Get(stun.AttrUsername)
	if err != nil || len(name) > maxUsername {
		return nil, "", false
	}
	ufrag, _, ok = strings.Cut(string(name), ":")
	return m, ufrag, ok
}

// Ufrag tells whom a connectivity check is for; ok is false for what is none.
func Ufrag(b []byte) (ufrag string, ok bool) {
	if !isCheck(b) {
		return "", false
	}
	_, ufrag, ok = parseCheck(b)
	return ufrag, ok
}

// answer makes the response to an authentic check, and tells whether the client chose the
// pair that it came by. It is nil for a check that is not authentic: nothing is answered
// to those, so that nobody learns anything.
func answer(m *stun.Message, pwd string, from netip.AddrPort) (response []byte, nominated bool) {
	integrity := stun.NewShortTermIntegrity(pwd)
	if integrity.Check(m) != nil {
		return nil, false
	}
	out, err := stun.Build(m, stun.BindingSuccess,
		&stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())}, integrity, stun.Fingerprint)
	if err != nil {
		return nil, false
	}
	return out.Raw, m.Contains(stun.AttrUseCandidate)
}
