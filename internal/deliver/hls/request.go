package hls

import (
	"math"
	"strings"

	"onair/internal/deliver/reply"
)

// target is what a path below /hls/ names.
type target struct {
	id        string // playback id
	session   string // empty: the multivariant playlist
	rendition string
	file      string
}

const (
	prefix       = "/hls/"
	playlistName = "index.m3u8"
	framesName   = "iframes.m3u8"
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

// parseRange reads a Range header for a resource of a size (RFC 9110, section 14). whole
// is set if the header is to be ignored: another unit, not well formed, or several
// ranges, which nobody who plays asks for. ok is false if the range cannot be satisfied.
func parseRange(header string, size int64) (start, length int64, whole, ok bool) {
	spec, isBytes := strings.CutPrefix(header, "bytes=")
	if !isBytes || strings.IndexByte(spec, ',') >= 0 {
		return 0, size, true, true
	}
	from, to, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !dash || !digits(from) || !digits(to) || from == "" && to == "" {
		return 0, size, true, true
	}
	if from == "" {
		n := min(saturated(to), size)
		return size - n, n, false, n > 0
	}
	start = saturated(from)
	last := size - 1
	if to != "" {
		end := saturated(to)
		if end < start {
			return 0, size, true, true
		}
		last = min(last, end)
	}
	if start >= size {
		return 0, 0, false, false
	}
	return start, last - start + 1, false, true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// saturated reads digits; a number that is too large becomes the largest there is.
func saturated(s string) (v int64) {
	for i := range len(s) {
		d := int64(s[i] - '0')
		if v > (math.MaxInt64-d)/10 {
			return math.MaxInt64
		}
		v = v*10 + d
	}
	return v
}
