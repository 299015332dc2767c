package shortcut

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/hls"
)

// What differs between two answers to the same request.
var (
	dateHeader  = regexp.MustCompile(`Date: [^\r\n]*`)
	sessionName = regexp.MustCompile(`[0-9a-f]{16}/`)
	zipped      = []byte("Cache-Control: no-store\r\nContent-Encoding: gzip")
)

// converse sends input in pieces over a connection to whoever serves the listener, and
// returns all that comes back before there is nothing left to do.
func converse(l *pipes, input []byte, piece int) []byte {
	client := l.dial()
	var output bytes.Buffer
	received, sent := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = io.Copy(&output, client)
		close(received)
	}()
	go func() {
		defer close(sent)
		for len(input) > 0 {
			n := min(piece, len(input))
			if _, err := client.Write(input[:n]); err != nil {
				return
			}
			input = input[n:]
		}
	}()
	synctest.Wait()
	_ = client.Close()
	<-received
	<-sent
	return output.Bytes()
}

// both sends the same to net/http with the loop in front of it, and to net/http alone.
// What they answer must be the same in every byte but the date.
func both(t *testing.T, handler *hls.Handler, input []byte, piece int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		s := newServing(t, l, handler, handler)
		with := converse(l, input, piece)
		s.close()

		l = newPipes()
		alone := newHTTP(handler)
		go func() { _ = alone.Serve(l) }()
		without := converse(l, input, piece)
		_ = alone.Close()
		time.Sleep(time.Second) // net/http lingers on connections that it closes

		if bytes.Contains(without, zipped) {
			// The compressed name of a new session: heads alone can be compared.
			if !bytes.Contains(with, zipped) {
				t.Errorf("%q is not compressed", input)
			}
			return
		}
		for _, b := range []*[]byte{&with, &without} {
			*b = sessionName.ReplaceAll(dateHeader.ReplaceAll(*b, []byte("Date: now")), []byte("session/"))
		}
		if !bytes.Equal(with, without) {
			t.Errorf("%q in pieces of %d bytes:\nwith the loop %d bytes: %.600q\nwithout %d bytes: %.600q", input, piece, len(with), with, len(without), without)
		}
	})
}

// conversations are what is sent over one connection.
func conversations(names []string) []string {
	get := func(target, lines string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n"
	}
	list := []string{
		get("/hls/"+playbackID+"/index.m3u8", ""),
		get("/hls/"+playbackID+"/index.m3u8", "Accept-Encoding: gzip\r\n"),
		get(child+"v0/index.m3u8", ""),
		get(child+"v0/index.m3u8", "Accept-Encoding: br, gzip;q=0\r\n"),
		get(child+"v0/index.m3u8?_HLS_msn=1&_HLS_part=0&_HLS_skip=YES", "Accept-Encoding: gzip, deflate\r\n"),
		get(child+"v0/index.m3u8?_HLS_part=0", ""),
		get(child+"a0/index.m3u8", "") + get(child+"v0/index.m3u8", "") + get(child+"v0/none.m4s", ""),
		get("/hls/", ""), get("/hls/none/index.m3u8", ""), get("/hls/../hls/"+playbackID+"/index.m3u8", ""),
		get(child+"v9/index.m3u8", ""), get("/hls/"+playbackID+"/index.m3u8?", ""), get("/hls/"+playbackID+"/index.m3u8?a?b", ""),
		"HEAD " + child + "v0/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n" + get(child+"v0/index.m3u8", ""),
		"OPTIONS " + child + "v0/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST " + child + "v0/index.m3u8 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + get(child+"v0/index.m3u8", ""),
		"GET " + child + "v0/index.m3u8 HTTP/1.0\r\n\r\n",
		"GET " + child + "v0/index.m3u8 HTTP/1.1\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"GET http://x" + child + "v0/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /hls/a HTTP/1.1\nHost: x\n\n",
		get("/hls/"+playbackID+"/index%2em3u8", ""),
		get(child+"v0/index.m3u8", "Connection: close\r\n") + get(child+"v0/index.m3u8", ""),
		get(child+"v0/index.m3u8", "Content-Length: 5\r\n") + "GET /" + get(child+"v0/index.m3u8", ""),
		get(child+"v0/index.m3u8", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n" + get(child+"v0/index.m3u8", ""),
		get(child+"v0/index.m3u8", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
		get(child+"v0/index.m3u8", "Expect: 100-continue\r\n"), get(child+"v0/index.m3u8", "Accept: a\r\n b\r\n"),
		get(child+"v0/index.m3u8", "Accept : a\r\n"), get(child+"v0/index.m3u8", "Host: y\r\n"), get(child+"v0/index.m3u8", "Upgrade: h2c\r\nConnection: Upgrade\r\n"),
		get(child+"v0/index.m3u8", "Via: "+strings.Repeat("x", 5000)+"\r\n"), get(child+"v0/index.m3u8", "Via: "+strings.Repeat("x", 30000)+"\r\n"),
		get(child+"v0/index.m3u8", "") + "\r\n" + get(child+"v0/index.m3u8", ""), get(child+"v0/index.m3u8", "") + "\x16\x03\x01",
		get(child+"v0/index.m3u8", "") + "0\n", get(child+"v0/index.m3u8", "") + "0\n\r\n", "0\n",
	}
	for _, name := range names {
		list = append(list, get(child+"v0/"+name, ""), get(child+"v0/"+name, "Range: bytes=5-9\r\n")+get(child+"v0/"+name, ""),
			get(child+"v0/"+name, "")+get(child+"v0/"+name, "Accept-Encoding: gzip\r\nConnection: keep-alive\r\n")+get(child+"v0/"+name, "If-Range: x\r\nRange: bytes=0-0\r\n"))
	}
	return list
}

func TestLoopAnswersAsNetHTTP(t *testing.T) {
	b := newBroadcast(t)
	defer b.close()
	b.end()
	for _, input := range conversations(b.names) {
		for _, piece := range []int{1, 7, 1 << 20} {
			both(t, b.handler, []byte(input), piece)
		}
	}
}

func FuzzLoop(f *testing.F) {
	b := newBroadcast(f)
	defer b.close()
	b.end()
	for i, input := range conversations(b.names) {
		f.Add([]byte(input), uint16(1+97*i))
	}
	f.Fuzz(func(t *testing.T, input []byte, piece uint16) {
		if len(input) > 40_000 {
			return // more than net/http takes for a head
		}
		both(t, b.handler, input, max(1+int(piece), len(input)/500))
	})
}
