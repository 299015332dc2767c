package hls

import (
	"time"

	"onair/internal/deliver/m3u8"
	"onair/internal/deliver/pack"
	"onair/internal/media"
)

// Pictures knows the pictures of segments, a small one each, that are served below /images/.
type Pictures interface {
	// Picture returns the size in pixels of one of a track, and how many bits it has, about.
	// ok is false where none can be made now. It is called for each multivariant playlist,
	// and waits for nothing.
	Picture(t *media.Track) (width, height, bits int, ok bool)
}

// SetPictures has the pictures of streams listed. It is called before the first request.
func (h *Handler) SetPictures(p Pictures) { h.pictures = p }

// picturesPath is the playlist of pictures of a playback id, from its multivariant playlist.
const picturesPath, picturesName = "../../images/", "pictures.m3u8"

// appendPictures adds the playlist of pictures (an extension: EXT-X-IMAGE-STREAM-INF of
// github.com/image-media-playlist/spec, version 0.4) to the multivariant playlist, where
// there is one already: Shaka asks for it before it plays, and does not play without.
func (h *Handler) appendPictures(b []byte, s *pack.Stream, playbackID string) []byte {
	if h.pictures == nil {
		return b
	}
	for _, r := range s.Renditions() {
		snap := r.Snapshot()
		if r.Kind() != media.Video || r.Derived() || stopped(s, snap) {
			continue
		}
		var length time.Duration
		shortest, track, count := time.Duration(s.TargetDuration())*time.Second, snap.Track, 0
		for _, seg := range snap.Segments {
			if seg.KeySize > 0 {
				track = seg.Init.Track
				length += seg.Duration
				shortest = min(shortest, max(seg.Duration, time.Second))
				count++
			}
		}
		width, height, bits, ok := h.pictures.Picture(track)
		if !ok || count == 0 {
			continue
		}
		p := m3u8.Printer{B: b}
		p.Text("#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=").Int(m3u8.RoundRate(m3u8.Rate(int64(bits), shortest)))
		p.Text(",AVERAGE-BANDWIDTH=").Int(m3u8.RoundRate(m3u8.Rate(int64(bits*count), length)))
		p.Text(",RESOLUTION=").Int(int64(width)).Text("x").Int(int64(height))
		p.Text(`,CODECS="jpeg",URI="` + picturesPath).Text(playbackID).Text("/" + picturesName + "\"\n")
		return p.B
	}
	return b
}
