package web

import (
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const someHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

// pages is a small set of built pages.
func pages() fstest.MapFS {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	return fstest.MapFS{
		"index.html":            file("<title>console</title>"),
		"index.html.br":         file("br:index"),
		"index.html.gz":         file("gz:index"),
		"watch.html":            file("<title>watch</title>"),
		"docs.html":             file("<title>docs</title>"),
		"404.html":              file("<title>missing</title>"),
		"placeholder.html":      file("<title>not built</title>"),
		"favicon.svg":           file("<svg/>"),
		"csp.json":              file(`{"styles":["` + someHash + `"]}`),
		"assets/app-1a2b.js":    file("let plain"),
		"assets/app-1a2b.js.br": file("br:js"),
		"assets/app-1a2b.js.gz": file("gz:js"),
		"assets/app-3c4d.css":   file("a{}"),
	}
}

func newTest(t *testing.T, files fstest.MapFS) *handler {
	t.Helper()
	h, err := newHandler(files)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func do(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	r.URL.Path = target
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPages(t *testing.T) {
	h := newTest(t, pages())
	tests := []struct {
		path   string
		status int
		title  string
		cache  string
	}{
		{"/", 200, "console", "no-cache"},
		{"/watch/pb_abc-123", 200, "watch", "no-cache"},
		{"/docs", 200, "docs", "no-cache"},
		{"/watch/", 404, "missing", "no-cache"},
		{"/watch/a/b", 404, "missing", "no-cache"},
		{"/watch/<script>", 404, "missing", "no-cache"},
		{"/watch/..", 404, "missing", "no-cache"},
		{"/watch/" + strings.Repeat("a", maxIDLen+1), 404, "missing", "no-cache"},
		{"/nowhere", 404, "missing", "no-cache"},
		{"/index.html", 404, "missing", "no-cache"},
		{"/csp.json", 404, "missing", "no-cache"},
	}
	for _, tt := range tests {
		w := do(h, "GET", tt.path)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), "<title>"+tt.title+"<") || w.Header().Get("Cache-Control") != tt.cache {
			t.Errorf("%s: %d %q, Cache-Control %q; want %d %s %q", tt.path, w.Code, w.Body, w.Header().Get("Cache-Control"), tt.status, tt.title, tt.cache)
		}
		if ct := w.Header().Get("Content-Type"); ct != "text/html; charset=utf-8" {
			t.Errorf("%s: Content-Type %q", tt.path, ct)
		}
	}
}

func TestEveryAnswerIsHardened(t *testing.T) {
	h := newTest(t, pages())
	unsafe := regexp.MustCompile(`unsafe|https?:|\*|script-src[^;]*(data:|blob:)`)
	for _, path := range []string{"/", "/watch/pb_1", "/docs", "/nope", "/assets/app-1a2b.js", "/assets/gone.js", "/favicon.svg"} {
		head := do(h, "GET", path).Header()
		csp := head.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "connect-src 'self'"} {
			if !slices.Contains(strings.Split(csp, "; "), want) {
				t.Errorf("%s: policy %q lacks %s", path, csp, want)
			}
		}
		if path == "/docs" {
			csp = strings.Replace(csp, "style-src 'self' 'unsafe-inline'", "", 1)
		}
		if bad := unsafe.FindString(csp); bad != "" {
			t.Errorf("%s: policy has %q: %s", path, bad, csp)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := head.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	if csp := do(h, "GET", "/watch/pb_1").Header().Get("Content-Security-Policy"); !strings.Contains(csp, "style-src 'self' '"+someHash+"'") {
		t.Errorf("the watch page's policy lacks the hash of the controls' styles: %s", csp)
	}
	if csp := do(h, "GET", "/").Header().Get("Content-Security-Policy"); strings.Contains(csp, someHash) {
		t.Errorf("the console needs no hashes: %s", csp)
	}
}

func TestEncodings(t *testing.T) {
	h := newTest(t, pages())
	const path = "/assets/app-1a2b.js"
	tests := []struct{ accept, encoding, body string }{
		{"", "", "let plain"},
		{"gzip, deflate, br, zstd", "br", "br:js"},
		{"gzip", "gzip", "gz:js"},
		{"GZIP;q=0.5", "gzip", "gz:js"},
		{"br;q=0, gzip", "gzip", "gz:js"},
		{"br;q=0, gzip;q=0", "", "let plain"},
		{"*", "br", "br:js"},
		{"*, br;q=0", "gzip", "gz:js"},
		{"*;q=0", "", "let plain"},
		{"br;q=nonsense", "", "let plain"},
		{"identity", "", "let plain"},
		{strings.Repeat("x,", 5000) + "br", "br", "br:js"},
	}
	for _, tt := range tests {
		w := do(h, "GET", path, "Accept-Encoding", tt.accept)
		if got := w.Header().Get("Content-Encoding"); got != tt.encoding || w.Body.String() != tt.body {
			t.Errorf("Accept-Encoding %.40q: got %q, %q; want %q, %q", tt.accept, got, w.Body, tt.encoding, tt.body)
		}
		if w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %.40q: no Vary", tt.accept)
		}
	}
	if w := do(h, "GET", "/assets/app-3c4d.css", "Accept-Encoding", "br"); w.Header().Get("Content-Encoding") != "" || w.Body.String() != "a{}" {
		t.Errorf("a file without compressed forms: %q %q", w.Header().Get("Content-Encoding"), w.Body)
	}
}

func TestCaching(t *testing.T) {
	h := newTest(t, pages())
	w := do(h, "GET", "/assets/app-1a2b.js")
	if got := w.Header().Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
		t.Errorf("asset: Cache-Control %q", got)
	}
	if w := do(h, "GET", "/assets/app-0000.js"); w.Code != 404 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("missing asset: %d, Cache-Control %q", w.Code, w.Header().Get("Cache-Control"))
	}
	etag := do(h, "GET", "/").Header().Get("ETag")
	if br := do(h, "GET", "/", "Accept-Encoding", "br").Header().Get("ETag"); etag == "" || br == etag {
		t.Errorf("tags must differ between encodings: %q and %q", etag, br)
	}
	for _, match := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		if w := do(h, "GET", "/", "If-None-Match", match); w.Code != 304 || w.Body.Len() != 0 || w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("If-None-Match %s: %d with %d bytes", match, w.Code, w.Body.Len())
		}
	}
	if w := do(h, "GET", "/", "If-None-Match", `"other"`); w.Code != 200 {
		t.Errorf("another tag: %d", w.Code)
	}
	if w := do(h, "GET", "/nowhere", "If-None-Match", "*"); w.Code != 404 {
		t.Errorf("a missing page is missing whatever the client has: %d", w.Code)
	}
}

func TestMethods(t *testing.T) {
	h := newTest(t, pages())
	w := do(h, "HEAD", "/", "Accept-Encoding", "gzip")
	if w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "8" {
		t.Errorf("HEAD: %d, %d bytes, Content-Length %q", w.Code, w.Body.Len(), w.Header().Get("Content-Length"))
	}
	for _, m := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE"} {
		if w := do(h, m, "/"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, Allow %q", m, w.Code, w.Header().Get("Allow"))
		}
	}
}

func TestRedirects(t *testing.T) {
	h := newTest(t, pages())
	for path, to := range map[string]string{"/docs/": "/docs", "/favicon.ico": "/favicon.svg"} {
		if w := do(h, "GET", path); w.Code/100 != 3 || w.Header().Get("Location") != to {
			t.Errorf("%s: %d to %q", path, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestNothingOutsideTheAssets(t *testing.T) {
	h := newTest(t, pages())
	for _, path := range []string{
		"/assets/../index.html", "/assets/../../web.go", "/assets//etc/passwd", "/assets/./app-1a2b.js",
		"/assets/app-1a2b.js/", "/assets/app-1a2b.js.br", "/assets/", "/assets", "/assets/\x00", `/assets/..\index.html`,
		"/../index.html", "//index.html", "/watch/../index.html", "/watch/%2e%2e", "/assets/app-1a2b.js\n",
	} {
		if w := do(h, "GET", path); w.Code != 404 {
			t.Errorf("%q: %d %q", path, w.Code, w.Body)
		}
	}
}

func TestPlaceholder(t *testing.T) {
	all := pages()
	h := newTest(t, fstest.MapFS{"placeholder.html": all["placeholder.html"]})
	for _, path := range []string{"/", "/watch/pb_1", "/docs", "/nope"} {
		if w := do(h, "GET", path); w.Code != 503 || !strings.Contains(w.Body.String(), "not built") {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
}

func TestHostileBuild(t *testing.T) {
	for _, csp := range []string{`{`, `{"styles":["'unsafe-inline'"]}`, `{"styles":["sha256-x; script-src *"]}`} {
		files := pages()
		files["csp.json"] = &fstest.MapFile{Data: []byte(csp)}
		if _, err := newHandler(files); err == nil {
			t.Errorf("csp.json %s was taken", csp)
		}
	}
}

// TestEmbedded looks at what is really in this binary, built or not.
func TestEmbedded(t *testing.T) {
	made, err := New()
	if err != nil {
		t.Fatal(err)
	}
	h := made.(*handler)
	if !h.built {
		if w := do(h, "GET", "/"); w.Code != 503 || !strings.Contains(w.Body.String(), "make build") {
			t.Errorf("without pages: %d %q", w.Code, w.Body)
		}
		t.Skip("the pages are not built: run make build to test them too")
	}
	inline := regexp.MustCompile(`(?i)<script(?:[^>]*)>\s*[^<\s]|<style|\son\w+=|\sstyle=|javascript:`)
	link := regexp.MustCompile(`(?:src|href)="([^"]+)"`)
	for _, path := range []string{"/", "/watch/pb_1", "/docs", "/nope"} {
		body := do(h, "GET", path).Body.String()
		if bad := inline.FindString(body); bad != "" {
			t.Errorf("%s has inline code: %q", path, bad)
		}
		for _, m := range link.FindAllStringSubmatch(body, -1) {
			if w := do(h, "GET", m[1]); w.Code != 200 {
				t.Errorf("%s names %s: %d", path, m[1], w.Code)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.index)) {
		f := h.index[name]
		if strings.HasPrefix(name, "assets/") && f.variants[len(f.variants)-1].size > 2000 && len(f.variants) != 3 {
			t.Errorf("%s has %d forms, want br, gzip and plain", name, len(f.variants))
		}
	}
	plain := do(h, "GET", "/").Body.String()
	z, err := gzip.NewReader(do(h, "GET", "/", "Accept-Encoding", "gzip").Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != plain {
		t.Errorf("gzip form differs from the plain one (%v)", err)
	}
	if csp := do(h, "GET", "/watch/pb_1").Header().Get("Content-Security-Policy"); strings.Count(csp, "sha256-") < 5 {
		t.Errorf("the watch page's policy has too few style hashes: %s", csp)
	}
}

func BenchmarkPage(b *testing.B) {
	h, err := newHandler(pages())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		do(h, "GET", "/", "Accept-Encoding", "gzip, deflate, br")
	}
}
