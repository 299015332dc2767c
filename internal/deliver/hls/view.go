package hls

import (
	"bytes"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"

	"onair/internal/deliver/m3u8"
	"onair/internal/deliver/pack"
)

// body is a response's bytes, in one piece or in several, with its length as a header value.
type body struct {
	bytes  []byte
	pieces [][]byte // nil: bytes is all
	length []string
}

func newBody(b []byte) *body {
	return &body{bytes: b, length: []string{strconv.Itoa(len(b))}}
}

// view holds the playlists rendered of one snapshot: full, delta and of its key frames, plain
// and gzip. Each is made when the first viewer asks for it, and shared by all.
type view struct {
	mu    sync.Mutex
	forms [8]atomic.Pointer[body]
	// past is what the playlist lists before the snapshot; it is asked for once.
	past  *m3u8.Past
	asked bool
}

func newView(*pack.Snapshot) any { return new(view) }

const (
	formDelta = 1 << iota
	formGzip
	formFrames // instead of formDelta
)

// playlist returns a form of the playlist of a snapshot.
func (h *Handler) playlist(s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, form int, zip bool) *body {
	v := snap.View(newView).(*view)
	if zip {
		form |= formGzip
	}
	if b := v.forms[form].Load(); b != nil {
		return b
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.asked {
		v.asked, v.past = true, h.pastOf(s, r, snap)
	}
	return v.form(s, r, snap, form)
}

// form returns a form, which it makes if there is none. v.mu is held.
func (v *view) form(s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, form int) *body {
	if b := v.forms[form].Load(); b != nil {
		return b
	}
	b := v.render(s, r, snap, form)
	v.forms[form].Store(b)
	return b
}

// render makes a form. A delta update that would skip nothing is the full playlist.
func (v *view) render(s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, form int) *body {
	if form&formDelta != 0 && !skips(s, r, snap, v.past) {
		return v.form(s, r, snap, form&^formDelta)
	}
	switch {
	case v.past != nil && form&^formGzip == 0:
		return v.withPast(s, r, snap, form == formGzip)
	case form&formGzip != 0:
		return newBody(compress(v.form(s, r, snap, form&^formGzip).bytes))
	case form == formFrames:
		return newBody(appendFrames(make([]byte, 0, 2048), s, snap))
	default:
		text, _ := appendPlaylist(make([]byte, 0, 4096), s, r, snap, v.past, form == formDelta)
		return newBody(text)
	}
}

// compress makes the gzip form. The stateless level keeps no tables between playlists;
// they are small and alike, so it loses little.
func compress(plain []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(plain)/4 + 64)
	w, _ := gzip.NewWriterLevel(&out, gzip.StatelessCompression) // the level is valid
	_, _ = w.Write(plain)                                        // into memory: cannot fail
	_ = w.Close()
	return out.Bytes()
}
