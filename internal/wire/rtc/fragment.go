package rtc

import (
	"fmt"
	"strings"

	"github.com/pion/ice/v4"

	"onair/internal/fault"
)

// fragment is the body of a PATCH (RFC 8840).
type fragment struct {
	ufrag, pwd string
	candidates int
	end        bool
}

func badFragment(kind fault.Kind, cause string) error {
	return fault.New(kind, "read a WebRTC trickle fragment", "", cause, "Send what RFC 8840 describes")
}

// parseFragment reads a trickle fragment. Candidates are checked and counted only: an
// ICE-lite agent learns where its peer is from the checks that arrive.
func parseFragment(body []byte) (fragment, error) {
	var f fragment
	if len(body) > maxFragment {
		return f, badFragment(fault.TooLarge, fmt.Sprintf("it has more than %d bytes", maxFragment))
	}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if len(line) < 2 || line[1] != '=' || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return f, badFragment(fault.Invalid, "a line is no line of SDP")
		}
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "a=ice-ufrag":
			if err := once(&f.ufrag, value, 4); err != nil {
				return f, err
			}
		case "a=ice-pwd":
			if err := once(&f.pwd, value, 22); err != nil {
				return f, err
			}
		case "a=candidate":
			if f.candidates++; f.candidates > maxCandidates {
				return f, badFragment(fault.TooLarge, fmt.Sprintf("it has more than %d candidates", maxCandidates))
			}
			if _, err := ice.UnmarshalCandidate(value); err != nil && len(strings.Fields(value)) < 8 {
				return f, badFragment(fault.Invalid, "a candidate is not well formed")
			}
		case "a=end-of-candidates":
			f.end = true
		}
	}
	if (f.ufrag == "") != (f.pwd == "") {
		return f, badFragment(fault.Invalid, "a=ice-ufrag and a=ice-pwd do not come together")
	}
	if f.ufrag == "" && f.candidates == 0 && !f.end {
		return f, badFragment(fault.Invalid, "it has neither credentials nor candidates")
	}
	return f, nil
}

// once takes a value that bundled m-lines may repeat, but not change.
func once(at *string, value string, least int) error {
	if len(value) < least || len(value) > 256 {
		return badFragment(fault.Invalid, "credentials of ICE are too short or too long (RFC 8839)")
	}
	for _, c := range []byte(value) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+' || c == '/') {
			return badFragment(fault.Invalid, "credentials of ICE have other characters than letters, digits, + and / (RFC 8839)")
		}
	}
	if *at != "" && *at != value {
		return badFragment(fault.Invalid, "it has two credentials of ICE")
	}
	*at = value
	return nil
}

// text writes the answer to an ICE restart.
func (f fragment) text(kind string, mids, candidates []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "a=ice-lite\r\na=group:BUNDLE %s\r\nm=%s 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:%s\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\n",
		strings.Join(mids, " "), kind, mids[0], f.ufrag, f.pwd)
	for _, c := range candidates {
		fmt.Fprintf(&b, "a=candidate:%s\r\n", c)
	}
	b.WriteString("a=end-of-candidates\r\n")
	return b.String()
}
