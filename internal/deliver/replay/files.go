package replay

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/reply"
	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mp4file"
	"onair/internal/record"
)

// FileLibrary is where recordings are, with what files are made of: a record.Library.
type FileLibrary interface {
	Library
	// Tables reads the sample tables of the segments of some renditions, of each in order and
	// without gaps.
	Tables(ctx context.Context, asset string, renditions ...string) ([][]record.Table, error)
}

// Admit says whether a request may download an asset, and what the asset's title is, of which
// the file's name is made; it may be empty.
type Admit func(r *http.Request, asset string) (title string, err error)

// The files of an asset, below /v1/assets/{id}/.
const (
	filePrefix = "/v1/assets/"
	pictureExt = ".mp4"
	soundExt   = ".m4a"
	fileName   = "download"
)

// Files serves /v1/assets/{id}/download.mp4, one rendition of an asset with all its sound, and
// download.m4a, sound only; ?rendition= names the rendition. The file is computed of the index
// while it is sent: its size is known at once, and any range can be had.
type Files struct {
	cfg   Config
	lib   FileLibrary
	admit Admit
	log   *slog.Logger
	m     *metrics
	cache *cache
	turns *turns // of files that are being computed
}

// NewFiles returns a Files. Its metrics are registered with reg (nil for none).
func NewFiles(cfg Config, lib FileLibrary, admit Admit, log *slog.Logger, reg prometheus.Registerer) *Files {
	m := newMetrics("download", reg)
	return &Files{
		cfg: cfg, lib: lib, admit: admit, log: log, m: m,
		cache: newCache(cfg.CacheBytes, m.cache, m.evicted), turns: newTurns(maxBuilds, m.refused),
	}
}

// IsFile reports whether a path is one that Files serves.
func IsFile(path string) bool {
	_, _, ok := parseFile(path)
	return ok
}

func parseFile(path string) (asset, ext string, ok bool) {
	rest, ok := strings.CutPrefix(path, filePrefix)
	if !ok {
		return "", "", false
	}
	asset, file, ok := strings.Cut(rest, "/")
	ext, named := strings.CutPrefix(file, fileName)
	return asset, ext, ok && named && reply.WellFormed(asset) && (ext == pictureExt || ext == soundExt)
}

// ServeHTTP implements http.Handler.
func (f *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{w: w, r: r, timeout: f.cfg.WriteTimeout, m: f.m}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		f.serve(a)
	case http.MethodOptions:
		a.preflight()
	default:
		a.problem(http.StatusMethodNotAllowed, fault.Invalid, "Only GET, HEAD and OPTIONS are possible here.")
	}
}

func (f *Files) serve(a *answer) {
	asset, ext, ok := parseFile(a.r.URL.Path)
	if !ok {
		a.problem(http.StatusNotFound, fault.NotFound, "There is nothing under this address. A recording's file is at /v1/assets/{id}/download.mp4.")
		return
	}
	title, err := f.admit(a.r, asset)
	if err != nil {
		f.refuse(a, asset, err)
		return
	}
	s, ok := f.lib.Snapshot(asset)
	if !ok {
		a.problem(http.StatusNotFound, fault.NotFound, "There is no such recording, or no longer.")
		return
	}
	if !ended(s) {
		a.problem(http.StatusConflict, fault.Conflict, "The asset is still being recorded, so that its file would have no end. Ask again when its status is ready; its playlist can be played now.")
		return
	}
	chosen, err := choose(s, ext, a.r.URL.Query().Get("rendition"))
	if err != nil {
		f.refuse(a, asset, err)
		return
	}
	file, err := f.file(a.r.Context(), s, chosen)
	if err != nil {
		f.refuse(a, asset, err)
		return
	}
	f.send(a, s, file, ext, title)
}

// refuse answers with an error; what does not reach the client is logged.
func (f *Files) refuse(a *answer, asset string, err error) {
	if fault.KindOf(err) == fault.Internal && a.r.Context().Err() == nil {
		f.log.Error("file of a recording not made", "asset", asset, "error", err)
	}
	a.refuse(err)
}

// choose returns the renditions that a file has: the pictures first.
func choose(s *record.Snapshot, ext, name string) ([]*record.Rendition, error) {
	refuse := func(kind fault.Kind, subject, cause, hint string) ([]*record.Rendition, error) {
		return nil, fault.New(kind, "download", subject, cause, hint)
	}
	var sound []*record.Rendition
	for _, r := range s.Renditions {
		if r.Kind == media.Audio && r.Segments.Len() > 0 {
			sound = append(sound, r)
		}
	}
	picture := mainVideo(s)
	if name != "" {
		r, ok := s.Rendition(name)
		switch {
		case !ok || r.Segments.Len() == 0:
			return refuse(fault.NotFound, s.ID, "the asset has no such rendition", "Its tracks are listed at /v1/assets/"+s.ID)
		case ext == pictureExt && r.Kind == media.Audio:
			return refuse(fault.Invalid, name, "the rendition is sound", "Ask for "+fileName+soundExt)
		case ext == soundExt && r.Kind == media.Video:
			return refuse(fault.Invalid, name, "the rendition is a picture", "Ask for "+fileName+pictureExt)
		case r.Kind == media.Audio:
			sound = []*record.Rendition{r}
		default:
			picture = r
		}
	}
	switch {
	case ext == soundExt && len(sound) == 0:
		return refuse(fault.NotFound, s.ID, "the asset has no sound", "")
	case ext == soundExt:
		return sound[:1], nil
	case picture == nil && len(sound) > 0:
		return refuse(fault.NotFound, s.ID, "the asset has no pictures", "Ask for "+fileName+soundExt)
	case picture == nil:
		return refuse(fault.NotFound, s.ID, "there is nothing in the recording", "")
	}
	return append([]*record.Rendition{picture}, sound...), nil
}

// built is a file and its entity tag.
type built struct {
	*mp4file.File
	tag string
}

// file returns the file of some renditions.
func (f *Files) file(ctx context.Context, s *record.Snapshot, chosen []*record.Rendition) (built, error) {
	names := make([]string, len(chosen))
	for i, r := range chosen {
		names[i] = r.Name
	}
	name := strings.Join(names, "/")
	v, err := f.cache.get(key{s.ID, name, "file"}, stampOf(s), f.turns.in(func() (any, int64, error) {
		// Others may wait for it, whoever leaves.
		ctx := context.WithoutCancel(ctx)
		file, cost, err := builder{f.lib}.build(ctx, s, chosen)
		if err != nil {
			return built{}, 0, err
		}
		h := fnv.New64a()
		_, _ = io.WriteString(h, s.ID+"/"+name+"/"+strconv.FormatInt(s.Bytes, 10)+"/"+strconv.FormatInt(file.Size(), 10)) // never fails
		return built{file, `"` + strconv.FormatUint(h.Sum64(), 36) + `"`}, cost, nil
	}))
	if err != nil {
		return built{}, err
	}
	return v.(built), nil
}

func (f *Files) send(a *answer, s *record.Snapshot, file built, ext, title string) {
	head := a.w.Header()
	head["Etag"] = []string{file.tag}
	if has(a.r.Header.Get("If-None-Match"), file.tag) {
		a.send(kindFile, http.StatusNotModified, nil, cachePrivate, 0)
		return
	}
	spec := a.r.Header.Get("Range")
	if v := a.r.Header.Get("If-Range"); v != "" && v != file.tag {
		spec = "" // what the client has a part of is another file
	}
	status, start, length, ok := a.part(spec, file.Size())
	if !ok {
		return
	}
	head["Content-Disposition"] = []string{disposition(title, s.ID, ext)}
	mime := typeVideo
	if ext == soundExt {
		mime = typeAudio
	}
	if !a.send(kindFile, status, mime, cachePrivate, length) {
		return
	}
	out := &paced{w: a.w, timeout: f.cfg.WriteTimeout}
	err := file.CopyRange(a.r.Context(), out, start, length)
	if err != nil && out.err == nil && a.r.Context().Err() == nil {
		f.m.failures.Inc()
		f.log.Warn("file of a recording not sent to its end", "asset", s.ID, "error", err)
		// What was promised cannot be sent. net/http closes the connection, by which the
		// client sees that it has not all.
	}
}

// cachePrivate is for files: who may have one is asked each time.
var cachePrivate = []string{"private, no-cache"}

// paced gives each write its time, so that a file may take as long as it is large, and a
// client that takes nothing loses its connection.
type paced struct {
	w       http.ResponseWriter
	timeout time.Duration
	err     error // of the first write that failed
}

func (p *paced) Write(b []byte) (int, error) {
	limit := p.timeout + time.Duration(len(b))*time.Second/slowestRate
	err := http.NewResponseController(p.w).SetWriteDeadline(time.Now().Add(limit))
	if err != nil && !errors.Is(err, http.ErrNotSupported) { // in tests there is none
		p.err = err
		return 0, err
	}
	n, err := p.w.Write(b)
	if err != nil {
		p.err = err
	}
	return n, err
}

// disposition is the Content-Disposition (RFC 6266) of a file: named by the asset's title, or
// its id.
func disposition(title, id, ext string) string {
	const longest = 100 // characters
	name := []rune(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || strings.ContainsRune(`/\:*?"<>|`, c) || c == unicode.ReplacementChar {
			return '-'
		}
		return c
	}, title))
	base := strings.Trim(string(name[:min(len(name), longest)]), " .-")
	if base == "" {
		base = id
	}
	if v := mime.FormatMediaType("attachment", map[string]string{"filename": base + ext}); v != "" {
		return v
	}
	return `attachment; filename="` + id + ext + `"`
}
