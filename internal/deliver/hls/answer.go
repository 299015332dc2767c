package hls

import (
	"net/http"
	"strconv"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/deliver/reply"
)

// Request is a GET request, as far as its answer depends on it.
type Request struct {
	Path           string // decoded, from the first slash
	Query          string // raw, without the question mark
	AcceptEncoding string // the header's value
	Range          string // the header's value; empty where it is to be ignored
}

// Answer is a response that is ready to be sent. Its zero value is ready to be filled by
// Handler.Answer, again and again: one that is used again costs no memory.
type Answer struct {
	// Status is the status code.
	Status int
	// Body is the body in pieces, and Size the bytes of all of them. They are shared by
	// all viewers and must not be changed.
	Body [][]byte
	Size int
	// Elsewhere is set if there is no answer here, because another handler has it.
	Elsewhere bool
	// Limit is how long sending it may take.
	Limit time.Duration

	kind   kind
	header [fields][]string
	single [1][]byte   // what Body is of where it is one piece
	timer  *time.Timer // made by the first request that waits
	id     string      // playback id of the last request: mostly that of the next
}

// The header fields of answers, in the order of their names, which is that of net/http.
const (
	acceptRangesField = iota
	allowOriginField
	exposeField
	allowField
	cacheField
	encodingField
	lengthField
	rangeField
	typeField
	retryField
	varyField
	sniffField
	fields
)

var fieldNames = [fields]string{
	"Accept-Ranges", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Allow", "Cache-Control",
	"Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Retry-After", "Vary", "X-Content-Type-Options",
}

// Reset forgets the last answer, so that a connection that waits keeps no media.
func (a *Answer) Reset() {
	a.Body, a.Size, a.single[0], a.Elsewhere = nil, 0, nil, false
	clear(a.header[:])
}

// startTimer returns a channel that receives after d, unless a.timer is stopped.
func (a *Answer) startTimer(d time.Duration) <-chan time.Time {
	if a.timer == nil {
		a.timer = time.NewTimer(d)
	} else {
		a.timer.Reset(d)
	}
	return a.timer.C
}

// set puts a body.
func (a *Answer) set(k kind, status int, b *body) {
	a.kind, a.Status = k, status
	if a.Body = b.pieces; b.pieces == nil {
		a.single[0] = b.bytes
		a.Body = a.single[:]
	}
	a.header[lengthField] = b.length
}

// playlist makes it a playlist.
func (a *Answer) playlist(k kind, b *body, zip bool, cache []string) bool {
	a.set(k, http.StatusOK, b)
	a.header[typeField], a.header[cacheField], a.header[varyField] = typePlaylist, cache, varyEncoding
	if zip {
		a.header[encodingField] = encodingGzip
	}
	return true
}

// problem makes it an error.
func (a *Answer) problem(p *problem) bool {
	a.set(kindOther, p.status, p.body)
	a.header[typeField], a.header[cacheField] = typeProblem, cacheNever
	a.header[retryField] = p.retry
	if p.status == http.StatusMethodNotAllowed {
		a.header[allowField] = allowed
	}
	return true
}

// media makes it a part, a segment or an initialization section, or what a Range header
// asks for of it.
func (a *Answer) media(blob *pack.Blob, mime []string, spec string) bool {
	a.kind, a.Status, a.Body = kindMedia, http.StatusOK, blob.Chunks
	a.header[acceptRangesField], a.header[lengthField] = acceptRanges, blob.Length
	a.header[typeField], a.header[cacheField] = mime, cacheForever
	if spec == "" {
		return true
	}
	start, length, whole, ok := reply.ParseRange(spec, blob.Size)
	if whole {
		return true
	}
	size := blob.Length[0]
	if !ok {
		a.header[rangeField] = []string{"bytes */" + size}
		return a.problem(problemRange)
	}
	first, last := strconv.FormatInt(start, 10), strconv.FormatInt(start+length-1, 10)
	a.Status, a.Body = http.StatusPartialContent, cut(blob.Chunks, start, length)
	a.header[rangeField] = []string{"bytes " + first + "-" + last + "/" + size}
	a.header[lengthField] = []string{strconv.FormatInt(length, 10)}
	return true
}

// cut returns a range of what is in chunks.
func cut(chunks [][]byte, start, length int64) [][]byte {
	out := make([][]byte, 0, len(chunks))
	for _, c := range chunks {
		n := int64(len(c))
		if start >= n {
			start -= n
			continue
		}
		c = c[start:min(n, start+length)]
		start, length = 0, length-int64(len(c))
		out = append(out, c)
		if length == 0 {
			break
		}
	}
	return out
}

// finish fills in what all answers have, and counts the answer.
func (h *Handler) finish(a *Answer) {
	a.header[allowOriginField], a.header[exposeField], a.header[sniffField] = anyOrigin, exposed, noSniff
	for _, c := range a.Body {
		a.Size += len(c)
	}
	// A reader that takes too long loses its connection.
	a.Limit = h.cfg.WriteTimeout + time.Duration(a.Size)*time.Second/slowestRate
	h.m.count(a.kind, a.Status)
}

// AppendHead appends the answer's status line and header to b, as net/http writes them:
// without the Date and the empty line at the end.
func (a *Answer) AppendHead(b []byte) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.Status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(a.Status)...)
	b = append(b, "\r\n"...)
	for i, value := range a.header {
		if value == nil {
			continue
		}
		b = append(b, fieldNames[i]...)
		b = append(b, ": "...)
		b = append(b, value[0]...)
		b = append(b, "\r\n"...)
	}
	return b
}

// write sends the answer through net/http.
func (a *Answer) write(w http.ResponseWriter, headOnly bool) {
	head := w.Header()
	for i, value := range a.header {
		if value != nil {
			head[fieldNames[i]] = value
		}
	}
	// Where there is no deadline to set (in tests), there is none.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.Limit))
	w.WriteHeader(a.Status)
	if headOnly {
		return
	}
	for _, c := range a.Body {
		if _, err := w.Write(c); err != nil {
			return // the viewer has left
		}
	}
}
