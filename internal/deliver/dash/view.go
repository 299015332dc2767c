package dash

import (
	"bytes"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"onair/internal/deliver/mpd"
	"onair/internal/deliver/pack"
	"onair/internal/media"
)

// body is a response's bytes with its length as a header value.
type body struct {
	bytes  []byte
	length []string
}

func newBody(b []byte) *body { return &body{bytes: b, length: []string{strconv.Itoa(len(b))}} }

// view is what is kept of a broadcast: the newest manifest, and what must be remembered
// from one to the next.
type view struct {
	mu    sync.Mutex
	known known
	last  *shown
	state []byte // what last was made of
	next  []byte

	refusals sync.Map // of renditions that could not be had, by name: until when, as time.Time
}

// refuse notes that a rendition is not to be had for now.
func (v *view) refuse(name string) { v.refusals.Store(name, time.Now().Add(refusedFor)) }

// refused reports whether a rendition is not to be had for now.
func (v *view) refused(name string) bool {
	until, ok := v.refusals.Load(name)
	return ok && time.Now().Before(until.(time.Time))
}

// refusedFor is how long a rendition that could not be had is not listed and not asked for.
const refusedFor = 30 * time.Second

func (h *Handler) view(s *pack.Stream) *view {
	return s.Attach(h, func() any { return &view{known: known{pictures: h.pictures}} }).(*view)
}

// shown is a manifest, rendered once for all viewers. replay is nil until the end.
type shown struct{ plain, replay *text }

// text is a body that is compressed when the first viewer asks for that.
type text struct {
	body
	once sync.Once
	zip  *body
}

func (t *text) compressed() *body {
	t.once.Do(func() { t.zip = newBody(compress(t.bytes)) })
	return t.zip
}

// lists reports whether a manifest has listed a rendition that is made here.
func (v *view) lists(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known.lists(name)
}

// current returns the manifest of the state that a stream is in; nil if there is nothing to
// list.
func (v *view) current(s *pack.Stream, offers []media.Offer) (*shown, error) {
	parts := time.Duration(0)
	for _, r := range s.Renditions() {
		if !derived(r) {
			parts = max(parts, r.PartTarget())
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	offers, gone := v.known.keep(offers)
	list := gather(s, offers, func(name string) bool { return gone[name] || v.refused(name) })
	v.next = state(v.next[:0], list)
	if v.last != nil && bytes.Equal(v.next, v.state) {
		return v.last, nil
	}
	p := present(list, parts, time.Duration(s.TargetDuration())*time.Second, &v.known, time.Now())
	if p == nil {
		return nil, nil
	}
	p.Start, p.Published = s.AvailabilityStart(), time.Now()
	now := new(shown)
	var err error
	if now.plain, err = textOf(p); err != nil {
		return nil, err
	}
	if p.Rebased = p.Ended; p.Rebased {
		if now.replay, err = textOf(p); err != nil {
			return nil, err
		}
	}
	v.last = now
	v.state, v.next = v.next, v.state
	return now, nil
}

func textOf(p *mpd.Presentation) (*text, error) {
	b, err := p.Render()
	if err != nil {
		return nil, err
	}
	return &text{body: *newBody(b)}, nil
}

// state appends what a manifest depends on: not each part of a segment in progress, but
// whether it lasts longer than expected.
func state(b []byte, list []listing) []byte {
	for i := range list {
		l := &list[i]
		b = append(b, l.name...)
		b = strconv.AppendInt(append(b, ' '), l.peak/100_000, 10)
		b = append(append(b, ' '), l.track.CodecString...)
		if l.refused {
			b = append(b, " refused"...)
		}
		if l.snap == nil {
			b = append(b, '\n')
			continue
		}
		b = strconv.AppendInt(append(b, ' '), l.snap.LastSequence(), 10)
		if n := len(l.snap.Segments); n > 0 {
			b = strconv.AppendInt(append(b, ' '), l.snap.Segments[0].Sequence, 10)
		}
		if l.snap.Ended {
			b = append(b, " ended"...)
		}
		if open := l.snap.Open; open != nil {
			b = append(append(b, ' '), open.Init.Name...)
			if n := len(l.snap.Segments); n > 0 && open.Duration > l.snap.Segments[n-1].Duration {
				b = strconv.AppendInt(append(b, '+'), int64(len(open.Parts)), 10)
			}
		}
		b = append(b, '\n')
	}
	return b
}

// compress makes the gzip form. The stateless level keeps no tables between manifests; they
// are small and alike, so it loses little.
func compress(plain []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(plain)/4 + 64)
	w, _ := gzip.NewWriterLevel(&out, gzip.StatelessCompression) // the level is valid
	_, _ = w.Write(plain)                                        // into memory: cannot fail
	_ = w.Close()
	return out.Bytes()
}
