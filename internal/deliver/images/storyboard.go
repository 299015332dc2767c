package images

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/media"
)

// storyboard serves a sheet or its index.
func (h *Handler) storyboard(a *answer, s *pack.Stream, name string) {
	base, ext, _ := strings.Cut(name, ".")
	album := h.album(s)
	if base != "storyboard" {
		p := album.sheet(base)
		if p == nil {
			a.fail(http.StatusNotFound, fault.NotFound, "There is no such storyboard, or no longer. Ask for storyboard.vtt.")
			return
		}
		a.picture(p, "image/jpeg", int(time.Hour/time.Second))
		return
	}
	keys := frames(s)
	if len(keys) == 0 {
		a.problem(noPicture(s.Name()))
		return
	}
	newest := keys[len(keys)-1].at
	if err := h.canMake(a.r.Context(), ffmpeg.JPEG); err != nil {
		a.problem(err)
		return
	}
	p, err := album.get(a.r.Context(), "storyboard", sheetAge, newest, func(ctx context.Context) (*picture, error) {
		return h.sheet(ctx, s, keys)
	})
	switch {
	case err != nil:
		a.problem(err)
	case ext == "vtt":
		a.index(p)
	default:
		a.picture(p, "image/jpeg", 1)
	}
}

// frames lists what is on a sheet: the key frames that the segments of the window begin
// with, under the parameters of the newest. If there are too many, those whose number is a
// multiple of the same, so that sheets agree.
func frames(s *pack.Stream) (list []keyFrame) {
	for _, r := range s.Renditions() {
		if r.Kind() != media.Video {
			continue
		}
		var keys []keyFrame
		for _, seg := range r.Snapshot().Segments {
			if k, ok := keyOf(seg); ok {
				keys = append(keys, k)
			}
		}
		for len(keys) > 0 && keys[0].seg.Init != keys[len(keys)-1].seg.Init {
			keys = keys[1:]
		}
		// The smallest picture of which there is as much as of the others.
		if len(keys) > len(list) || len(keys) == len(list) && len(keys) > 0 && keys[0].track.Width < list[0].track.Width && keys[0].track.Width >= tileWidth {
			list = keys
		}
	}
	if len(list) <= maxTiles {
		return list
	}
	step := int64((len(list) + maxTiles - 1) / maxTiles)
	var thin []keyFrame
	for _, k := range list {
		if k.seg.Sequence%step == 0 && len(thin) < maxTiles {
			thin = append(thin, k)
		}
	}
	return thin
}

// sheet makes a storyboard.
func (h *Handler) sheet(ctx context.Context, s *pack.Stream, keys []keyFrame) (*picture, error) {
	units := make([]*media.Packet, len(keys))
	for i := range keys {
		units[i] = keys[i].packet
	}
	w, height := size(keys[0].track, tileWidth)
	data, err := h.make(ctx, keys[0].track, units, ffmpeg.PictureOptions{Format: ffmpeg.JPEG, Width: w, Height: height, Columns: columns})
	if err != nil {
		return nil, err
	}
	last := keys[len(keys)-1].seg
	p := &picture{data: data, at: time.Now(), name: "storyboard-" + strconv.FormatInt(last.Sequence, 10)}
	p.vtt = index(keys, s.AvailabilityStart(), p.name+".jpg", w, height)
	return p, nil
}

// index writes the WebVTT.
func index(keys []keyFrame, origin time.Time, sheet string, w, h int) []byte {
	b := fmt.Appendf(nil, "WEBVTT\nX-MEDIA-ORIGIN=%s\n", origin.UTC().Round(time.Millisecond).Format("2006-01-02T15:04:05.000Z"))
	wide := min(columns, len(keys))
	for i, k := range keys {
		from := k.at.Sub(origin)
		to := from + k.seg.Duration
		if i+1 < len(keys) {
			to = keys[i+1].at.Sub(origin)
		}
		b = fmt.Appendf(b, "\n%s --> %s\n%s#xywh=%d,%d,%d,%d\n", stamp(from), stamp(to), sheet, i%wide*w, i/wide*h, w, h)
	}
	return b
}

// stamp writes a WebVTT timestamp.
func stamp(d time.Duration) string {
	ms := max(d, 0).Round(time.Millisecond).Milliseconds()
	return fmt.Sprintf("%02d:%02d:%02d.%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, ms%1000)
}
