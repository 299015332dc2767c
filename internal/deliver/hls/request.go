package hls

import (
	"math"
	"strings"

	"onair/internal/deliver/m3u8"
	"onair/internal/deliver/reply"
)

// target is what a path below /hls/ names.
type target struct {
	id        string // playback id
	session   string // empty: the multivariant playlist
	rendition string
	file      string
}

// media reports whether a path names no playlist.
func (t target) media() bool {
	return t.session != "" && t.file != playlistName && t.file != framesName
}

const (
	prefix       = "/hls/"
	playlistName = m3u8.IndexName
	framesName   = m3u8.FramesName
)

// parsePath takes a path apart. It allocates nothing.
func parsePath(path string) (t target, ok bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return t, false
	}
	t.id, rest, ok = strings.Cut(rest, "/")
	if !ok || !reply.WellFormed(t.id) {
		return t, false
	}
	if rest == playlistName {
		return t, true
	}
	t.session, rest, ok = strings.Cut(rest, "/")
	if !ok || !reply.WellFormed(t.session) {
		return t, false
	}
	t.rendition, t.file, ok = strings.Cut(rest, "/")
	return t, ok && reply.WellFormed(t.rendition) && len(t.file) <= reply.MaxName && t.file != ""
}

// clipped reports whether a request is for the playlist of a part of a recording, perhaps of
// what is live, which another handler has: start and end are in the query of the playlist of
// playlists, from, to and until in those of the playlists that it lists. It allocates nothing.
func clipped(t target, query string) bool {
	if t.media() {
		return false
	}
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(pair, "=")
		switch name {
		case "start", "end":
			if t.session == "" {
				return true
			}
		case "from", "to", "until":
			if t.session != "" {
				return true
			}
		}
	}
	return false
}

// directives are the delivery directives of a query (RFC 8216bis, section 6.2.5).
type directives struct {
	sequence int64 // -1: none
	part     int   // -1: none
	skip     bool
}

// parseDirectives reads a raw query. Names it does not know are ignored; it allocates
// nothing. It reports false if a directive is malformed.
func parseDirectives(query string) (d directives, ok bool) {
	d.sequence, d.part = -1, -1
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "_HLS_msn":
			if d.sequence, ok = decimal(value); !ok {
				return d, false
			}
		case "_HLS_part":
			n, ok := decimal(value)
			if !ok || n > math.MaxInt32 {
				return d, false
			}
			d.part = int(n)
		case "_HLS_skip":
			d.skip = value == "YES" || value == "v2"
		}
	}
	return d, d.part < 0 || d.sequence >= 0
}

// decimal reads a decimal-integer (section 4.2) of at most 18 digits.
func decimal(s string) (v int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		v = v*10 + int64(s[i]-'0')
	}
	return v, true
}
