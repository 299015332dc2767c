package hls

import (
	"time"

	"onair/internal/deliver/pack"
)

// appendFrames renders the playlist of a rendition's key frames (RFC 8216bis, section
// 4.4.3.6), by which players show pictures while somebody looks for a place: the first frame
// of each complete segment, as a range of its bytes.
func appendFrames(b []byte, s *pack.Stream, snap *pack.Snapshot) []byte {
	p := printer{b: b, target: time.Duration(s.TargetDuration()) * time.Second}
	p.text("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:").int(int64(s.TargetDuration()))
	first := snap.LastSequence() + 1
	if len(snap.Segments) > 0 {
		first = snap.Segments[0].Sequence
	}
	p.text("\n#EXT-X-MEDIA-SEQUENCE:").int(max(first, 0))
	p.text("\n#EXT-X-DISCONTINUITY-SEQUENCE:").int(int64(snap.DiscontinuitySequence))
	p.text("\n#EXT-X-I-FRAMES-ONLY\n")
	var init *pack.Init
	for _, seg := range snap.Segments {
		init = p.begin(seg, init)
		p.text("#EXTINF:").seconds(seg.Duration).text(",\n")
		if seg.KeySize > 0 {
			p.text("#EXT-X-BYTERANGE:").int(seg.KeySize).text("@0\n")
		} else {
			p.text("#EXT-X-GAP\n")
		}
		p.text(seg.Name).text("\n")
	}
	if snap.Ended {
		p.text("#EXT-X-ENDLIST\n")
	}
	return p.b
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
		peak = max(peak, rateOf(8*seg.KeySize, max(seg.Duration, time.Second))) // before a border one may be short
	}
	return peak, rateOf(bits, length)
}

func rateOf(bits int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(bits) / d.Seconds())
}
