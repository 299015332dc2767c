// Package rtc takes live media over WebRTC, and gives it: the WHIP server (RFC 9725) that
// browsers and encoders publish to, and the WHEP server that players watch.
//
// A POST becomes a PublishRequest (a media.Source) and is handed to a Handler, which
// decides; only then is a peer connection made, so that nobody without a key costs more
// than a parsed body. The package knows no streams, users or configuration files.
//
// All sessions share one UDP port, and one TCP port of the same number for networks
// without UDP. The server is an ICE-lite agent (docs/decisions/0009-webrtc-ingest.md): it
// answers checks and never sends to an address that a client merely named.
//
// Viewers have no peer connection: what is sent to them is package egress, and split.go
// tells their datagrams from those of publishers on the same port. Here are their offers
// (playoffer.go), the answers (playanswer.go) and the requests (whep.go, play.go).
//
// RTP of publishers goes through three stages, each without goroutines or a clock of its own: a jitter
// buffer that orders, asks for what is missing and gives up in time (jitter.go), an
// assembler that makes access units and never lets a broken one through (assemble.go),
// and an aligner that puts the clocks of all tracks into one (align.go). lane.go joins
// them for one track, receive.go for one session.
package rtc

import (
	"strings"
	"unicode"
)

// Bounds that are no settings.
const (
	// maxOffer and maxFragment bound the bodies of POST and PATCH, in bytes.
	maxOffer    = 64 << 10
	maxFragment = 16 << 10
	// maxSections, maxLines, maxCandidates and maxLayers bound what an SDP may hold.
	maxSections   = 4
	maxLines      = 1500
	maxCandidates = 64
	maxLayers     = 4
	maxFormats    = 128
	// maxStreams bounds the RTP streams (SSRCs) of a session over its life.
	maxStreams = 64
	// maxEncoder bounds the name of an encoder, in characters.
	maxEncoder = 128
)

// printable makes a text from outside fit for logs: at most n characters, no controls.
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}
