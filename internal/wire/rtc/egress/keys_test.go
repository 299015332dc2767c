package egress

import (
	"bytes"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

func TestSealedPacketsAreOpenedByTheLibrary(t *testing.T) {
	for name, p := range map[string]srtp.ProtectionProfile{
		"128-GCM": srtp.ProtectionProfileAeadAes128Gcm, "256-GCM": srtp.ProtectionProfileAeadAes256Gcm,
		"CM": srtp.ProtectionProfileAes128CmHmacSha1_80,
	} {
		t.Run(name, func(t *testing.T) {
			kl, err := p.KeyLen()
			if err != nil {
				t.Fatal(err)
			}
			sl, err := p.SaltLen()
			if err != nil {
				t.Fatal(err)
			}
			key, salt := bytes.Repeat([]byte{7, 9}, kl/2), bytes.Repeat([]byte{3, 5}, sl/2)
			s, err := newSealer(p, key, salt)
			if err != nil {
				t.Fatal(err)
			}
			open, err := srtp.CreateContext(key, salt, p)
			if err != nil {
				t.Fatal(err)
			}
			for i := range uint64(70000) { // over the end of the sequence numbers
				if p == srtp.ProtectionProfileAes128CmHmacSha1_80 && i > 300 {
					break
				}
				index := 65000 + i
				h := rtp.Header{Version: 2, SequenceNumber: uint16(index), SSRC: 0xdeadbeef, PayloadType: 96, Timestamp: 5}
				buf := make([]byte, maxPacket)
				n, err := h.MarshalTo(buf)
				if err != nil {
					t.Fatal(err)
				}
				payload := []byte{1, 2, 3, byte(i)}
				total, err := s.seal(buf, n, payload, index)
				if err != nil {
					t.Fatal(err)
				}
				got, err := open.DecryptRTP(nil, buf[:total], nil)
				if err != nil {
					t.Fatalf("packet %d: %v", i, err)
				}
				if !bytes.Equal(got[n:], payload) {
					t.Fatalf("packet %d is %x", i, got)
				}
				if total > n+len(payload)+overhead {
					t.Fatalf("packet %d has %d bytes", i, total)
				}
			}
		})
	}
}
