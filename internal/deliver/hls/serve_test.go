package hls

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"onair/internal/media"
)

func TestH8Ranges(t *testing.T) {
	inBubble(t, media.LatencyLow, DefaultConfig(), func(t *testing.T, r *rig, _ *source) {
		snap := r.rendition("v0").Snapshot()
		seg := snap.Segments[1]
		path := child + "v0/" + seg.Name
		whole := r.get(path).Body.Bytes()
		size := len(whole)
		if size != int(seg.Blob.Size) || size < 10_000 {
			t.Fatalf("segment of %d bytes, Size %d", size, seg.Blob.Size)
		}
		many := "bytes=" + strings.Repeat("0-1,", 999) + "5-6"
		for _, tt := range []struct {
			header     string
			code       int
			start, end int
		}{
			{"bytes=0-0", 206, 0, 1},
			{"bytes=0-", 206, 0, size},
			{"bytes=100-199", 206, 100, 200},
			{fmt.Sprintf("bytes=%d-%d", len(seg.Parts[0].Blob.Chunks[0])-3, len(seg.Parts[0].Blob.Chunks[0])+2), 206,
				len(seg.Parts[0].Blob.Chunks[0]) - 3, len(seg.Parts[0].Blob.Chunks[0]) + 3},
			{"bytes=-1", 206, size - 1, size},
			{"bytes=-99999999", 206, 0, size},
			{"bytes=5-99999999", 206, 5, size},
			{"bytes=5-9223372036854775808", 206, 5, size},
			{"bytes=0-99999999999999999999999999", 206, 0, size},
			{fmt.Sprintf("bytes=%d-", size-1), 206, size - 1, size},
			{fmt.Sprintf("bytes=%d-", size), 416, 0, 0},
			{"bytes=-0", 416, 0, 0},
			{"bytes=9223372036854775808-", 416, 0, 0},
			{"bytes=9223372036854775807-9223372036854775807", 416, 0, 0},
			{many, 200, 0, size},
			{"bytes=0-1,5-6", 200, 0, size},
			{"bytes=5-1", 200, 0, size},
			{"bytes=", 200, 0, size}, {"bytes=-", 200, 0, size}, {"bytes=a-b", 200, 0, size}, {"bytes=--5", 200, 0, size},
			{"items=0-1", 200, 0, size}, {"0-1", 200, 0, size}, {"bytes=0x1-2", 200, 0, size},
		} {
			w := r.get(path, "Range", tt.header)
			if w.Code != tt.code {
				t.Errorf("%.60s: %d, want %d", tt.header, w.Code, tt.code)
				continue
			}
			if w.Code == 416 {
				if w.Header().Get("Content-Range") != fmt.Sprintf("bytes */%d", size) {
					t.Errorf("%.60s: Content-Range %q", tt.header, w.Header().Get("Content-Range"))
				}
				continue
			}
			if !bytes.Equal(w.Body.Bytes(), whole[tt.start:tt.end]) || w.Header().Get("Content-Length") != fmt.Sprint(tt.end-tt.start) {
				t.Errorf("%.60s: %d bytes, Content-Length %s, want %d", tt.header, w.Body.Len(), w.Header().Get("Content-Length"), tt.end-tt.start)
			}
			if want := fmt.Sprintf("bytes %d-%d/%d", tt.start, tt.end-1, size); tt.code == 206 && w.Header().Get("Content-Range") != want {
				t.Errorf("%.60s: Content-Range %q, want %q", tt.header, w.Header().Get("Content-Range"), want)
			}
		}
	})
}

func TestHeaders(t *testing.T) {
	inBubble(t, media.LatencyLow, DefaultConfig(), func(t *testing.T, r *rig, _ *source) {
		v, a := r.rendition("v0").Snapshot(), r.rendition("a0").Snapshot()
		for _, tt := range []struct {
			path, mime, cache string
			code              int
		}{
			{"/hls/" + playbackID + "/index.m3u8", "application/vnd.apple.mpegurl", "no-store", 200},
			{child + "v0/index.m3u8", "application/vnd.apple.mpegurl", "no-cache", 200},
			{child + "v0/" + v.Segments[0].Name, "video/mp4", "public, max-age=31536000, immutable", 200},
			{child + "v0/" + v.Segments[0].Init.Name, "video/mp4", "public, max-age=31536000, immutable", 200},
			{child + "a0/" + a.Segments[0].Parts[0].Name, "audio/mp4", "public, max-age=31536000, immutable", 200},
			{child + "v0/s1.m4s", "application/problem+json", "no-store", 404},
			{child + "v7/index.m3u8", "application/problem+json", "no-store", 404},
			{"/hls/" + playbackID + "/", "application/problem+json", "no-store", 404},
			{"/hls/" + playbackID, "application/problem+json", "no-store", 404},
			{"/hls/../../etc/passwd/index.m3u8", "application/problem+json", "no-store", 404},
			{"/hls/" + strings.Repeat("x", 5000) + "/index.m3u8", "application/problem+json", "no-store", 404},
		} {
			get := r.get(tt.path)
			h := get.Header()
			if get.Code != tt.code || h.Get("Content-Type") != tt.mime || h.Get("Cache-Control") != tt.cache {
				t.Errorf("%.80s: %d %v", tt.path, get.Code, h)
			}
			if h.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(h.Get("Access-Control-Expose-Headers"), "Age") || h.Get("Age") != "" {
				t.Errorf("%.80s: CORS %v", tt.path, h)
			}
			if h.Get("Content-Length") != fmt.Sprint(get.Body.Len()) {
				t.Errorf("%.80s: Content-Length %s of %d", tt.path, h.Get("Content-Length"), get.Body.Len())
			}
			head := httptest.NewRecorder()
			r.handler.ServeHTTP(head, httptest.NewRequest(http.MethodHead, tt.path, nil))
			if head.Body.Len() != 0 || head.Code != get.Code || head.Header().Get("Content-Length") != h.Get("Content-Length") {
				t.Errorf("%.80s: HEAD %d, %d bytes, length %s", tt.path, head.Code, head.Body.Len(), head.Header().Get("Content-Length"))
			}
		}
		options := httptest.NewRecorder()
		r.handler.ServeHTTP(options, httptest.NewRequest(http.MethodOptions, child+"v0/index.m3u8", nil))
		if options.Code != 204 || options.Header().Get("Access-Control-Max-Age") != "86400" {
			t.Errorf("OPTIONS: %d %v", options.Code, options.Header())
		}
		post := httptest.NewRecorder()
		r.handler.ServeHTTP(post, httptest.NewRequest(http.MethodPost, child+"v0/index.m3u8", nil))
		if post.Code != 405 || post.Header().Get("Allow") == "" {
			t.Errorf("POST: %d", post.Code)
		}
	})
}

func TestGzipOnlyWhenAsked(t *testing.T) {
	inBubble(t, media.LatencyLow, DefaultConfig(), func(t *testing.T, r *rig, _ *source) {
		plain := r.get(child + "v0/index.m3u8")
		for _, tt := range []struct {
			accept string
			zip    bool
		}{
			{"gzip", true}, {"br;q=1.0, gzip;q=0.5", true}, {"*", true}, {"deflate, gzip , br", true},
			{"", false}, {"br", false}, {"gzip;q=0", false}, {"gzip; q=0.0", false}, {"xgzip", false}, {"identity", false},
		} {
			w := r.get(child+"v0/index.m3u8", "Accept-Encoding", tt.accept)
			if zip := w.Header().Get("Content-Encoding") == "gzip"; zip != tt.zip || w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%q: gzip %v", tt.accept, zip)
			}
			body := io.Reader(w.Body)
			if tt.zip {
				z, err := gzip.NewReader(body)
				if err != nil {
					t.Fatal(err)
				}
				if w.Body.Len() > plain.Body.Len()/2 {
					t.Errorf("gzip makes %d of %d bytes", w.Body.Len(), plain.Body.Len())
				}
				body = z
			}
			if text, _ := io.ReadAll(body); string(text) != plain.Body.String() {
				t.Errorf("%q: another playlist", tt.accept)
			}
		}
		name := r.rendition("v0").Snapshot().Segments[0].Name
		if w := r.get(child+"v0/"+name, "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "" {
			t.Error("media was compressed")
		}
	})
}

// Polling what does not exist costs nothing that stays.
func TestPollingAMissingPlaylistKeepsNothing(t *testing.T) {
	inBubble(t, media.LatencyLow, DefaultConfig(), func(t *testing.T, r *rig, _ *source) {
		poll := func(n int) {
			for i := range n {
				for _, path := range []string{
					fmt.Sprintf("/hls/missing%d/index.m3u8", i), fmt.Sprintf("/hls/missing%d/s%d/v0/index.m3u8", i, i),
					fmt.Sprintf("%sx%d/index.m3u8", child, i), fmt.Sprintf("%sv0/p%d.m4s", child, i),
				} {
					w := &discard{header: http.Header{}}
					r.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
					if w.code != 404 {
						t.Fatalf("%s: %d", path, w.code)
					}
				}
			}
		}
		poll(100)
		before, goroutines := memory(), runtime.NumGoroutine()
		poll(25_000)
		if grown := int64(memory()) - int64(before); grown > 1<<20 {
			t.Errorf("100,000 requests leave %d bytes", grown)
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines, were %d", n, goroutines)
		}
	})
}

func TestViewersAreBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxSessions = 160
	inBubble(t, media.LatencyLow, cfg, func(t *testing.T, r *rig, _ *source) {
		for i := range 5000 {
			path := fmt.Sprintf("/hls/%s/%016x/v0/index.m3u8", playbackID, i)
			if w := r.get(path); w.Code != 200 {
				t.Fatalf("viewer %d: %d", i, w.Code)
			}
		}
		if n := r.handler.Viewers(streamID); n != 160 {
			t.Errorf("%d viewers, want the bound", n)
		}
		time.Sleep(16 * time.Second)
		r.get("/hls/" + playbackID + "/not-ours/v0/index.m3u8")
		r.get(child + "a0/index.m3u8")
		if n := r.handler.Viewers(streamID); n != 1 {
			t.Errorf("%d viewers, want 1", n)
		}
		if n := r.handler.Viewers("other"); n != 0 {
			t.Errorf("%d viewers of nothing", n)
		}
	})
}

func TestConfigIsValidated(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{}.Validate()
	for _, key := range []string{"hls-max-waiters", "hls-max-sessions", "hls-session-timeout", "hls-write-timeout"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not complained about: %v", key, err)
		}
	}
}
