package images

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/media"
)

// PlaylistName is the file of the playlist of pictures, below /images/{playback id}/, and
// a picture's file is its segment's media sequence number between pictureStem and ".jpg".
const (
	PlaylistName = "pictures.m3u8"
	pictureStem  = "picture-"
)

// PictureSize returns the size in pixels of the pictures that show one segment of a track
// each, and how many bits one of them has, about.
func PictureSize(t *media.Track) (width, height, bits int) {
	width, height = size(t, tileWidth)
	return width, height, width * height * bitsPerPixel
}

// source returns the newest state of the rendition whose segments pictures are listed for:
// the first one with a complete segment that there is a picture of, which the publisher
// sends and has not stopped to send. There is one wherever a playlist lists pictures.
func source(s *pack.Stream) *pack.Snapshot {
	var best *pack.Snapshot
	var newest time.Time
	for _, r := range s.Renditions() {
		if r.Kind() != media.Video || r.Derived() {
			continue
		}
		snap := r.Snapshot()
		k, ok := lastOf(snap.Segments)
		if slack := time.Duration(s.TargetDuration()) * time.Second; ok && (best == nil || k.at.Sub(newest) > slack) {
			best, newest = snap, k.at
		}
	}
	return best
}

// playlist serves the image media playlist: the extension of HLS that Roku's and other
// players read (github.com/image-media-playlist/spec, version 0.4), and the numbers and
// times of the media playlist. One picture shows one segment, the key frame that it begins
// with, or, where it begins with none, the one before that.
func (h *Handler) playlist(a *answer, s *pack.Stream) {
	if err := h.canMake(a.r.Context(), ffmpeg.JPEG); err != nil {
		a.problem(err)
		return
	}
	snap := source(s)
	if snap == nil {
		a.problem(noPicture(s.Name()))
		return
	}
	text := appendPlaylist(nil, s, snap)
	if text == nil {
		a.problem(noPicture(s.Name()))
		return
	}
	a.send(http.StatusOK, "application/vnd.apple.mpegurl", "public, max-age=1", text)
}

// appendPlaylist renders the playlist, and nothing where there is no key frame.
func appendPlaylist(b []byte, s *pack.Stream, snap *pack.Snapshot) []byte {
	list, discontinuities := snap.Segments, int64(snap.DiscontinuitySequence)
	for len(list) > 0 && list[0].KeySize == 0 { // what there is no picture of
		if list[0].Discontinuity {
			discontinuities++
		}
		list = list[1:]
	}
	if len(list) == 0 {
		return nil
	}
	b = fmt.Appendf(b, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n#EXT-X-IMAGES-ONLY\n",
		s.TargetDuration(), list[0].Sequence, discontinuities)
	track := list[0].Init.Track
	for _, seg := range list {
		if seg.KeySize > 0 {
			track = seg.Init.Track
		}
		if seg.Discontinuity {
			b = append(b, "#EXT-X-DISCONTINUITY\n"...)
		}
		b = append(b, "#EXT-X-PROGRAM-DATE-TIME:"...)
		b = seg.Start.UTC().Round(time.Millisecond).AppendFormat(b, "2006-01-02T15:04:05.000Z")
		w, height, _ := PictureSize(track)
		length := seg.Duration.Seconds()
		b = fmt.Appendf(b, "\n#EXT-X-TILES:RESOLUTION=%dx%d,LAYOUT=1x1,DURATION=%.5f\n#EXTINF:%.5f,\n%s%d.jpg\n", w, height, length, length, pictureStem, seg.Sequence)
	}
	if snap.Ended {
		b = append(b, "#EXT-X-ENDLIST\n"...)
	}
	return b
}

// pictureNumber reads the name of a picture's file.
func pictureNumber(name string) (int64, bool) {
	digits, stem := strings.CutPrefix(name, pictureStem)
	digits, ext := strings.CutSuffix(digits, ".jpg")
	if !stem || !ext || len(digits) > 18 {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == digits
}

// picture serves what shows a segment.
func (h *Handler) picture(a *answer, s *pack.Stream, number int64) {
	key, ok := shown(s, number)
	if !ok {
		a.fail(http.StatusNotFound, fault.NotFound, "There is no such picture, or no longer. Ask for "+PlaylistName+".")
		return
	}
	name := pictureStem + strconv.FormatInt(key.seg.Sequence, 10)
	if err := h.canMake(a.r.Context(), ffmpeg.JPEG); err != nil {
		a.problem(err)
		return
	}
	p, err := h.album(s).get(a.r.Context(), name, math.MaxInt64, key.at, func(ctx context.Context) (*picture, error) {
		release, err := h.queue()
		if err != nil {
			return nil, err
		}
		defer release()
		from := cheapest(s, key)
		w, height, _ := PictureSize(key.track)
		data, err := h.make(ctx, from.track, []*media.Packet{from.packet}, ffmpeg.PictureOptions{Format: ffmpeg.JPEG, Width: w, Height: height, Columns: 1})
		return &picture{data: data, at: key.at, name: name}, err
	})
	if err != nil {
		a.problem(err)
		return
	}
	a.picture(p, "image/jpeg", int(time.Hour/time.Second))
}

// shown returns the key frame by which a segment of the source is shown: its own or the
// newest before it.
func shown(s *pack.Stream, number int64) (keyFrame, bool) {
	snap := source(s)
	if snap == nil {
		return keyFrame{}, false
	}
	for ; ; number-- {
		seg := snap.Segment(number)
		if seg == nil {
			return keyFrame{}, false
		}
		if k, ok := keyOf(seg); ok {
			return k, true
		}
	}
}

// cheapest returns the key frame of the same moment that is the quickest to decode: the
// smallest picture that is large enough.
func cheapest(s *pack.Stream, key keyFrame) keyFrame {
	best := key
	for _, r := range s.Renditions() {
		if r.Kind() != media.Video {
			continue
		}
		k, ok := keyOf(r.Snapshot().Segment(key.seg.Sequence))
		if ok && k.at.Sub(key.at).Abs() < sameMoment && k.track.Width >= tileWidth && k.track.Width < best.track.Width {
			best = k
		}
	}
	return best
}
