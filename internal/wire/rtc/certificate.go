package rtc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// certificateTime is how long a certificate is used; the library's last a month.
const certificateTime = 7 * 24 * time.Hour

// certificate is what the server shows in handshakes. It is not checked against a name:
// answers carry its fingerprint.
type certificate struct {
	webrtc      webrtc.Certificate
	tls         tls.Certificate
	fingerprint string // as a=fingerprint has it
	made        time.Time
}

// certificate returns the server's DTLS certificate, a new one every week.
func (s *Server) certificate() (*certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cert != nil && time.Since(s.cert.made) < certificateTime {
		return s.cert, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, err
	}
	prints, err := c.GetFingerprints()
	if err != nil {
		return nil, err
	}
	text, err := c.PEM()
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair([]byte(text), []byte(text))
	if err != nil {
		return nil, err
	}
	s.cert = &certificate{webrtc: *c, tls: pair, made: time.Now()}
	for _, p := range prints {
		if p.Algorithm == "sha-256" {
			s.cert.fingerprint = fmt.Sprintf("%s %s", p.Algorithm, strings.ToUpper(p.Value))
		}
	}
	return s.cert, nil
}
