package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/deliver/replay"
	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/media"
	"onair/internal/record"
)

// Recordings is where recordings are, as for package replay.
type Recordings interface {
	// Snapshot returns an asset as it is now.
	Snapshot(asset string) (*record.Snapshot, bool)
	// Open reads length bytes of an object of an asset from offset.
	Open(ctx context.Context, asset, rendition, name string, offset, length int64) (io.ReadCloser, error)
}

// AssetOf returns the asset that a playback id shows: of a recording's id its own, and of a live
// stream's the one that its broadcast is being recorded as, or was last. Its error says whether
// there is none or whether it may not be seen.
type AssetOf func(ctx context.Context, playbackID string) (asset string, err error)

// Active returns the asset that a live stream is being recorded as whose viewers may go back in
// it, and how far; to its beginning if window is negative. It must be quick.
type Active func(streamID string) (asset string, window time.Duration, ok bool)

// past is what there is beside the live window.
type past struct {
	lib    Recordings
	of     AssetOf
	active Active
}

// SetRecordings has pictures of recordings made, too. active may be nil. Call it before the
// first request.
func (h *Handler) SetRecordings(lib Recordings, of AssetOf, active Active) {
	h.past = past{lib, of, active}
}

// view is a recording, or what viewers of a live stream can go back to of it.
type view struct {
	s *record.Snapshot
	// since is where it begins; zero: at the beginning.
	since time.Time
	// live is set for viewers of a live stream, whose time is the stream's.
	live bool
}

// fromRecording answers with a picture of a recording, where a playback id shows one: s is its
// live stream, and err why it has none. It reports false if it did not answer.
func (h *Handler) fromRecording(a *answer, s *pack.Stream, err error, id, name string) bool {
	var v view
	var ok bool
	switch {
	case err == nil:
		v, ok = h.viewOf(s.Name())
	case a.kind == "thumbnail" && errors.Is(err, errNotLive) && strings.HasPrefix(name, "thumbnail") && a.r.URL.Query().Get("time") == "":
		// What is asked for is how the stream looks now.
	case h.past.of != nil:
		asset, why := h.past.of(a.r.Context(), id)
		if why != nil && !fault.Is(why, fault.NotFound) {
			a.problem(why)
			return true
		}
		if ok = why == nil; ok {
			v.s, ok = h.past.lib.Snapshot(asset)
		}
	}
	if ok {
		h.recorded(a, v, name)
	}
	return ok
}

// viewOf finds what is recorded of a live stream that its viewers can go back to.
func (h *Handler) viewOf(streamID string) (v view, ok bool) {
	if h.past.active == nil {
		return v, false
	}
	asset, window, ok := h.past.active(streamID)
	if !ok {
		return v, false
	}
	s, ok := h.past.lib.Snapshot(asset)
	if !ok || smallest(s) == nil {
		return v, false
	}
	v = view{s: s, live: true}
	if window >= 0 {
		v.since = s.Ended.Add(-window)
	}
	return v, true
}

// recorded answers with a picture of a recording.
func (h *Handler) recorded(a *answer, v view, name string) {
	if smallest(v.s) == nil {
		a.problem(noPicture(v.s.ID))
		return
	}
	base, ext, _ := strings.Cut(name, ".")
	format := formats[ext]
	if a.kind == "storyboard" {
		format = ffmpeg.JPEG
	}
	if err := h.canMake(a.r.Context(), format); err != nil {
		a.problem(err)
		return
	}
	switch {
	case ext == "vtt":
		h.recordedIndex(a, v)
	case base == "storyboard":
		h.recordedFirst(a, v)
	case a.kind == "storyboard":
		h.recordedSheet(a, v, base)
	default:
		h.recordedThumbnail(a, v, base, format)
	}
}

// recordedThumbnail serves the picture of a moment, or the poster.
func (h *Handler) recordedThumbnail(a *answer, v view, base string, format ffmpeg.PictureFormat) {
	query := a.r.URL.Query()
	width, ok := parseWidth(query.Get("width"))
	if !ok {
		a.fail(http.StatusBadRequest, fault.Invalid, badWidth)
		return
	}
	seconds := int(time.Hour / time.Second)
	var when time.Time
	text := query.Get("time")
	if base == "thumbnail" && text != "" {
		m, err := replay.ParseMoment(text)
		if err != nil {
			a.problem(err)
			return
		}
		if when = m.In(v.s); when.Before(v.since) {
			when = v.since
		}
	} else {
		p, err := h.poster(a.r.Context(), v.s)
		if err != nil {
			a.problem(err)
			return
		}
		when = p.at
	}
	if v.s.State == record.Recording {
		seconds = 10 // another key frame may come that is nearer
	}
	r, seg := moment(v.s, when, width)
	if seg == nil {
		a.problem(noPicture(v.s.ID))
		return
	}
	p, err := h.thumb(a.r.Context(), v.s, r, seg, width, format)
	if err != nil {
		a.problem(err)
		return
	}
	a.picture(p, "image/"+string(format), seconds)
}

// thumb makes the picture of one segment.
func (h *Handler) thumb(ctx context.Context, s *record.Snapshot, r *record.Rendition, seg *record.Segment, width int, format ffmpeg.PictureFormat) (*picture, error) {
	w, height := size(trackOf(r, seg), width)
	name := fmt.Sprintf("%s-%s-%d-%d.%s", s.ID, r.Name, seg.Sequence, w, format)
	return h.shelf.get(ctx, name, func(ctx context.Context) (*picture, error) {
		data, err := h.draw(ctx, s, r, []cell{{seg: seg}}, ffmpeg.PictureOptions{Format: format, Width: w, Height: height, Columns: 1})
		return &picture{data: data, at: seg.Start, name: name}, err
	})
}

// posterParts are where a poster is looked for, in parts of the recording: a broadcast often
// begins with a black or empty picture.
var posterParts = []float64{0.1, 0.25, 0.5, 0.75}

// poster returns a picture that is not black, from after the beginning.
func (h *Handler) poster(ctx context.Context, s *record.Snapshot) (*picture, error) {
	length := s.Ended.Sub(s.Began)
	if s.State == record.Recording { // so that it is not another one each second
		rounded := time.Second
		for rounded*2 <= length {
			rounded *= 2
		}
		length = rounded
	}
	name := fmt.Sprintf("%s-poster-%d", s.ID, length/time.Second)
	return h.shelf.get(ctx, name, func(ctx context.Context) (first *picture, err error) {
		for _, part := range posterParts {
			r, seg := moment(s, s.Began.Add(time.Duration(part*float64(length))), tileWidth)
			if seg == nil {
				return nil, noPicture(s.ID)
			}
			w, height := size(trackOf(r, seg), tileWidth)
			data, err := h.draw(ctx, s, r, []cell{{seg: seg}}, ffmpeg.PictureOptions{Format: ffmpeg.JPEG, Width: w, Height: height, Columns: 1})
			if err != nil {
				return nil, err
			}
			p := &picture{at: seg.Start, name: name}
			if !black(data) {
				return p, nil
			}
			if first == nil {
				first = p
			}
		}
		return first, nil
	})
}

// black reports whether next to nothing can be seen in a JPEG.
func black(data []byte) bool {
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return false
	}
	y, ok := m.(*image.YCbCr)
	if !ok {
		return false
	}
	const dark, share = 40, 50 // of 255; one in so many may be brighter
	bright := 0
	for _, v := range y.Y {
		if v > dark {
			bright++
		}
	}
	return bright*share < len(y.Y)
}

// recordedIndex serves the WebVTT of a storyboard.
func (h *Handler) recordedIndex(a *answer, v view) {
	b, ok := boardOf(v.s, v.since)
	if !ok {
		a.problem(noPicture(v.s.ID))
		return
	}
	seconds := 60
	if v.s.State == record.Recording {
		seconds = 1
	}
	a.send(http.StatusOK, "text/vtt; charset=utf-8", "public, max-age="+strconv.Itoa(seconds), b.index(v))
}

// index writes the WebVTT. Its times are those of players: of a recording from its beginning on,
// of a live stream the stream's, whose origin it tells.
func (b *board) index(v view) []byte {
	out := []byte("WEBVTT\n")
	if v.live {
		out = fmt.Appendf(out, "X-MEDIA-ORIGIN=%s\n", v.s.Origin.UTC().Round(time.Millisecond).Format("2006-01-02T15:04:05.000Z"))
	}
	from := func(c cell) time.Duration {
		if v.live {
			return c.seg.Start.Sub(v.s.Origin)
		}
		return c.begin
	}
	last := b.r.Segments.Last()
	end := last.Start.Add(last.Duration).Sub(v.s.Origin)
	if !v.live {
		end = 0
		for i := range b.r.Segments.Len() {
			end += b.r.Segments.Unnamed(i).Duration
		}
	}
	sheets := b.sheets()
	for n, sheet := range sheets {
		newest := n+1 == len(sheets)
		shown := sheet[:steady(len(sheet), newest && v.s.State == record.Recording)]
		w, height := size(trackOf(b.r, shown[0].seg), tileWidth)
		wide, name := min(columns, len(shown)), sheetName(b.step, shown)
		for i, c := range shown {
			to := end
			switch {
			case i+1 < len(shown):
				to = from(shown[i+1])
			case !newest:
				to = from(sheets[n+1][0])
			}
			if end := c.seg.Start.Add(to - from(c)); !v.since.IsZero() && !end.After(v.since) {
				continue // viewers cannot go back to it
			}
			out = fmt.Appendf(out, "\n%s --> %s\n%s.jpg#xywh=%d,%d,%d,%d\n", stamp(from(c)), stamp(to), name, i%wide*w, i/wide*height, w, height)
		}
	}
	return out
}

// recordedFirst serves the first sheet, for who asks for the storyboard without its index.
func (h *Handler) recordedFirst(a *answer, v view) {
	b, ok := boardOf(v.s, v.since)
	if !ok {
		a.problem(noPicture(v.s.ID))
		return
	}
	sheets := b.sheets()
	cells := sheets[0]
	h.sendSheet(a, v.s, b, cells[:steady(len(cells), len(sheets) == 1 && v.s.State == record.Recording)], 1)
}

// recordedSheet serves the sheet of a name.
func (h *Handler) recordedSheet(a *answer, v view, name string) {
	b, cells, ok := sheetOf(v.s, name)
	if !ok {
		a.fail(http.StatusNotFound, fault.NotFound, "There is no such sheet. Ask for storyboard.vtt.")
		return
	}
	h.sendSheet(a, v.s, b, cells, int(time.Hour/time.Second))
}

func (h *Handler) sendSheet(a *answer, s *record.Snapshot, b board, cells []cell, seconds int) {
	name := s.ID + "-" + sheetName(b.step, cells)
	p, err := h.shelf.get(a.r.Context(), name, func(ctx context.Context) (*picture, error) {
		w, height := size(trackOf(b.r, cells[0].seg), tileWidth)
		data, err := h.draw(ctx, s, b.r, cells, ffmpeg.PictureOptions{Format: ffmpeg.JPEG, Width: w, Height: height, Columns: columns})
		return &picture{data: data, at: cells[0].seg.Start, name: name}, err
	})
	if err != nil {
		a.problem(err)
		return
	}
	a.picture(p, "image/jpeg", seconds)
}

// draw reads the key frames of segments of one track and has a picture made of them, when there
// is a place for it.
func (h *Handler) draw(ctx context.Context, s *record.Snapshot, r *record.Rendition, cells []cell, o ffmpeg.PictureOptions) ([]byte, error) {
	leave, err := h.place(h.draws)
	if err != nil {
		return nil, err
	}
	defer leave()
	units, err := h.read(ctx, s, r, cells)
	if err != nil {
		return nil, err
	}
	return h.decode(ctx, units[0].Track, units, o)
}

// read reads key frames. One that cannot be read is shown by the one beside it, so that the
// others stay in their places.
func (h *Handler) read(ctx context.Context, s *record.Snapshot, r *record.Rendition, cells []cell) ([]*media.Packet, error) {
	var total int64
	for _, c := range cells {
		total += c.seg.KeySize
	}
	if total > maxKeyBytes {
		return nil, fault.New(fault.TooLarge, op, s.ID, "its key frames are too large", "")
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	units, errs := make([]*media.Packet, len(cells)), make([]error, len(cells))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(readers, len(cells)) {
		wg.Go(func() {
			for i := range next {
				units[i], errs[i] = h.readKey(ctx, s, r, cells[i].seg)
			}
		})
	}
	for i := range cells {
		next <- i
	}
	close(next)
	wg.Wait()
	var whole *media.Packet
	for i, u := range units {
		if u == nil {
			h.log.Warn("key frame of a recording not read", "asset", s.ID, "rendition", r.Name, "segment", cells[i].seg.Name, "error", errs[i])
			units[i] = whole
			continue
		}
		if whole == nil {
			for j := range i {
				units[j] = u
			}
		}
		whole = u
	}
	if whole == nil {
		return nil, errs[0]
	}
	return units, nil
}

// readKey reads the key frame that a segment begins with.
func (h *Handler) readKey(ctx context.Context, s *record.Snapshot, r *record.Rendition, seg *record.Segment) (*media.Packet, error) {
	asset := s.ID
	if seg.Asset != "" {
		asset = seg.Asset
	}
	f, err := h.past.lib.Open(ctx, asset, r.Name, seg.Name, 0, seg.KeySize)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, seg.KeySize)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, seg.Name, err, "")
	}
	key, ok := firstSample(data)
	if !ok {
		return nil, fault.New(fault.Invalid, op, seg.Name, "it does not begin with a key frame", "")
	}
	return &media.Packet{Track: trackOf(r, seg), Key: true, Data: key}, nil
}
