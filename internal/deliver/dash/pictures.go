package dash

import (
	"net/http"
	"strings"
	"time"

	"onair/internal/deliver/mpd"
	"onair/internal/media"
)

// Pictures knows the pictures of segments, a small one each.
type Pictures interface {
	// Picture returns the size in pixels of one of a track, and how many bits it has, about.
	// ok is false where none can be made now. It waits for nothing.
	Picture(t *media.Track) (width, height, bits int, ok bool)
	// Serve answers a request for one of a playback id.
	Serve(w http.ResponseWriter, r *http.Request, playbackID, file string)
}

// SetPictures has the pictures of streams listed. It is called before the first request.
func (h *Handler) SetPictures(p Pictures) { h.pictures = p }

const (
	// pictureExt ends the names of pictures, and of no media. They are asked for where the
	// manifest is: it is the same for all playback ids of a stream, so it can name none.
	pictureExt   = ".jpg"
	pictureMedia = "pictures/picture-$Number$" + pictureExt
	// picturesID is the id of their representation, which no rendition can have.
	picturesID = "pictures.jpg"
)

// illustrates tells whether a Period that begins now lists pictures. It goes on with what it
// began with: its sets stay.
func (k *known) illustrates(lead *listing) bool {
	if k.pictures == nil || lead.track.Kind() != media.Video {
		return false
	}
	_, _, _, ok := k.pictures.Picture(lead.track)
	return ok
}

// shown returns the segments of those listed that there is a picture of: from the first key
// frame on, and of those to come only one whose key frame is there already.
func (l *listing) shown(list []span) []span {
	last := l.snap.LastSequence()
	if open := l.snap.Open; open != nil && open.KeySize > 0 {
		last = open.Sequence
	}
	for len(list) > 0 {
		if seg := l.snap.Segment(list[0].Number); seg != nil && seg.KeySize > 0 {
			break
		}
		list = list[1:]
	}
	return between(list, 0, last+1)
}

// illustrate gives a Period the pictures of what its leading rendition shows.
func illustrate(p *mpd.Period, lead *listing, spans []span, k *known) {
	if len(spans) == 0 || k.pictures == nil {
		return
	}
	track := lead.track
	if seg := lead.snap.Segment(spans[0].Number); seg != nil && seg.Init != nil {
		track = seg.Init.Track
	}
	width, height, bits, ok := k.pictures.Picture(track)
	if !ok {
		return
	}
	length := time.Second
	for _, s := range spans {
		length = max(length, track.Duration(s.D))
	}
	p.Pictures = &mpd.Pictures{
		ID: picturesID, Media: pictureMedia, Track: track, Spans: spans,
		Width: width, Height: height, Peak: int64(float64(bits) / length.Seconds()),
	}
}

// picture has a picture served, if the path names one.
func (h *Handler) picture(a *answer, t mpd.Target) bool {
	if h.pictures == nil || !strings.HasSuffix(t.File, pictureExt) {
		return false
	}
	h.pictures.Serve(a.w, a.r, t.ID, t.File)
	return true
}
