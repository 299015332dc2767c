package rtmp

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/bluenviron/gortmplib/pkg/handshake"

	"onair/internal/fault"
)

// duplex reads from one place and writes to another.
type duplex struct {
	io.Reader
	io.Writer
}

func TestHandshakeOfTheLibrary(t *testing.T) {
	a, b := net.Pipe()
	result := make(chan error, 1)
	go func() { result <- serveHandshake(b) }()
	// The strict client wants its own bytes back.
	if _, _, err := handshake.DoClient(a, false, true); err != nil {
		t.Error(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestDigestHandshake(t *testing.T) {
	for _, base := range digestBases {
		c1 := make([]byte, handshakeSize)
		for i := range c1 {
			c1[i] = byte(i * 7)
		}
		copy(c1[4:], []byte{9, 0, 0x7c, 2})
		at := digestAt(c1, base)
		copy(c1[at:], digestOf(c1, at, clientKey))
		digest := bytes.Clone(c1[at : at+digestSize])

		var out bytes.Buffer
		in := cat([]byte{3}, c1, make([]byte, handshakeSize))
		if err := serveHandshake(duplex{bytes.NewReader(in), &out}); err != nil {
			t.Fatal(err)
		}
		s1, s2 := out.Bytes()[1:1+handshakeSize], out.Bytes()[1+handshakeSize:]
		if got, found := findDigest(s1, serverKey); found == nil || got != base {
			t.Errorf("S1 has no digest where C1 has its own, at %d", base)
		}
		// As ffmpeg checks it.
		key := mac(serverKey+keyTail, digest)
		if want := mac(string(key), s2[:handshakeSize-digestSize]); !bytes.Equal(want, s2[handshakeSize-digestSize:]) {
			t.Error("S2 is not signed with the digest of C1")
		}
	}
}

func TestHandshakeWithoutAValidDigestIsSimple(t *testing.T) {
	in := make([]byte, 1+2*handshakeSize)
	in[0] = 3
	copy(in[5:], []byte{9, 0, 0x7c, 2, 1, 2, 3})
	var out bytes.Buffer
	r := bytes.NewReader(cat(in, []byte("connect follows")))
	if err := serveHandshake(duplex{r, &out}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes()[1+handshakeSize:], in[1:1+handshakeSize]) {
		t.Error("S2 is not C1")
	}
	if rest, _ := io.ReadAll(r); string(rest) != "connect follows" {
		t.Errorf("%q is left", rest)
	}
}

func TestHandshakeSaysWhatTheClientIs(t *testing.T) {
	for in, want := range map[string]string{
		"\x06": "RTMPE", "\x16\x03\x01": "TLS", "GET / HTTP/1.1\r\n": "HTTP", "\x00": "0x00",
	} {
		err := serveHandshake(duplex{strings.NewReader(in), io.Discard})
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", in, err)
		}
	}
}
