package srt

import (
	"bytes"
	"errors"

	"github.com/datarhei/gosrt/crypto"
	"github.com/datarhei/gosrt/packet"
)

// Which key a data packet is encrypted with (3.1).
const (
	keyNone = 0
	keyEven = 1
	keyOdd  = 2
)

const (
	// cipherCTR is AES-CTR in a key material message (6.1.5); GCM would be 4.
	cipherCTR = 2
	// maxKM is the size of the largest key material message: two keys of 256 bits.
	maxKM = 16 + 16 + 8 + 64
)

var (
	errCipher = errors.New("the cipher is not AES-CTR")
	errKeys   = errors.New("the key material does not open with the passphrase")
)

// ciphers holds the keys of one connection. Both directions begin with the caller's keys
// and are refreshed each by its own sender (6.1.6).
type ciphers struct {
	passphrase string
	length     int // of a key, in bytes
	salt       []byte
	in, out    crypto.Crypto
	outKey     uint8
	// lastKM is the key material message that was taken last: it is answered again
	// without the work of opening it.
	lastKM []byte
}

// parseKM reads a key material message. gosrt's reader checks its own bounds.
func parseKM(km []byte) (*packet.CIFKeyMaterialExtension, error) {
	if len(km) > maxKM {
		return nil, errKeys
	}
	m := &packet.CIFKeyMaterialExtension{}
	if len(km) < 16 || m.Unmarshal(km) != nil {
		return nil, errKeys
	}
	if m.Cipher != cipherCTR || m.Authentication != 0 {
		return nil, errCipher
	}
	if len(m.Salt) != 16 {
		return nil, errKeys
	}
	return m, nil
}

// openKeys takes the keys that a caller sends in its handshake.
func openKeys(km []byte, passphrase string) (*ciphers, error) {
	m, err := parseKM(km)
	if err != nil {
		return nil, err
	}
	c := &ciphers{passphrase: passphrase, length: int(m.KLen), salt: m.Salt, lastKM: bytes.Clone(km), outKey: keyEven}
	if m.KeyBasedEncryption == packet.OddKeyEncrypted {
		c.outKey = keyOdd
	}
	for _, d := range []*crypto.Crypto{&c.in, &c.out} {
		if *d, err = crypto.New(c.length); err != nil {
			return nil, err
		}
		if err = (*d).UnmarshalKM(m, passphrase); err != nil {
			return nil, errKeys
		}
	}
	return c, nil
}

// newKeys makes keys of that many bytes, and the message that tells a listener of them.
func newKeys(passphrase string, length int) (*ciphers, []byte, error) {
	out, err := crypto.New(length)
	if err != nil {
		return nil, nil, err
	}
	km, err := marshalKM(out, passphrase, packet.EvenKeyEncrypted)
	if err != nil {
		return nil, nil, err
	}
	c, err := openKeys(km, passphrase)
	return c, km, err
}

func marshalKM(c crypto.Crypto, passphrase string, which packet.PacketEncryption) ([]byte, error) {
	m := &packet.CIFKeyMaterialExtension{}
	if err := c.MarshalKM(m, passphrase, which); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err := m.Marshal(&b)
	return b.Bytes(), err
}

// known reports whether the message is the one that was taken last.
func (c *ciphers) known(km []byte) bool { return bytes.Equal(km, c.lastKM) }

// refresh takes new keys for what comes in. The message must open with the passphrase
// and have the length and the salt of the connection: anything else changes nothing.
func (c *ciphers) refresh(km []byte) bool {
	m, err := parseKM(km)
	if err != nil || int(m.KLen) != c.length || !bytes.Equal(m.Salt, c.salt) {
		return false
	}
	// gosrt writes into its state before it has checked; a scratch copy checks first.
	scratch, err := crypto.New(c.length)
	if err != nil || scratch.UnmarshalKM(m, c.passphrase) != nil || c.in.UnmarshalKM(m, c.passphrase) != nil {
		return false
	}
	c.lastKM = bytes.Clone(km)
	return true
}

// renew makes a new key of the parity that is not in use for what goes out, and returns
// the message that tells of it.
func (c *ciphers) renew() ([]byte, error) {
	which := packet.PacketEncryption(keyEven + keyOdd - c.outKey)
	if err := c.out.GenerateSEK(which); err != nil {
		return nil, err
	}
	return marshalKM(c.out, c.passphrase, which)
}

func (c *ciphers) decrypt(data []byte, key uint8, seq uint32) bool {
	return (key == keyEven || key == keyOdd) &&
		c.in.EncryptOrDecryptPayload(data, packet.PacketEncryption(key), seq) == nil
}

func (c *ciphers) encrypt(data []byte, seq uint32) error {
	return c.out.EncryptOrDecryptPayload(data, packet.PacketEncryption(c.outKey), seq)
}
