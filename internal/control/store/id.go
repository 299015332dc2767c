package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"onair/internal/fault"
)

// The prefixes tell people and programs what an id names.
const (
	prefixStream   = "ls_"
	prefixPlayback = "pb_"
	prefixKey      = "sk_"
	prefixTarget   = "st_"
	prefixAsset    = "as_"
)

// maxIDLen bounds what is looked up; ids and keys made here are 29 characters long.
const maxIDLen = 64

// newID returns the prefix and 130 random bits as 26 lower-case base32 characters.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }

// PlausibleID tells whether s can be an id that was made here. What cannot be one is
// unknown without asking the database (which may choke on NUL or broken UTF-8) or
// keeping it in a cache (it may be of any length).
func PlausibleID(s string) bool {
	if s == "" || len(s) > maxIDLen {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// hashKey is the index under which a stream key is found. A lookup by hash takes the
// same time whether the first or the last character of a guess is wrong.
func hashKey(key string) []byte {
	h := sha256.Sum256([]byte(key))
	return h[:]
}

// position is a place in the order of a list: newest first, ids break ties.
type position struct {
	at int64
	id string
}

func (p position) cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(p.at, 10) + "." + p.id))
}

func parseCursor(s string) (position, error) {
	bad := func(cause string) (position, error) {
		return position{}, fault.New(fault.Invalid, "read the list", "cursor", cause,
			"Use next_cursor of the page before as it stands, or leave the cursor out to begin.")
	}
	if len(s) > 2*maxIDLen {
		return bad("the cursor is too long")
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return bad("the cursor is not one of this server")
	}
	at, id, ok := strings.Cut(string(b), ".")
	n, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || !PlausibleID(id) {
		return bad("the cursor is not one of this server")
	}
	return position{n, id}, nil
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// subject is what an error may say of an id that was asked for: nothing if it has not
// the shape of one, for people paste stream keys where an id belongs.
func subject(id string) string {
	if !PlausibleID(id) {
		return ""
	}
	for _, p := range []string{prefixStream, prefixPlayback, prefixTarget, prefixAsset} {
		if strings.HasPrefix(id, p) {
			return id
		}
	}
	return ""
}

func notFound(op, what, id string) error {
	return fault.New(fault.NotFound, op, subject(id), fmt.Sprintf("there is no such %s", what),
		"It may have been deleted; list the live streams to see which there are.")
}
