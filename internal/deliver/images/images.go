// Package images serves pictures of streams: a thumbnail of the last seconds; a
// storyboard, which is one sheet of small pictures of what viewers can go back to and an
// index of it for a scrub bar; and the same pictures one by one, for players that look for
// them in playlists and manifests. And of recordings, while they are made and after: the picture
// of any moment, a poster, and a storyboard of all of it.
//
//	/images/{playback id}/thumbnail.jpg?width=320    (.webp, .avif)
//	/images/{playback id}/storyboard.vtt             the index, WebVTT with #xywh
//	/images/{playback id}/storyboard.jpg             the newest sheet; the index names its own
//	/images/{playback id}/pictures.m3u8              HLS: a picture of each segment
//	/images/{playback id}/picture-{number}.jpg       one, by its media sequence number
//
// and of the playback ids of assets, and of streams whose viewers can go back:
//
//	/images/{playback id}/thumbnail.jpg?time=1:30    the key frame nearest to a moment; see replay.ParseMoment
//	/images/{playback id}/poster.jpg?width=320       one from after the beginning that is not black
//	/images/{playback id}/storyboard.vtt             over several sheets, which it names
//
// A picture is made when somebody asks for it, of a key frame that pack has, and kept until
// it is too old; nothing is made for nobody. Who asks while it is being made gets the same
// one. Few are made at once, and few may wait.
//
// The times of a storyboard's cues are media time, as in the segments and in DASH. What
// media time 0 is on the wall clock stands in the header of the index
// (X-MEDIA-ORIGIN), so that an HLS player finds the cue of a moment by its
// EXT-X-PROGRAM-DATE-TIME. Those of a recording's are seconds from its beginning, as its
// players count.
package images

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/pack"
	"onair/internal/deliver/reply"
	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/media"
)

// Directory knows which live stream a playback id plays.
type Directory interface {
	// StreamOf returns the live stream's id. It is called for each request and must be
	// quick. Its error says whether there is no such id or whether it may not be played.
	StreamOf(ctx context.Context, playbackID string) (streamID string, err error)
}

// Tool decodes key frames and codes pictures, as a *ffmpeg.Tool does.
type Tool interface {
	Picture(ctx context.Context, track *media.Track, units []*media.Packet, o ffmpeg.PictureOptions) ([]byte, error)
	// Formats lists what can be made. Its error is ctx's, if it has to wait for longer.
	Formats(ctx context.Context) ([]ffmpeg.PictureFormat, error)
}

// Handler serves everything below /images/.
type Handler struct {
	cfg    Config
	packer *pack.Packer
	dir    Directory
	tool   Tool
	log    *slog.Logger
	m      *metrics

	past  past // its functions are nil where there are no recordings
	shelf *shelf

	jobs    chan struct{} // places of pictures being made
	draws   chan struct{} // and of recordings, whose storage may be slow
	waiting atomic.Int64
}

// NewHandler returns a Handler. tool is nil (not a nil *ffmpeg.Tool) where there is no
// ffmpeg. Its metrics are registered with reg (nil for none).
func NewHandler(cfg Config, p *pack.Packer, dir Directory, tool Tool, log *slog.Logger, reg prometheus.Registerer) *Handler {
	h := &Handler{
		cfg: cfg, packer: p, dir: dir, tool: tool, log: log, m: newMetrics(reg),
		jobs: make(chan struct{}, cfg.Jobs), draws: make(chan struct{}, cfg.Jobs),
	}
	h.shelf = newShelf(h)
	return h
}

const prefix = "/images/"

// formats are those of a thumbnail, by the extension of its name.
var formats = map[string]ffmpeg.PictureFormat{"jpg": ffmpeg.JPEG, "webp": ffmpeg.WebP, "avif": ffmpeg.AVIF}

// widths are the widths that are made, in pixels; what is asked for is rounded up. They
// bound how many pictures there can be of one moment.
var widths = []int{160, 320, 480, 640, 960, 1280}

const (
	defaultWidth = 640
	badWidth     = "width must be a number of pixels, 1 to 16384."
)

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{h: h, w: w, r: r, kind: "other"}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.find(a)
	case http.MethodOptions:
		a.preflight()
	default:
		a.fail(http.StatusMethodNotAllowed, fault.Invalid, "Only GET, HEAD and OPTIONS are possible here.")
	}
}

// find answers by what the path names.
func (h *Handler) find(a *answer) {
	rest, ok := strings.CutPrefix(a.r.URL.Path, prefix)
	id, name, whole := strings.Cut(rest, "/")
	if !ok || !whole || !reply.WellFormed(id) {
		a.nothing()
		return
	}
	h.file(a, id, name)
}

// Serve answers a request that reached another handler: for a file below
// /images/{playback id}/.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, playbackID, file string) {
	h.file(&answer{h: h, w: w, r: r, kind: "other"}, playbackID, file)
}

// file answers with a file of a playback id.
func (h *Handler) file(a *answer, id, name string) {
	base, ext, _ := strings.Cut(name, ".")
	format, isPicture := formats[ext]
	number, isSegment := pictureNumber(name)
	switch {
	case name == PlaylistName:
		a.kind = "playlist"
	case isSegment:
		a.kind = "picture"
	case (base == "thumbnail" || base == "poster") && isPicture:
		a.kind = "thumbnail"
	case strings.HasPrefix(base, "storyboard") && (ext == "jpg" || name == "storyboard.vtt"):
		a.kind = "storyboard"
	default:
		a.nothing()
		return
	}
	dated := base == "thumbnail" && a.r.URL.Query().Get("time") != ""
	s, err := h.stream(a.r.Context(), id)
	if base == "poster" || dated || a.kind == "storyboard" || a.kind == "thumbnail" && err != nil {
		if h.fromRecording(a, s, err, id, name) {
			return
		}
		if dated && err == nil {
			err = fault.New(fault.NotFound, op, id, "viewers cannot go back in this stream", "Ask for thumbnail.jpg, or set its dvr.")
		}
	}
	if err != nil {
		a.problem(err)
		return
	}
	switch a.kind {
	case "playlist":
		h.playlist(a, s)
	case "picture":
		h.picture(a, s, number)
	case "thumbnail":
		h.thumbnail(a, s, format)
	default:
		h.storyboard(a, s, name)
	}
}

// stream finds the broadcast of a playback id.
func (h *Handler) stream(ctx context.Context, id string) (*pack.Stream, error) {
	name, err := h.dir.StreamOf(ctx, id)
	if err != nil {
		return nil, err
	}
	s, ok := h.packer.Stream(name)
	if !ok {
		return nil, fault.Wrap(fault.NotFound, "show", id, errNotLive, "Ask again when it is.")
	}
	return s, nil
}

var errNotLive = errors.New("the stream is not live at the moment")

// parseWidth reads what a query asks for.
func parseWidth(value string) (int, bool) {
	if value == "" {
		return defaultWidth, true
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 1<<14 {
		return 0, false
	}
	i, _ := slices.BinarySearch(widths, n)
	return widths[min(i, len(widths)-1)], true
}

// thumbnail serves a picture of the last seconds.
func (h *Handler) thumbnail(a *answer, s *pack.Stream, format ffmpeg.PictureFormat) {
	width, ok := parseWidth(a.r.URL.Query().Get("width"))
	if !ok {
		a.fail(http.StatusBadRequest, fault.Invalid, badWidth)
		return
	}
	key, ok := newest(s, width)
	if !ok {
		a.problem(noPicture(s.Name()))
		return
	}
	if err := h.canMake(a.r.Context(), format); err != nil {
		a.problem(err)
		return
	}
	p, err := h.album(s).get(a.r.Context(), string(format)+strconv.Itoa(width), h.cfg.MaxAge/2, key.at, func(ctx context.Context) (*picture, error) {
		w, hgt := size(key.track, width)
		data, err := h.make(ctx, key.track, []*media.Packet{key.packet}, ffmpeg.PictureOptions{Format: format, Width: w, Height: hgt, Columns: 1})
		return &picture{data: data, at: key.at, name: key.name + "-" + strconv.Itoa(w)}, err
	})
	if err != nil {
		a.problem(err)
		return
	}
	left := max(0, h.cfg.MaxAge-time.Since(p.at))
	a.picture(p, "image/"+string(format), int(left/time.Second))
}

func noPicture(name string) error {
	return fault.New(fault.NotFound, "make a picture of", name, "there is no key frame to make it of", "A stream of sound has none; one that is just beginning will have one in a moment.")
}

const op = "make a picture"

// canMake tells why no pictures of a format can be made.
func (h *Handler) canMake(ctx context.Context, format ffmpeg.PictureFormat) error {
	if h.tool == nil {
		return fault.New(fault.Unavailable, op, "", "there is no ffmpeg on the server", "Install ffmpeg, or name it with --transcode-ffmpeg.")
	}
	formats, err := h.tool.Formats(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(formats, format) {
		return fault.New(fault.Unsupported, op, string(format), "the ffmpeg on the server does not make this format", "Ask for thumbnail.jpg.")
	}
	return nil
}

// make has a picture made that canMake was asked about, when there is a place for it.
func (h *Handler) make(ctx context.Context, track *media.Track, units []*media.Packet, o ffmpeg.PictureOptions) ([]byte, error) {
	leave, err := h.place(h.jobs)
	if err != nil {
		return nil, err
	}
	defer leave()
	return h.decode(ctx, track, units, o)
}

// place waits for one of some places, which leave gives back.
func (h *Handler) place(places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
	default:
		wait := time.NewTimer(h.cfg.Wait)
		defer wait.Stop()
		select {
		case places <- struct{}{}:
		case <-wait.C:
			h.m.rejected.WithLabelValues("jobs").Inc()
			return nil, fault.New(fault.Unavailable, op, "", "too many are being made", "Ask again in a second.")
		}
	}
	return func() { <-places }, nil
}

// decode has a picture made.
func (h *Handler) decode(ctx context.Context, track *media.Track, units []*media.Packet, o ffmpeg.PictureOptions) ([]byte, error) {
	begin := time.Now()
	data, err := h.tool.Picture(ctx, track, units, o)
	h.m.seconds.Observe(time.Since(begin).Seconds())
	if err != nil {
		h.log.Warn("a picture was not made", "error", err)
	}
	return data, err
}
