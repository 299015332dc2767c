package hls

import (
	"cmp"
	"math"
	"slices"

	"onair/internal/deliver/m3u8"
	"onair/internal/deliver/pack"
	"onair/internal/media"
)

// appendMultivariant renders the playlist of playlists for one viewer: renditions that the
// publisher sends, and those that are made when somebody asks for them.
func appendMultivariant(b []byte, s *pack.Stream, offers []media.Offer, session string) []byte {
	var list []m3u8.Rendition
	independent := true
	for _, r := range s.Renditions() {
		snap := r.Snapshot()
		if r.Derived() && !(s.Ended() && whole(snap)) || stopped(s, snap) {
			continue // who plays it goes on; nobody is sent there
		}
		independent = independent && snap.Independent
		list = append(list, measured(r, snap))
	}
	for _, o := range offers {
		c := offered(s, o)
		limit(list, &c)
		list = append(list, c)
	}
	return m3u8.AppendMultivariant(b, list, independent, session, "")
}

// measured is what the publisher sends. What was measured is not the most that will come: a
// tenth more.
func measured(r *pack.Rendition, snap *pack.Snapshot) m3u8.Rendition {
	c := m3u8.Rendition{
		Name: r.Name(), Track: snap.Track, Peak: snap.Peak + snap.Peak/10, Average: snap.Average, Rate: snap.FrameRate,
	}
	if r.Kind() == media.Video && snap.Independent && !r.Derived() {
		c.FramesPeak, c.FramesAverage = frameRates(snap)
		c.FramesPeak += c.FramesPeak / 10
	}
	return c
}

// offered is what can be made: as it is expected, and once it has been made for a while as
// it is, which is less where there is little to code.
func offered(s *pack.Stream, o media.Offer) m3u8.Rendition {
	const enough = 3 // complete segments
	c := m3u8.Rendition{Name: o.Track.Rendition, Track: o.Track, Peak: o.Peak, Average: o.Average, Rate: o.Track.FrameRate}
	r, ok := s.Rendition(c.Name)
	if !ok {
		return c
	}
	snap, made := r.Snapshot(), 0
	for _, seg := range snap.Segments {
		if !seg.Gap {
			made++
		}
	}
	if made >= enough {
		c.Average = snap.Average
		c.Peak = max(c.Average, min(cmp.Or(c.Peak, math.MaxInt64), snap.Peak+snap.Peak/4))
	}
	return c
}

// whole tells whether a rendition has all that its playlist lists.
func whole(snap *pack.Snapshot) bool {
	return !slices.ContainsFunc(snap.Segments, func(seg *pack.Segment) bool { return seg.Gap })
}

// stopped tells whether a rendition has fallen silent while others go on.
func stopped(s *pack.Stream, snap *pack.Snapshot) bool {
	if snap.Ended || snap.Flows() || len(snap.Segments) == 0 {
		return false
	}
	for _, r := range s.Renditions() {
		other := r.Snapshot()
		if m := len(other.Segments); !r.Derived() && other.Track.Kind() == snap.Track.Kind() && m > 0 && !other.Segments[m-1].Gap {
			return true
		}
	}
	return false
}

// limit sees to it that a smaller picture has a lower bit rate, by which players tell what is
// better. What is expected of an encoder is the most that it may send, and a source that shows
// little may send less than that.
func limit(list []m3u8.Rendition, c *m3u8.Rendition) {
	size := c.Track.Width * c.Track.Height
	for _, v := range list {
		if v.Track.Kind() == media.Video && v.Track.Width*v.Track.Height > size {
			c.Peak = min(c.Peak, v.Peak*9/10)
		}
	}
	c.Average = min(c.Average, c.Peak)
}
