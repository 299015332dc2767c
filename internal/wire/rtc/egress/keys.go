package egress

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// profiles are the ways to protect media, the preferred one first: authentication by GCM
// costs a fifth of that by SHA-1.
var profiles = [...]dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80}

// Labels of session keys (RFC 3711, section 4.3.1).
const (
	labelKey  = 0
	labelSalt = 2
)

// sealer protects RTP packets of one viewer. It belongs to one loop.
type sealer struct {
	aead cipher.AEAD // nil for what context does
	salt [12]byte
	iv   [12]byte // here, since on the stack it would escape
	// context protects what is not GCM.
	context *srtp.Context
	header  rtp.Header
}

// overhead is what sealing adds to a packet, in bytes.
const overhead = 16

// newSealer derives the session keys of RTP from a master key and salt (RFC 3711, section
// 4.3; RFC 7714, section 11).
func newSealer(profile srtp.ProtectionProfile, key, salt []byte) (*sealer, error) {
	s := &sealer{}
	if profile != srtp.ProtectionProfileAeadAes128Gcm && profile != srtp.ProtectionProfileAeadAes256Gcm {
		var err error
		s.context, err = srtp.CreateContext(key, salt, profile)
		return s, err
	}
	master, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	derive := func(label byte, n int) []byte {
		var in [16]byte
		copy(in[:14], salt)
		in[7] ^= label
		out := make([]byte, (n+15)/16*16)
		for i := 0; i*16 < n; i++ {
			in[15] = byte(i)
			master.Encrypt(out[i*16:], in[:])
		}
		return out[:n]
	}
	block, err := aes.NewCipher(derive(labelKey, len(key)))
	if err != nil {
		return nil, err
	}
	copy(s.salt[:], derive(labelSalt, len(s.salt)))
	s.aead, err = cipher.NewGCM(block)
	return s, err
}

// seal protects a payload behind a header that is in buf[:head] already, and returns the
// length of the packet. index is that of the packet (RFC 3711, section 3.3.1): it must
// never be used twice with another payload or header. payload may lie at buf[head:].
func (s *sealer) seal(buf []byte, head int, payload []byte, index uint64) (int, error) {
	if s.aead == nil {
		if _, err := s.header.Unmarshal(buf[:head]); err != nil {
			return 0, err
		}
		copy(buf[head:], payload)
		out, err := s.context.EncryptRTP(nil, buf[:head+len(payload)], &s.header)
		return copy(buf, out), err
	}
	s.iv = s.salt
	for i := range 4 {
		s.iv[2+i] ^= buf[8+i] // the SSRC
	}
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], index)
	for i := range 6 {
		s.iv[6+i] ^= n[2+i]
	}
	return head + len(s.aead.Seal(buf[head:head], s.iv[:], payload, buf[:head])), nil
}
