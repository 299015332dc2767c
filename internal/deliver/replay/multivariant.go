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
	for _, r := range s.Renditions {
		l := lineupOf(s, r)
		if len(r.Inits) == 0 || !l.worthwhile() {
			continue
		}
		alone := l.independent()
		c.independent = c.independent && alone
		c.list = append(c.list, measured(s, &l, alone))
	}
	return c
}

// worthwhile reports whether a rendition is listed: a picture that was made for a while only,
// because somebody watched it, is not, if its playlist would have gaps where its source has
// none, or would be for its larger part the source's.
func (l *lineup) worthwhile() bool {
	// Renditions are not stored at the same moment: while the asset grows, one may be behind.
	const behind = 2
	if l.len() == 0 {
		return false
	}
	if l.own == l.pace || l.own.Kind != media.Video {
		return l.own.Segments.Len() > 0
	}
	all, own, lost := 0, 0, 0
	for i := range l.pace.Segments.Len() {
		pace := l.pace.Segments.Unnamed(i)
		if pace.Gap {
			continue
		}
		all++
		if pace.Sequence < l.first || pace.Sequence > l.last {
			lost++
			continue
		}
		switch now := l.at(pace.Sequence); {
		case now.Gap:
			lost++
		case now.of == l.own:
			own++
		}
	}
	return lost <= behind && 2*own >= all
}

// measured is a rendition with its bit rates: of all there is once it has ended, and until
// then a tenth more, because the most may be still to come.
func measured(s *record.Snapshot, l *lineup, alone bool) m3u8.Rendition {
	track := mainTrack(l.own)
	out := m3u8.Rendition{Name: l.own.Name, Track: track, Rate: track.FrameRate}
	out.Peak, out.Average = l.rates(time.Duration(s.TargetDuration) * time.Second)
	if l.own.Kind == media.Video && alone {
		out.FramesPeak, out.FramesAverage = l.frameRates()
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
	for i := range r.Segments.Len() {
		seg := r.Segments.Unnamed(i)
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
func (l *lineup) rates(target time.Duration) (peak, average int64) {
	var bits int64
	var whole time.Duration
	type piece struct {
		bits int64
		d    time.Duration
	}
	var recent []piece // those that a run may have that ends with the next one
	for n := l.first; n <= l.last; n++ {
		i := l.at(n)
		if i.Gap {
			recent = recent[:0] // no run goes on over it
			continue
		}
		recent = append(recent, piece{8 * i.Size, i.Duration})
		bits += 8 * i.Size
		whole += i.Duration
		var run int64
		var span time.Duration
		for m := len(recent) - 1; m >= 0; m-- {
			run += recent[m].bits
			span += recent[m].d
			if span > target*3/2 {
				recent = append(recent[:0], recent[m:]...)
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
func (l *lineup) frameRates() (peak, average int64) {
	var bits int64
	var whole time.Duration
	for n := l.first; n <= l.last; n++ {
		i := l.at(n)
		if i.KeySize == 0 || i.Duration <= 0 {
			continue
		}
		bits += 8 * i.KeySize
		whole += i.Duration
		peak = max(peak, m3u8.Rate(8*i.KeySize, max(i.Duration, time.Second))) // before a border one may be short
	}
	return peak, m3u8.Rate(bits, whole)
}
