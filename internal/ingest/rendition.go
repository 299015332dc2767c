package ingest

import (
	"cmp"
	"fmt"
	"slices"

	"onair/internal/media"
)

// renditions names the video tracks of one publisher: the largest is the stream's own
// picture, whose name is empty; the others are called by their height. Sound belongs to
// the source, all of it.
type renditions struct {
	names map[int]string // by track ID
	lead  int            // the ID of the largest
	video bool
}

// learn names the tracks that are known at the beginning.
func (r *renditions) learn(tracks []*media.Track) {
	var video []*media.Track
	for _, t := range tracks {
		if t.Kind() == media.Video {
			video = append(video, t)
		}
	}
	slices.SortStableFunc(video, func(a, b *media.Track) int { return cmp.Compare(b.Width*b.Height, a.Width*a.Height) })
	for _, t := range video {
		r.name(t)
	}
}

// name returns the rendition of a track; one that comes late is named then.
func (r *renditions) name(t *media.Track) string {
	if t.Kind() != media.Video {
		return ""
	}
	if name, ok := r.names[t.ID]; ok {
		return name
	}
	name := ""
	if r.video {
		name = r.free(t)
	} else {
		r.lead, r.video = t.ID, true
	}
	if r.names == nil {
		r.names = make(map[int]string)
	}
	r.names[t.ID] = name
	return name
}

// free returns a name for t that no other track has.
func (r *renditions) free(t *media.Track) string {
	plain := fmt.Sprintf("%dp", t.Height)
	if t.Height <= 0 {
		plain = "video"
	}
	name := plain
	for n := 2; ; n++ {
		taken := false
		for _, other := range r.names {
			taken = taken || other == name
		}
		if !taken {
			return name
		}
		name = fmt.Sprintf("%s-%d", plain, n)
	}
}
