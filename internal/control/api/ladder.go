package api

import (
	"strings"

	"onair/internal/control/store"
	"onair/internal/fault"
)

const (
	maxRungs = 8
	// maxRung and maxProfile bound a rung's and a profile's text in bytes, maxRealtime the
	// viewers over WebRTC that a stream may ask for.
	maxRung     = 64
	maxProfile  = 32
	maxRealtime = 100_000
)

type (
	ladder struct {
		Profile orNull[string] `json:"profile" doc:"One of the server's ladders, which GET /v1/server lists; null: the server's default."`
		Rungs   []string       `json:"rungs" nullable:"false" doc:"Renditions of the stream's own, in place of a profile; empty: those of the profile."`
		Mode    orNull[string] `json:"mode" doc:"just-in-time: a rendition is encoded while somebody watches it. always: all of them while the stream is live. off: none; what viewers could not play otherwise is still made. Null: as the server is set."`
	}
	ladderBody struct {
		Profile string   `json:"profile,omitempty" maxLength:"32" doc:"One of the server's ladders; not together with rungs."`
		Rungs   []string `json:"rungs,omitempty" nullable:"false" maxItems:"8" doc:"Such as 720p, 1080p60, 480p@900k (with a bit rate), 720p/hevc (with a codec), audio, source; best first."`
		Mode    string   `json:"mode,omitempty" enum:"just-in-time,always,off" doc:"just-in-time: a rendition is encoded while somebody watches it. always: all of them while the stream is live. off: none; what viewers could not play otherwise is still made."`
	}
	ladderPatch struct {
		Profile optional[string]   `json:"profile" required:"false" maxLength:"32" doc:"Takes the place of rungs; null: the server's default."`
		Rungs   optional[[]string] `json:"rungs" required:"false" maxItems:"8" doc:"Take the place of the profile; null or empty: those of the profile."`
		Mode    optional[string]   `json:"mode" required:"false" enum:"just-in-time,always,off" doc:"Null: as the server is set."`
	}
)

func ladderOf(l store.Ladder) ladder {
	out := ladder{Profile: unlessZero(l.Profile), Rungs: l.Rungs, Mode: unlessZero(l.Mode)}
	if out.Rungs == nil {
		out.Rungs = []string{}
	}
	return out
}

func (b *ladderBody) apply(l *store.Ladder) {
	if b != nil {
		*l = store.Ladder{Profile: b.Profile, Rungs: b.Rungs, Mode: b.Mode}
	}
}

// apply merges a patch. Profile and rungs exclude each other: the one that is sent
// replaces the other.
func (p *ladderPatch) apply(l *store.Ladder) {
	p.Profile.to(&l.Profile, "")
	p.Rungs.to(&l.Rungs, nil)
	p.Mode.to(&l.Mode, "")
	switch {
	case p.Profile.set && !p.Rungs.set && l.Profile != "":
		l.Rungs = nil
	case p.Rungs.set && !p.Profile.set && len(l.Rungs) > 0:
		l.Profile = ""
	}
}

// checkLadder refuses a ladder that this server cannot make. What is at its default
// always can be kept.
func (a *API) checkLadder(op string, l store.Ladder) error {
	const field = "ladder"
	if l.IsZero() {
		return nil
	}
	bad := func(cause, hint string) error { return fault.New(fault.Invalid, op, field, cause, hint) }
	if l.Profile != "" && len(l.Rungs) > 0 {
		return bad("profile and rungs are both given", "Send the one and leave the other out.")
	}
	if len(l.Profile) > maxProfile || !printable(l.Profile) {
		return bad("the profile is no name of a ladder", "GET /v1/server lists the server's ladders.")
	}
	if len(l.Rungs) > maxRungs {
		return bad("there are more than 8 rungs", "Leave out those that are close to others.")
	}
	for _, r := range l.Rungs {
		if r == "" || len(r) > maxRung || !printable(r) || strings.ContainsRune(r, ' ') {
			return bad("a rung is empty, too long, or has blanks in it", "Write rungs such as 720p, 1080p60 or 480p@900k.")
		}
	}
	if a.deps.CheckLadder == nil {
		return fault.New(fault.Unsupported, op, field, "this server does not encode", "Leave the ladder at its default.")
	}
	return a.deps.CheckLadder(l.Profile, l.Rungs, l.Mode)
}

// checkRealtime bounds the viewers over WebRTC.
func checkRealtime(op string, n *int) error {
	if n != nil && (*n < 0 || *n > maxRealtime) {
		return fault.New(fault.Invalid, op, "realtime_viewers", "realtime_viewers is out of range",
			"Use 0 to 100000, or null for the server's default.")
	}
	return nil
}
