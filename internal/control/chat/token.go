package chat

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"onair/internal/fault"
)

// secretSetting is where the key is kept that identities are signed with.
const secretSetting = "chat_secret"

// maxToken bounds what is looked at of a token, in bytes.
const maxToken = 2 << 10

// Identity is who somebody is in a room.
type Identity struct {
	Author
	// StreamID is the live stream in whose chat it counts; empty in all.
	StreamID string
	// Expires is when it no longer counts.
	Expires time.Time
}

// claims is what a token says.
type claims struct {
	Stream  string `json:"s,omitempty"`
	User    string `json:"u"`
	Name    string `json:"n"`
	Role    Role   `json:"r"`
	Expires int64  `json:"e"` // Unix seconds
}

// signer makes and reads tokens: base64url(claims).base64url(HMAC-SHA-256).
type signer struct {
	key []byte
	now func() time.Time
}

// newSigner takes the key that the database has, or makes one.
func newSigner(ctx context.Context, store Store, now func() time.Time) (*signer, error) {
	kept, _, err := store.InitSetting(ctx, secretSetting, rand.Text()+rand.Text())
	if err != nil {
		return nil, err
	}
	return &signer{key: []byte(kept), now: now}, nil
}

func (s *signer) sum(text string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func (s *signer) sign(i Identity) string {
	text := base64.RawURLEncoding.EncodeToString(encode(claims{i.StreamID, i.ID, i.Name, i.Role, i.Expires.Unix()}))
	return text + "." + base64.RawURLEncoding.EncodeToString(s.sum(text))
}

// read returns who a token is for. fault.Unauthorized if it was not made here, has expired, or
// is for another stream.
func (s *signer) read(token, streamID string) (Identity, error) {
	refuse := func(cause string) (Identity, error) {
		return Identity{}, fault.New(fault.Unauthorized, "enter", "the chat", cause, "Get a new token, or enter as a guest.")
	}
	text, sum, ok := strings.Cut(token, ".")
	if !ok || len(token) > maxToken {
		return refuse("the token is none of this server")
	}
	given, err := base64.RawURLEncoding.DecodeString(sum)
	if err != nil || !hmac.Equal(given, s.sum(text)) {
		return refuse("the token was not made by this server")
	}
	var c claims
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return refuse("the token cannot be read")
	}
	expires := time.Unix(c.Expires, 0)
	switch {
	case !expires.After(s.now()):
		return refuse("the token has expired")
	case c.Stream != "" && c.Stream != streamID:
		return refuse("the token is for another stream")
	}
	return Identity{Author{c.User, c.Name, c.Role}, c.Stream, expires}, nil
}

// guest makes a new identity.
func (s *signer) guest(streamID, name string) Identity {
	id := "gst_" + strings.ToLower(rand.Text()[:16])
	if name == "" {
		name = "Guest " + strings.ToUpper(id[len(id)-4:])
	}
	return Identity{Author{id, name, Viewer}, streamID, s.now().Add(guestLife)}
}

// place is what is kept of a guest's address in a ban: it tells nobody the address.
func (s *signer) place(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return "adr_" + hex.EncodeToString(s.sum("address " + prefixOf(a).String())[:10])
}

// prefixOf is what counts as one address.
func prefixOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
