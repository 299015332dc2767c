// Package ts turns an MPEG transport stream (ISO/IEC 13818-1) into packets and back: what
// SRT carries, and what HLS carried before fragmented MP4.
//
// # Time
//
// Packets have a timescale of 90,000. The 33-bit counter is unwrapped over all tracks
// together, so that picture and sound stay where they are when one of them wraps first;
// nothing else is repaired here. Many frames of sound in one PES packet each get their own
// time, counted in samples from the one that the packet tells.
//
// # Codecs
//
// H.264, HEVC, AAC (in ADTS and in LATM), Opus, AC-3, E-AC-3 and MP3. What else a
// programme carries (cues of SCTE-35, KLV, teletext, subtitles, MPEG-2 video, MPEG-1 audio
// layer II, DTS, …) is passed over and named in Stats; a stream with nothing else is refused by name.
package ts

import (
	"strings"

	"onair/internal/fault"
)

// Timescale is the number of ticks a second of the packets that a Reader yields.
const Timescale = 90000

// Bounds on what a Reader accepts and holds.
const (
	// maxTracks is the number of elementary streams with picture or sound of one programme.
	maxTracks = 32
	// maxPrograms is the number of programmes whose maps are looked at.
	maxPrograms = 64
	// maxSection is the size of a table section in bytes (ISO/IEC 13818-1, section 2.4.4.1).
	maxSection = 1024
	// maxPES is the size of a PES packet in bytes; a larger one is dropped.
	maxPES = 8 << 20
	// maxHeld is what the PES packets of all tracks hold together.
	maxHeld = 32 << 20
	// maxGarbage is how many bytes without a packet's sync byte are passed over.
	maxGarbage = 1 << 20
	// maxSilence is how many packets may come without a programme map.
	maxSilence = 200000
	// maxEarly is how many bytes of packets that come before the map are kept for it.
	maxEarly = 2 << 20
)

const (
	packetSize = 188
	syncByte   = 0x47
	nullPID    = 0x1fff
	clockWrap  = 1 << 33
)

func broken(cause string) error {
	return fault.New(fault.Invalid, "read MPEG-TS", "", cause, "")
}

func refused(cause string) error {
	hint := "Send H.264 or HEVC, and AAC, Opus, AC-3, E-AC-3 or MP3."
	if strings.Contains(cause, privateData) {
		hint += " Some encoders put AV1 and VP9 into MPEG-TS without a name, which nobody can read: send those over RTMP or WebRTC."
	}
	return fault.New(fault.Unsupported, "read MPEG-TS", "", cause, hint)
}
