package images

import (
	"encoding/binary"
	"strings"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// keyFrame is a key frame that a picture can be made of.
type keyFrame struct {
	name   string // of the segment that it begins
	track  *media.Track
	packet *media.Packet
	at     time.Time // when it was taken
	seg    *pack.Segment
}

// keyOf returns the key frame that a segment begins with.
func keyOf(seg *pack.Segment) (keyFrame, bool) {
	if seg == nil || seg.KeySize == 0 {
		return keyFrame{}, false
	}
	var data []byte
	switch {
	case seg.Blob != nil && len(seg.Blob.Chunks) > 0:
		data = seg.Blob.Chunks[0]
	case len(seg.Parts) > 0 && len(seg.Parts[0].Blob.Chunks) > 0:
		data = seg.Parts[0].Blob.Chunks[0]
	}
	if int64(len(data)) < seg.KeySize {
		return keyFrame{}, false
	}
	sample, ok := firstSample(data[:seg.KeySize])
	if !ok {
		return keyFrame{}, false
	}
	track := seg.Init.Track
	return keyFrame{
		name: strings.TrimSuffix(seg.Name, ".m4s"), track: track, at: seg.Start, seg: seg,
		packet: &media.Packet{Track: track, Key: true, Data: sample},
	}, true
}

// firstSample returns what follows the headers in the beginning of a fragment: that begins with
// its moof, which tells its size, and the header of the mdat.
func firstSample(data []byte) ([]byte, bool) {
	if len(data) < 8 {
		return nil, false
	}
	begin := int64(binary.BigEndian.Uint32(data)) + 8
	if begin >= int64(len(data)) {
		return nil, false
	}
	return data[begin:], true
}

// suits reports whether a picture of a width is better made of track a than of b: of the
// smallest that is not smaller, as that is the quickest to decode.
func suits(a, b *media.Track, width int) bool {
	enough, had := a.Width >= width, b.Width >= width
	return enough && !had || enough == had && (a.Width < b.Width) == enough && a.Width != b.Width
}

// last returns the newest key frame of a rendition.
func last(snap *pack.Snapshot) (keyFrame, bool) {
	if k, ok := keyOf(snap.Open); ok {
		return k, true
	}
	return lastOf(snap.Segments)
}

// lastOf returns the newest key frame of segments.
func lastOf(list []*pack.Segment) (keyFrame, bool) {
	for i := len(list) - 1; i >= 0; i-- {
		if k, ok := keyOf(list[i]); ok {
			return k, true
		}
	}
	return keyFrame{}, false
}

// newest returns a key frame of the last seconds: of the smallest picture that is not
// smaller than a width, as that is the quickest to decode, if it is not much older than
// that of the others.
func newest(s *pack.Stream, width int) (best keyFrame, ok bool) {
	var list []keyFrame
	var latest time.Time
	for _, r := range s.Renditions() {
		if r.Kind() != media.Video {
			continue
		}
		if k, ok := last(r.Snapshot()); ok {
			list = append(list, k)
			if k.at.After(latest) {
				latest = k.at
			}
		}
	}
	for _, k := range list {
		if latest.Sub(k.at) > time.Duration(s.TargetDuration())*time.Second {
			continue
		}
		if !ok || suits(k.track, best.track, width) {
			best, ok = k, true
		}
	}
	return best, ok
}

// size returns the size of a picture of at most a width, in the shape in which the track is
// shown: even numbers, and not larger than the track's.
func size(t *media.Track, width int) (w, h int) {
	shownW, shownH := t.Width, t.Height
	if sarW, sarH := bitstream.SampleAspect(t); sarW > 0 && sarH > 0 {
		shownW = shownW * sarW / sarH
	}
	if shownW <= 0 || shownH <= 0 {
		return 16, 16 // the tool refuses the track
	}
	even := func(v int) int { return max(16, (v+1)/2*2) }
	w = min(width, shownW)
	h = w * shownH / shownW
	// A tall picture is not taller than the widest is wide.
	if most := widths[len(widths)-1]; h > most {
		w, h = w*most/h, most
	}
	return even(w), even(h)
}
