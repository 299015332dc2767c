package dash

import (
	"strings"

	"onair/internal/deliver/reply"
)

// target is what a path below /dash/ names.
type target struct {
	id        string // playback id
	session   string // empty: a viewer who comes, or none that can be counted
	rendition string // empty: file is a manifest
	file      string
}

const (
	prefix       = "/dash/"
	timeName     = "time"
	manifestName = "manifest.mpd"
	// replayName is the manifest for who comes after the end: its time begins at 0, while
	// who has been there goes on with the time that was.
	replayName = "replay.mpd"
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
	if rest == manifestName {
		return t, true
	}
	t.session, rest, ok = strings.Cut(rest, "/")
	if !ok || !reply.WellFormed(t.session) {
		return t, false
	}
	if rest == manifestName || rest == replayName {
		t.file = rest
		return t, true
	}
	t.rendition, t.file, ok = strings.Cut(rest, "/")
	if !ok {
		// Who looks for media where it asked for the manifest, and not where it was sent, as
		// ffmpeg does, has no session.
		t.session, t.rendition, t.file = "", t.session, rest
	}
	return t, reply.WellFormed(t.rendition) && len(t.file) <= reply.MaxName && t.file != ""
}

// Names of media are made of that of their initialization section without its extension,
// which tells a segment under the old parameters from one under the new: of the two that a
// manifest may have foretold under one number, one comes to be. firstStem stands for the
// section of a rendition that has none yet.
const (
	initExt    = ".mp4"
	segmentExt = ".m4s"
	firstStem  = "first"
)

// parseFile takes the name of an initialization section (number is -1) or of a segment
// apart. It allocates nothing.
func parseFile(name string) (stem string, number int64, ok bool) {
	if stem, ok = strings.CutSuffix(name, initExt); ok {
		return stem, -1, stem != ""
	}
	rest, ok := strings.CutSuffix(name, segmentExt)
	if !ok {
		return "", 0, false
	}
	dash := strings.LastIndexByte(rest, '-')
	if dash <= 0 {
		return "", 0, false
	}
	stem, rest = rest[:dash], rest[dash+1:]
	number, ok = decimal(rest)
	return stem, number, ok
}

// decimal reads a number of at most 18 digits, written the one way that there is.
func decimal(s string) (v int64, ok bool) {
	if s == "" || len(s) > 18 || s[0] == '0' && len(s) > 1 {
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
