package rtmp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"onair/internal/fault"
)

const (
	rtmpVersion   = 3
	handshakeSize = 1536
	digestSize    = 32
	// digestRange is how many places a digest can have within its block.
	digestRange = 728
)

// The keys of the digest handshake, which every implementation knows. Between the two
// packets of a side they differ by a tail.
const (
	clientKey = "Genuine Adobe Flash Player 001"
	serverKey = "Genuine Adobe Flash Media Server 001"
	keyTail   = "\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae"
)

// digestBase gives where the four bytes that place the digest stand in C1 and S1; the
// block follows them.
var digestBases = [...]int{772, 8}

// serveHandshake answers the handshake of a client (5.2): the digest form if C1 has a
// valid digest, the simple one otherwise. C2 is read and not looked at, as clients send
// all sorts. It reads not one byte more, and keeps memory small: a stranger may hold
// thousands of these.
func serveHandshake(rw io.ReadWriter) error {
	c1 := make([]byte, 1, 1+handshakeSize)
	if _, err := io.ReadFull(rw, c1); err != nil {
		return err
	}
	if c1[0] != rtmpVersion {
		return badVersion(c1[0])
	}
	c1 = c1[1 : 1+handshakeSize]
	if _, err := io.ReadFull(rw, c1); err != nil {
		return noEOF(err)
	}
	answer, err := serverAnswer(c1)
	if err != nil {
		return err
	}
	if _, err := rw.Write(answer); err != nil {
		return err
	}
	_, err = io.ReadFull(rw, c1) // C2
	return noEOF(err)
}

func badVersion(v byte) error {
	cause, hint := fmt.Sprintf("the first byte is 0x%02x, not 3", v), "Check what connects to this port"
	switch v {
	case 6:
		cause, hint = "the client asks for RTMPE", "Use an address that begins with rtmp://"
	case tlsRecord:
		return &mixup{fault.New(fault.Invalid, "shake hands over", "RTMP", "the client speaks TLS on the port for plain RTMP",
			"Use an address that begins with rtmp://, or the port for RTMPS")}
	case 'G', 'P', 'H', 'O':
		cause, hint = "the client speaks HTTP", "Use the HTTP port"
	}
	return fault.New(fault.Invalid, "shake hands over", "RTMP", cause, hint)
}

// serverAnswer makes S0, S1 and S2.
func serverAnswer(c1 []byte) ([]byte, error) {
	out := make([]byte, 1+2*handshakeSize)
	out[0] = rtmpVersion
	s1, s2 := out[1:1+handshakeSize], out[1+handshakeSize:]
	if _, err := rand.Read(s1[8:]); err != nil {
		return nil, err
	}
	base, digest := findDigest(c1, clientKey)
	if digest == nil {
		copy(s2, c1)
		return out, nil
	}
	copy(s1[4:8], []byte{4, 5, 0, 1}) // the version of a server that knows digests
	at := digestAt(s1, base)
	copy(s1[at:], digestOf(s1, at, serverKey))
	if _, err := rand.Read(s2); err != nil {
		return nil, err
	}
	key := mac(serverKey+keyTail, digest)
	copy(s2[handshakeSize-digestSize:], mac(string(key), s2[:handshakeSize-digestSize]))
	return out, nil
}

// findDigest returns the base that the digest of a packet is placed by, and the digest;
// nil if there is none.
func findDigest(b []byte, key string) (int, []byte) {
	if binary.BigEndian.Uint32(b[4:]) == 0 {
		return 0, nil
	}
	for _, base := range digestBases {
		at := digestAt(b, base)
		if digest := b[at : at+digestSize]; hmac.Equal(digest, digestOf(b, at, key)) {
			return base, digest
		}
	}
	return 0, nil
}

func digestAt(b []byte, base int) int {
	sum := int(b[base]) + int(b[base+1]) + int(b[base+2]) + int(b[base+3])
	return base + 4 + sum%digestRange
}

// digestOf computes the digest that belongs at that place of b.
func digestOf(b []byte, at int, key string) []byte {
	return mac(key, b[:at], b[at+digestSize:handshakeSize])
}

func mac(key string, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, []byte(key))
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
