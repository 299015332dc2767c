package shortcut

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// read gives a head its bytes in pieces, and returns the first verdict and after how
// many bytes it came.
func read(text string, piece int) (v verdict, at int, h *head) {
	h = new(head)
	for at < len(text) && v == more {
		n := copy(h.buf[h.n:], text[at:min(at+piece, len(text))])
		h.n, at = h.n+n, at+n
		v = h.next()
	}
	return v, at, h
}

const plain = "GET /hls/a/index.m3u8 HTTP/1.1\r\nHost: x\r\n"

func TestOddHeads(t *testing.T) {
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n" }
	with := func(lines string) string { return plain + lines + "\r\n" }
	long := strings.Repeat("x", headSize)
	for _, tt := range []struct {
		name, text string
		want       verdict
	}{
		{"plain", with(""), complete},
		{"with a query", get("/hls/a/s/v0/index.m3u8?_HLS_msn=5&_HLS_part=1&_HLS_skip=YES"), complete},
		{"CMCD in the query", get("/hls/a/s/v0/p.m4s?CMCD=bl%3D1000%2Csid%3D%22a-b%22"), complete},
		{"no host", "GET /hls/a/index.m3u8 HTTP/1.1\r\n\r\n", syntax},
		{"two hosts", with("Host: x\r\n"), header},
		{"two hosts in other letters", with("hOST: y\r\n"), header},
		{"empty host", "GET /hls/a/index.m3u8 HTTP/1.1\r\nHost:\r\n\r\n", header},
		{"host with a path", "GET /hls/a/index.m3u8 HTTP/1.1\r\nHost: x/y\r\n\r\n", header},
		{"IPv6 host", "GET /hls/a/index.m3u8 HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", complete},
		{"nothing", "", more},
		{"half a method", "GE", more},
		{"half a target", "GET /hls/abc", more},
		{"half a head", plain, more},
		{"HEAD", "HEAD /hls/a/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n", strange},
		{"POST", "POST /hls/a/index.m3u8 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", strange},
		{"lower case", "get /hls/a/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n", strange},
		{"other path", get("/v1/live-streams"), strange},
		{"prefix in other letters", get("/HLS/a/index.m3u8"), strange},
		{"prefix alone", get("/hls/"), complete},
		{"absolute target", get("http://x/hls/a/index.m3u8"), strange},
		{"two slashes first", get("//hls/a/index.m3u8"), strange},
		{"dots", get("/hls/../v1/live-streams"), complete}, // 404, as by net/http: nothing is resolved
		{"encoded slash", get("/hls/a%2findex.m3u8"), target},
		{"encoded letter", get("/hls/a/%69ndex.m3u8"), target},
		{"semicolon", get("/hls/a;x/index.m3u8"), target},
		{"fragment", get("/hls/a/index.m3u8#x"), target},
		{"fragment in the query", get("/hls/a/index.m3u8?a#x"), target},
		{"byte over 7f", get("/hls/\xc3\xa4/index.m3u8"), target},
		{"NUL in the target", get("/hls/a\x00/index.m3u8"), target},
		{"TAB for SP", "GET\t/hls/a HTTP/1.1\r\n", strange},
		{"two SP first", "GET  /hls/a HTTP/1.1\r\n", strange},
		{"two SP later", "GET /hls/a  HTTP/1.1\r\n", version},
		{"SP at the end", "GET /hls/a HTTP/1.1 \r\n", version},
		{"HTTP/1.0", "GET /hls/a HTTP/1.0\r\n", version},
		{"HTTP/0.9", "GET /hls/a\r\n", version},
		{"HTTP/2.0", "GET /hls/a HTTP/2.0\r\n", version},
		{"HTTP/1.10", "GET /hls/a HTTP/1.10\r\n", version},
		{"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", strange},
		{"TLS", "\x16\x03\x01\x02\x00\x01", strange},
		{"empty line first", "\r\n" + with(""), strange},
		{"LF first", "\nGET /hls/a", strange},
		{"LF in place of CR LF", "GET /hls/a HTTP/1.1\nHost: x\n\n", syntax},
		{"LF after a field", plain + "Accept: a\n\r\n", syntax},
		{"LF in place of the end", plain + "\n", syntax},
		{"CR in a value", with("Accept: a\rb\r\n"), syntax},
		{"CR CR LF", with("Accept: a\r\r\n"), syntax},
		{"NUL in a value", with("Accept: \x00\r\n"), syntax},
		{"byte over 7f in a value", with("Accept: \xe4\r\n"), syntax},
		{"folded line", with("Accept: a\r\n b\r\n"), syntax},
		{"folded line that looks like a field", with("Accept: a\r\n Host: y\r\n"), header},
		{"SP before the colon", with("Accept : a\r\n"), header},
		{"no colon", with("Accept\r\n"), syntax},
		{"no name", with(": a\r\n"), header},
		{"very long name", with(long[:100] + ": a\r\n"), header},
		{"unknown field", with("X-Whatever: a\r\n"), header},
		{"Range", with("Range: bytes=0-1\r\n"), header},
		{"If-Range", with("If-Range: x\r\n"), header},
		{"If-None-Match", with("If-None-Match: x\r\n"), header},
		{"Authorization", with("Authorization: x\r\n"), header},
		{"Cookie", with("Cookie: x\r\n"), header},
		{"Content-Length", with("Content-Length: 0\r\n"), header},
		{"Transfer-Encoding", with("Transfer-Encoding: chunked\r\n"), header},
		{"Transfer-Encoding with another letter", with("Tran\x17sfer-Encoding: chunked\r\n"), header},
		{"Expect", with("Expect: 100-continue\r\n"), header},
		{"TE", with("TE: trailers\r\n"), header},
		{"Trailer", with("Trailer: a\r\n"), header},
		{"Upgrade", with("Upgrade: h2c\r\n"), header},
		{"HTTP2-Settings", with("HTTP2-Settings: AAA\r\n"), header},
		{"Proxy-Connection", with("Proxy-Connection: close\r\n"), header},
		{"Connection: close", with("Connection: close\r\n"), header},
		{"Connection: keep-alive, close", with("Connection: keep-alive, close\r\n"), header},
		{"Connection: Keep-Alive", with("Connection: Keep-Alive\r\n"), complete},
		{"Connection twice", with("Connection: keep-alive\r\nConnection: keep-alive\r\n"), header},
		{"Accept-Encoding twice", with("Accept-Encoding: gzip\r\nAccept-Encoding: br\r\n"), header},
		{"X-HTTP-Method-Override", with("X-HTTP-Method-Override: DELETE\r\n"), header},
		{"4096 bytes", plain + "Accept: " + long[:headSize-len(plain)-len("Accept: \r\n\r\n")] + "\r\n\r\n", complete},
		{"4097 bytes", plain + "Accept: " + long[:headSize-len(plain)-len("Accept: \r\n")-1] + "\r\n\r\n", large},
		{"long target", get("/hls/" + long), large},
		{"many fields", plain + strings.Repeat("Via: a\r\n", 1000), large},
		{"curl", with("User-Agent: curl/8.5.0\r\nAccept: */*\r\n"), complete},
		{"hls.js in Chromium", with("Connection: keep-alive\r\nsec-ch-ua-platform: \"Linux\"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
			"sec-ch-ua: \"Chromium\";v=\"143\"\r\nsec-ch-ua-mobile: ?0\r\nAccept: */*\r\nOrigin: http://x\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n" +
			"Sec-Fetch-Dest: empty\r\nReferer: http://x/watch/pb\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n"), complete},
		{"AVPlayer", with("X-Playback-Session-Id: 0B5C8C0E-8A1F\r\nAccept: */*\r\nUser-Agent: AppleCoreMedia/1.0.0\r\nAccept-Language: en\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\n"), complete},
		{"a proxy", with("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 192.0.2.1\r\nVia: 1.1 a\r\nConnection: Keep-Alive\r\n"), complete},
	} {
		v, at, h := read(tt.text, len(tt.text)+1)
		if v != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, reasons[v], reasons[tt.want])
			continue
		}
		if string(h.buf[:h.n]) != tt.text[:at] {
			t.Errorf("%s: the bytes to hand over are not those that came", tt.name)
		}
		// Bytes that come one by one change only when the verdict falls.
		if v, _, _ := read(tt.text, 1); v != tt.want {
			t.Errorf("%s: %q byte by byte, want %q", tt.name, reasons[v], reasons[tt.want])
		}
	}
}

func TestRequestOfAHead(t *testing.T) {
	first := "GET /hls/a/s/v0/index.m3u8?_HLS_msn=5 HTTP/1.1\r\nhost: x\r\naccept-encoding: \t gzip, br \r\n\r\n"
	v, _, h := read(first+plain+"\r\nGET /hls/b", 4096)
	if r := h.parsed(); v != complete || r.Path != "/hls/a/s/v0/index.m3u8" || r.Query != "_HLS_msn=5" || r.AcceptEncoding != "gzip, br" || r.Range != "" {
		t.Fatalf("verdict %d, %+v", v, r)
	}
	h.consume()
	v = h.next()
	if r := h.parsed(); v != complete || r.Path != "/hls/a/index.m3u8" || r.Query != "" || r.AcceptEncoding != "" {
		t.Fatalf("the second request: verdict %d, %+v", v, r)
	}
	h.consume()
	if v := h.next(); v != more || string(h.buf[:h.n]) != "GET /hls/b" {
		t.Fatalf("what came after: %d, %q", v, h.buf[:h.n])
	}
}

// Heads made to cost much: each byte is looked at a bounded number of times.
func TestBombs(t *testing.T) {
	begin := processor(t)
	for _, text := range []string{
		"GET /hls/" + strings.Repeat("/", headSize), plain + strings.Repeat("Via:\r\n", headSize), plain + strings.Repeat(" ", headSize),
		plain + "Accept:" + strings.Repeat(",", headSize), strings.Repeat("\r\n", headSize), plain + strings.Repeat(":", headSize),
	} {
		for range 100 {
			if v, at, _ := read(text, 1); v == more || v == complete || at > headSize {
				t.Errorf("%.40q: %d after %d bytes", text, v, at)
			}
		}
	}
	if d := processor(t) - begin; d > 2*time.Second {
		t.Errorf("600 heads took %v", d)
	}
	h := new(head)
	h.n = copy(h.buf[:], plain+"User-Agent: x\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\n\r\n")
	n := h.n
	if allocs := testing.AllocsPerRun(100, func() {
		h.n = n
		if h.next() != complete || h.parsed().AcceptEncoding != "gzip" {
			t.Fatal("not understood")
		}
		h.line = 0 // keeps the bytes
		h.scanned, h.seen = 0, 0
	}); allocs != 0 {
		t.Errorf("reading a head allocates %v times", allocs)
	}
}

// processor is the time that the processors gave us so far, which others who want them do not
// make longer.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
