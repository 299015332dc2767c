package hls

import (
	"context"
	"strconv"
	"time"

	"onair/internal/deliver/m3u8"
	"onair/internal/deliver/pack"
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

// SetRecorded says of which streams the others (SetOthers) have media, which the playlists of
// parts list at the paths of what is live, though the stream's own list no past. It is called
// before the first request; recorded is called for media that pack does not have, and must be
// quick.
func (h *Handler) SetRecorded(recorded func(ctx context.Context, streamID string) bool) {
	h.recorded = recorded
}

// kept tells whether the others have media of a stream.
func (h *Handler) kept(ctx context.Context, streamID string) bool {
	return h.past != nil && h.past.Has(streamID) || h.recorded != nil && h.recorded(ctx, streamID)
}

// pastOf returns what the playlist of a snapshot lists before it; nil if it is to be short.
func (h *Handler) pastOf(s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot) *m3u8.Past {
	if h.past == nil || len(snap.Segments) == 0 || !h.past.Has(s.Name()) {
		return nil
	}
	first, last := snap.Segments[0], snap.Segments[len(snap.Segments)-1]
	p := printer{target: time.Duration(s.TargetDuration()) * time.Second}
	past := h.past.Before(s.Name(), r.Name(), m3u8.Edge{
		Track: snap.Track, Sequence: first.Sequence, Start: first.Start, End: last.Start.Add(last.Duration), Origin: s.AvailabilityStart(),
		// What a delta update must list where the window is shorter than that.
		Keep: max(0, p.skipUntil()-endOf(snap).Sub(first.Start)),
	})
	if past == nil { // not yet: the playlist is what it will be, but for the length
		past = &m3u8.Past{First: first.Sequence, Text: m3u8.Join(nil), Independent: true}
	}
	return past
}

// withPast renders the full playlist of a rendition with a past. Only what is not past is
// rendered, and compressed, for each state.
func (v *view) withPast(s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, zip bool) *body {
	text, at := appendPlaylist(make([]byte, 0, 4096), s, r, snap, v.past, false)
	if !zip {
		b := v.past.Text.Plain(append(make([]byte, 0, len(text)+v.past.Text.Size()), text[:at]...))
		return newBody(append(b, text[at:]...))
	}
	b := &body{pieces: v.past.Text.Zip(text[:at], text[at:])}
	size := 0
	for _, piece := range b.pieces {
		size += len(piece)
	}
	b.length = []string{strconv.Itoa(size)}
	return b
}

// gone answers for a stream of which pack has nothing. Who watches it with its past goes on
// with that, and who watches a part of it with its media.
func (h *Handler) gone(ctx context.Context, a *Answer, streamID string, t target) bool {
	if t.session != "" && h.past != nil && h.past.Has(streamID) || t.media() && h.kept(ctx, streamID) {
		a.Elsewhere = true
		return true
	}
	return a.problem(problemIdle)
}

// missing answers for media that pack does not have, or no longer.
func (h *Handler) missing(ctx context.Context, a *Answer, s *pack.Stream) bool {
	if h.kept(ctx, s.Name()) {
		a.Elsewhere = true
		return true
	}
	return a.problem(problemResource)
}
