package replay

import (
	"time"

	"onair/internal/deliver/m3u8"
	"onair/internal/media"
	"onair/internal/record"
)

// contents is what the playlist of playlists says, but for the viewer's session.
type contents struct {
	list        []m3u8.Rendition
	independent bool
}

// contentsOf measures an asset.
func contentsOf(s *record.Snapshot) contents {
	c := contents{independent: true}
	picture := mainVideo(s)
	for _, r := range s.Renditions {
		if len(r.Segments) == 0 || len(r.Inits) == 0 || r.Kind == media.Video && !covers(r, picture) {
			continue
		}
		alone := independent(r)
		c.independent = c.independent && alone
		c.list = append(c.list, measured(s, r, alone))
	}
	return c
}

// covers reports whether a rendition has media wherever the main one has. A rendition that
// was made for a while only, because somebody watched it, is not listed: a player would go
// there and find gaps.
func covers(r, whole *record.Rendition) bool {
	// Renditions are not stored at the same moment: while the asset grows, one may be behind.
	const behind = 2
	if r == whole {
		return true
	}
	for i, j := 0, 0; i < len(whole.Segments)-behind; i++ {
		want := &whole.Segments[i]
		for j < len(r.Segments) && r.Segments[j].Sequence < want.Sequence {
			j++
		}
		if j == len(r.Segments) || !want.Gap && (r.Segments[j].Sequence != want.Sequence || r.Segments[j].Gap) {
			return false
		}
	}
	return true
}

// measured is a rendition with its bit rates: of all there is once it has ended, and until
// then a tenth more, because the most may be still to come.
func measured(s *record.Snapshot, r *record.Rendition, alone bool) m3u8.Rendition {
	track := mainTrack(r)
	out := m3u8.Rendition{Name: r.Name, Track: track, Rate: track.FrameRate}
	out.Peak, out.Average = rates(r, time.Duration(s.TargetDuration)*time.Second)
	if r.Kind == media.Video && alone {
		out.FramesPeak, out.FramesAverage = frameRates(r)
	}
	if !ended(s) {
		out.Peak += out.Peak / 10
		out.FramesPeak += out.FramesPeak / 10
	}
	return out
}

// mainTrack is the track that most of a rendition is in.
func mainTrack(r *record.Rendition) *media.Track {
	lengths := make([]time.Duration, len(r.Inits))
	best := 0
	for i := range r.Segments {
		seg := &r.Segments[i]
		if seg.Gap || seg.Init < 0 || int(seg.Init) >= len(lengths) {
			continue
		}
		lengths[seg.Init] += seg.Duration
		if lengths[seg.Init] > lengths[best] {
			best = int(seg.Init)
		}
	}
	return r.Inits[best].Track
}

// rates are the bit rates of a rendition: the highest over any run of segments that lasts 0.5
// to 1.5 target durations (RFC 8216bis, section 4.4.6.2), and that of all.
func rates(r *record.Rendition, target time.Duration) (peak, average int64) {
	var bits int64
	var whole time.Duration
	for i := range r.Segments {
		if r.Segments[i].Gap {
			continue
		}
		bits += 8 * r.Segments[i].Size
		whole += r.Segments[i].Duration
		var run int64
		var span time.Duration
		for j := i; j >= 0 && !r.Segments[j].Gap; j-- {
			run += 8 * r.Segments[j].Size
			span += r.Segments[j].Duration
			if span > target*3/2 {
				break
			}
			if span >= target/2 {
				peak = max(peak, m3u8.Rate(run, span))
			}
		}
	}
	average = m3u8.Rate(bits, whole)
	return max(peak, average), average
}

// frameRates are the bit rates of a rendition's key frames: the highest of one, and that of
// all; 0 where it has none.
func frameRates(r *record.Rendition) (peak, average int64) {
	var bits int64
	var whole time.Duration
	for i := range r.Segments {
		seg := &r.Segments[i]
		if seg.KeySize == 0 || seg.Duration <= 0 {
			continue
		}
		bits += 8 * seg.KeySize
		whole += seg.Duration
		peak = max(peak, m3u8.Rate(8*seg.KeySize, max(seg.Duration, time.Second))) // before a border one may be short
	}
	return peak, m3u8.Rate(bits, whole)
}
