package shortcut

import (
	"bytes"
	"strings"
	"unsafe"

	"onair/internal/deliver/hls"
)

// headSize is the size of the largest head that is understood, and of the buffer that
// each connection has.
const headSize = 4 << 10

// verdict is what is known of the bytes of a head so far. All but more and complete say
// why the connection is for net/http.
type verdict int

const (
	more      verdict = iota // it is understood so far
	complete                 // it is understood
	strange                  // not a GET of something below /hls/
	target                   // characters in the target that need thought
	version                  // not HTTP/1.1
	syntax                   // a line that is not exactly as it should be
	header                   // a header field that is not known, or its value
	large                    // longer than headSize
	recording                // what it asks for is no live stream
	verdicts
)

// reasons are the verdicts' labels in metrics.
var reasons = [verdicts]string{
	strange: "other", target: "target", version: "version", syntax: "syntax", header: "header", large: "size", recording: "recording",
}

const begin = "GET /hls/"

// head reads a request's head from a buffer that is being filled. Each byte is looked at
// once, however they come.
type head struct {
	buf     [headSize]byte
	n       int  // bytes in buf
	later   bool // there was a head before
	line    int  // start of the line being read
	scanned int  // up to where there is no end of it

	target, encoding span
	seen             field // those that must not come twice
}

// span is a part of the buffer.
type span struct{ from, to int }

// next continues with what is in the buffer. After complete, consume must follow.
func (h *head) next() verdict {
	if h.later && h.n < 4 {
		return more // as net/http, which judges nothing less after its first request
	}
	for {
		i := bytes.IndexByte(h.buf[h.scanned:h.n], '\n')
		if i < 0 {
			h.scanned = h.n
			return h.partial()
		}
		line := h.buf[h.line : h.scanned+i]
		from := h.line
		h.scanned += i + 1
		h.line = h.scanned
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return h.wrong(from)
		}
		line = line[:len(line)-1]
		var v verdict
		switch {
		case from == 0:
			v = h.request(line)
		case len(line) == 0:
			if h.seen&host == 0 {
				return syntax
			}
			return complete
		default:
			v = h.field(line, from)
		}
		if v != more {
			return v
		}
	}
}

// partial judges a line of which the end is still to come.
func (h *head) partial() verdict {
	if h.line == 0 && !strings.HasPrefix(begin, string(h.buf[:min(h.n, len(begin))])) {
		return strange
	}
	if h.n == len(h.buf) {
		return large
	}
	return more
}

// wrong is the verdict on a line that does not end with CR LF.
func (h *head) wrong(from int) verdict {
	if from == 0 && !bytes.HasPrefix(h.buf[:h.n], []byte(begin)) {
		return strange
	}
	return syntax
}

// request reads the request line.
func (h *head) request(line []byte) verdict {
	if !bytes.HasPrefix(line, []byte(begin)) {
		return strange
	}
	from := len("GET ")
	to := bytes.IndexByte(line[from:], ' ')
	if to < 0 || string(line[from+to:]) != " HTTP/1.1" {
		return version
	}
	to += from
	allowed := pathByte
	for _, c := range line[from:to] {
		if c == '?' {
			allowed = queryByte
		}
		if byteClass[c]&allowed == 0 {
			return target
		}
	}
	h.target = span{from, to}
	return more
}

// field reads a line of the header.
func (h *head) field(line []byte, from int) verdict {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return syntax
	}
	f := fieldOf(line[:colon])
	if f == unknown || f&h.seen != 0 {
		return header
	}
	value := line[colon+1:]
	for _, c := range value {
		if byteClass[c]&valueByte == 0 {
			return syntax
		}
	}
	value = bytes.Trim(value, " \t")
	switch f {
	case host:
		if !plainHost(value) {
			return header
		}
	case connection:
		if !strings.EqualFold(view(value), "keep-alive") {
			return header
		}
	case acceptEncoding:
		h.encoding = span{from + colon + 1, from + len(line)}
	}
	h.seen |= f &^ ignored
	return more
}

// parsed returns the request of a complete head. It is of the buffer, and so becomes
// another one with consume.
func (h *head) parsed() hls.Request {
	t := view(h.buf[h.target.from:h.target.to])
	path, query, _ := strings.Cut(t, "?")
	return hls.Request{Path: path, Query: query, AcceptEncoding: strings.Trim(view(h.buf[h.encoding.from:h.encoding.to]), " \t")}
}

// consume drops a complete head. What came after it is the beginning of the next.
func (h *head) consume() {
	h.n = copy(h.buf[:], h.buf[h.line:h.n])
	h.line, h.scanned, h.seen, h.later = 0, 0, 0, true
	h.target, h.encoding = span{}, span{}
}

// view returns bytes as a string without copying them. Whoever gets it must not keep it:
// the bytes change with the next request. It is what makes a request cost no memory.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// field tells header fields apart.
type field uint8

const (
	unknown field = 0
	ignored field = 1 << iota
	host
	connection
	acceptEncoding
)

// longest is the length of the longest name that is known.
const longest = 32

// fieldOf tells what a header field is, by its name in any case. Those that are ignored
// change nothing in an answer here, today; one that begins to matter must leave this
// list, and its requests go to net/http. Those that decide how a message is framed or
// answered (Content-Length, Transfer-Encoding, Expect, Upgrade, Range, TE…) and those
// that may come to matter (Authorization, Cookie, If-None-Match) are not on it.
func fieldOf(name []byte) field {
	var lower [longest]byte
	if len(name) > longest {
		return unknown
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "host":
		return host
	case "connection":
		return connection
	case "accept-encoding":
		return acceptEncoding
	case "accept", "accept-language", "cache-control", "dnt", "origin", "pragma", "priority", "referer", "user-agent",
		// Chromium and Firefox, of where a request comes from and what the browser is
		"sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "sec-fetch-storage-access", "sec-fetch-user", "sec-gpc",
		"sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform",
		// players
		"x-playback-session-id", "cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status",
		// proxies and caches
		"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-server",
		"x-real-ip", "x-request-id", "cdn-loop", "cf-connecting-ip", "cf-ipcountry", "cf-ray", "cf-visitor", "x-amz-cf-id":
		return ignored
	}
	return unknown
}

// plainHost reports whether a Host is made of what names, addresses and ports are.
func plainHost(b []byte) bool {
	for _, c := range b {
		if byteClass[c]&hostByte == 0 {
			return false
		}
	}
	return len(b) > 0
}

// What a byte may be part of.
const (
	pathByte byte = 1 << iota
	queryByte
	valueByte
	hostByte
)

// byteClass tells it. Paths have nothing that is to be decoded.
var byteClass = func() (class [256]byte) {
	mark := func(bit byte, bytes string) {
		for i := range len(bytes) {
			class[bytes[i]] |= bit
		}
	}
	const alphanumeric = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	mark(pathByte, alphanumeric+"/-._~")
	mark(queryByte, alphanumeric+"/-._~?%&=+,:;@!$'()*")
	mark(hostByte, alphanumeric+"-._:[]")
	for c := byte(' '); c <= '~'; c++ {
		class[c] |= valueByte
	}
	class['\t'] |= valueByte
	return class
}()
