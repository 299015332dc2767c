// Package mpd is what the manifests of live streams and of recordings have in common: what a
// presentation is, how it is written (MPEG-DASH, ISO/IEC 23009-1), and the paths of what it
// lists.
package mpd

import (
	"time"

	"onair/internal/media"
)

// Presentation is what a manifest says. Its times are those of the media: time 0 is Start.
type Presentation struct {
	Start     time.Time // wall clock of media time 0
	Published time.Time
	// Ended makes it static, and Rebased lets its time begin at its first segment.
	Ended, Rebased bool
	// Low is set if segments are sent while they come to be.
	Low bool
	// Update is how long a player may do without a newer manifest, Delay how far behind the
	// clock it plays, Buffer what it needs before it starts, Longest what no segment is longer
	// than, Window how far back it may go.
	Update, Delay, Buffer, Longest, Window time.Duration
	End                                    time.Duration // of the last segment listed
	Periods                                []Period
}

// Period is a stretch with the same initialization sections.
type Period struct {
	ID    string
	Start time.Duration
	Sets  []Set
	// Pictures are those of its segments; nil for none.
	Pictures *Pictures
}

// Set holds renditions that players may switch between.
type Set struct {
	Kind     media.Kind
	Codec    media.Codec
	Language string
	// Priority is higher where the source's own media is.
	Priority int
	List     []Representation
}

// Representation is a rendition in a Period.
type Representation struct {
	Name  string
	Track *media.Track
	// Rate is in frames a second, Peak in bits a second.
	Rate float64
	Peak int64
	// Stem is the name of its initialization section without InitExt, Spans are its segments:
	// at least one.
	Stem  string
	Spans []Span
	// Early is how long before its end a segment can be asked for, and Part how long the
	// pieces are in which it comes; 0 for whole ones.
	Early, Part time.Duration
}

// Span is a segment as a manifest lists it.
type Span struct {
	Number int64
	T, D   int64 // when it is presented and for how long, in ticks of its representation's timescale
}

// Pictures are the pictures of segments, one each.
type Pictures struct {
	ID, Media     string // Media is a template of paths
	Track         *media.Track
	Spans         []Span
	Width, Height int // pixels
	Peak          int64
}

// joint is how far the ends of two segments may be from each other for them to be listed as
// one after the other.
const joint = 60 * time.Millisecond

// Follow appends a segment of a track. Where it begins at about the end of the one before it,
// that one is made to end exactly there, and where its number does not follow, the list begins
// anew.
func Follow(list []Span, s Span, t *media.Track) []Span {
	s.D = max(s.D, 1)
	n := len(list)
	if n == 0 {
		return append(list, s)
	}
	last := &list[n-1]
	if s.Number != last.Number+1 || s.T <= last.T {
		return append(list[:0:0], s)
	}
	if gap := s.T - (last.T + last.D); gap < 0 || t.Duration(gap) < joint {
		last.D = s.T - last.T
	}
	return append(list, s)
}

// Add puts a rendition into the set of its like. source says that it is the source's own.
func (p *Period) Add(r Representation, source bool) {
	kind := r.Track.Kind()
	at := -1
	for i, s := range p.Sets {
		if s.Kind == kind && s.Codec == r.Track.Codec && (kind == media.Video || s.Language == r.Track.Language) {
			at = i
			break
		}
	}
	if at < 0 {
		at = len(p.Sets)
		p.Sets = append(p.Sets, Set{Kind: kind, Codec: r.Track.Codec, Language: r.Track.Language, Priority: 1})
	}
	s := &p.Sets[at]
	s.List = append(s.List, r)
	if source {
		s.Priority = 2
	}
}
