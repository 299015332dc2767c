// Package fmp4 writes and reads fragmented MP4 (ISO/IEC 14496-12): CMAF headers and
// fragments (ISO/IEC 23000-19) for delivery, and the pipes to and from ffmpeg.
//
// Header and fragments carry no edit list: a packet's PTS is what a player sees.
package fmp4

import "onair/internal/media"

// The track IDs that Init and Fragment write. They depend on nothing but the kind, so
// that the same parameters give the same header, byte for byte, whatever the
// publisher called its tracks; and one of each can share a file.
const (
	videoTrackID = 1
	audioTrackID = 2
)

func trackID(t *media.Track) uint32 {
	if t.Kind() == media.Audio {
		return audioTrackID
	}
	return videoTrackID
}
