package hls

import (
	"onair/internal/deliver/m3u8"
)

// Past knows what live streams had before what is in pack's window. The media of it is served
// by the others (SetOthers).
type Past interface {
	// Has tells whether a stream's playlists list the past: of its broadcast that is on the
	// air, or of its last one.
	Has(streamID string) bool
	// Before returns what the playlist of a rendition lists before an edge; nil if there is
	// nothing. It is called once for each state of a rendition that somebody asks for.
	Before(streamID, rendition string, edge m3u8.Edge) *m3u8.Past
}

// SetPast has playlists list the past of streams. It is called before the first request.
func (h *Handler) SetPast(p Past) { h.past = p }
