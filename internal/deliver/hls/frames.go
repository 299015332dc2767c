package hls

import (
	"time"

	"onair/internal/deliver/m3u8"
	"onair/internal/deliver/pack"
)

// appendFrames renders the playlist of a rendition's key frames (RFC 8216bis, section
// 4.4.3.6), by which players show pictures while somebody looks for a place: the first frame
// of each complete segment, as a range of its bytes.
func appendFrames(b []byte, s *pack.Stream, snap *pack.Snapshot) []byte {
	p := printer{Printer: m3u8.Printer{B: b}, target: time.Duration(s.TargetDuration()) * time.Second}
	p.Text("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:").Int(int64(s.TargetDuration()))
	first := snap.LastSequence() + 1
	if len(snap.Segments) > 0 {
		first = snap.Segments[0].Sequence
	}
	p.Text("\n#EXT-X-MEDIA-SEQUENCE:").Int(max(first, 0))
	p.Text("\n#EXT-X-DISCONTINUITY-SEQUENCE:").Int(int64(snap.DiscontinuitySequence))
	p.Text("\n#EXT-X-I-FRAMES-ONLY\n")
	var init *pack.Init
	for _, seg := range snap.Segments {
		init = p.begin(seg, init)
		p.Text("#EXTINF:").Seconds(seg.Duration).Text(",\n")
		if seg.KeySize > 0 {
			p.Text("#EXT-X-BYTERANGE:").Int(seg.KeySize).Text("@0\n")
		} else {
			p.Text("#EXT-X-GAP\n")
		}
		p.Text(seg.Name).Text("\n")
	}
	if snap.Ended {
		p.Text("#EXT-X-ENDLIST\n")
	}
	return p.B
}

// frameRates are the bit rates of a rendition's key frames: the highest of one, and that of
// all; 0 where it has none.
func frameRates(snap *pack.Snapshot) (peak, average int64) {
	var bits int64
	var length time.Duration
	for _, seg := range snap.Segments {
		if seg.KeySize == 0 || seg.Duration <= 0 {
			continue
		}
		bits += 8 * seg.KeySize
		length += seg.Duration
		peak = max(peak, m3u8.Rate(8*seg.KeySize, max(seg.Duration, time.Second))) // before a border one may be short
	}
	return peak, m3u8.Rate(bits, length)
}
