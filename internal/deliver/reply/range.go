package reply

import (
	"math"
	"strings"
)

// ParseRange reads a Range header for a resource of a size (RFC 9110, section 14). whole
// is set if the header is to be ignored: another unit, not well formed, or several
// ranges, which nobody who plays asks for. ok is false if the range cannot be satisfied.
func ParseRange(header string, size int64) (start, length int64, whole, ok bool) {
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
