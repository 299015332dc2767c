package mpd

import (
	"strings"

	"onair/internal/deliver/reply"
)

// Target is what a path below /dash/ names.
type Target struct {
	ID        string // playback id
	Session   string // empty: a viewer who comes, or none that can be counted
	Rendition string // empty: File is a manifest
	File      string
}

// Names in the paths of DASH.
const (
	Prefix       = "/dash/"
	TimeName     = "time" // below Prefix: the server's clock
	ManifestName = "manifest.mpd"
	// ReplayName is the manifest for who comes after the end: its time begins at 0, while
	// who has been there goes on with the time that was.
	ReplayName = "replay.mpd"
)

// ParsePath takes a path apart. It allocates nothing.
func ParsePath(path string) (t Target, ok bool) {
	rest, ok := strings.CutPrefix(path, Prefix)
	if !ok {
		return t, false
	}
	t.ID, rest, ok = strings.Cut(rest, "/")
	if !ok || !reply.WellFormed(t.ID) {
		return t, false
	}
	if rest == ManifestName {
		return t, true
	}
	t.Session, rest, ok = strings.Cut(rest, "/")
	if !ok || !reply.WellFormed(t.Session) {
		return t, false
	}
	if rest == ManifestName || rest == ReplayName {
		t.File = rest
		return t, true
	}
	t.Rendition, t.File, ok = strings.Cut(rest, "/")
	if !ok {
		// Who looks for media where it asked for the manifest, and not where it was sent, as
		// ffmpeg does, has no session.
		t.Session, t.Rendition, t.File = "", t.Session, rest
	}
	return t, reply.WellFormed(t.Rendition) && len(t.File) <= reply.MaxName && t.File != ""
}

// Names of media are made of that of their initialization section without its extension,
// which tells a segment under the old parameters from one under the new: of the two that a
// manifest may have foretold under one number, one comes to be. FirstStem stands for the
// section of a rendition that has none yet.
const (
	InitExt    = ".mp4"
	SegmentExt = ".m4s"
	FirstStem  = "first"
)

// ParseFile takes the name of an initialization section (number is -1) or of a segment
// apart. It allocates nothing.
func ParseFile(name string) (stem string, number int64, ok bool) {
	if stem, ok = strings.CutSuffix(name, InitExt); ok {
		return stem, -1, stem != ""
	}
	rest, ok := strings.CutSuffix(name, SegmentExt)
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
