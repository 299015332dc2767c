package m3u8

import (
	"time"

	"onair/internal/media"
)

// Edge is where the window of a live rendition is, before which its past is listed.
type Edge struct {
	Track *media.Track // of the newest media in the window
	// Sequence and Start are those of the window's first segment, and End is where its last
	// complete segment ends on the wall clock.
	Sequence   int64
	Start, End time.Time
	// Origin is the wall clock of media time 0, by which broadcasts are told apart.
	Origin time.Time
	// Keep is how much of the past, from its end back, is wanted as Past.Recent.
	Keep time.Duration
}

// Past is what the playlist of a live rendition lists before its window. It never changes.
type Past struct {
	// First is the media sequence number of the first segment. There are none missing from
	// there to the window.
	First int64
	// Discontinuities is how many EXT-X-DISCONTINUITY there are in all of it.
	Discontinuities int
	// Text lists the first Count segments, and Recent those after them.
	Text   *Text
	Count  int
	Recent []byte
	// Independent is set if each segment can be decoded without the others.
	Independent bool
}
