package hls

import (
	"bytes"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"

	"onair/internal/deliver/pack"
)

// body is a response's bytes with its length as a header value.
type body struct {
	bytes  []byte
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
}

func newView(*pack.Snapshot) any { return new(view) }

const (
	formDelta = 1 << iota
	formGzip
	formFrames // instead of formDelta
)

// playlist returns a form of the playlist of a snapshot.
func playlist(s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, form int, zip bool) *body {
	v := snap.View(newView).(*view)
	if zip {
		form |= formGzip
	}
	if b := v.forms[form].Load(); b != nil {
		return b
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	plain := v.forms[form&^formGzip].Load()
	if plain == nil {
		plain = v.render(s, r, snap, form&^formGzip)
	}
	if !zip {
		return plain
	}
	if b := v.forms[form].Load(); b != nil {
		return b
	}
	b := newBody(compress(plain.bytes))
	v.forms[form].Store(b)
	return b
}

// render makes the plain form. A delta update that would skip nothing is the full
// playlist.
func (v *view) render(s *pack.Stream, r *pack.Rendition, snap *pack.Snapshot, form int) *body {
	if form == formFrames {
		b := newBody(appendFrames(make([]byte, 0, 2048), s, snap))
		v.forms[formFrames].Store(b)
		return b
	}
	skip := form == formDelta
	if skip {
		if text, ok := appendPlaylist(make([]byte, 0, 4096), s, r, snap, true); ok {
			b := newBody(text)
			v.forms[formDelta].Store(b)
			return b
		}
	}
	full := v.forms[0].Load()
	if full == nil {
		text, _ := appendPlaylist(make([]byte, 0, 4096), s, r, snap, false)
		full = newBody(text)
		v.forms[0].Store(full)
	}
	if skip {
		v.forms[formDelta].Store(full)
	}
	return full
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
