package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// media is an asset with the bytes of one segment.
func mediaRig(t testing.TB) (r *rig, path string, data []byte) {
	v0 := add(rendition("v0", video(1280, 720, "avc1.64001f")), 3, 2*time.Second)
	a0 := add(rendition("a0", audio(media.AAC, "mp4a.40.2", "")), 3, 2*time.Second)
	alter(v0, 2, func(s *record.Segment) { s.Gap = true })
	data = bytes.Repeat([]byte("0123456789"), 100)
	alter(v0, 1, func(s *record.Segment) { s.Size = int64(len(data)) })
	r = newRig(t, snapshot(record.Ready, v0, a0))
	r.lib.objects[assetID+"/v0/"+v0.Segments.Name(1)] = data
	return r, child + "v0/" + v0.Segments.Name(1), data
}

func TestSegments(t *testing.T) {
	r, path, data := mediaRig(t)
	for _, tt := range []struct {
		spec, contentRange string
		status             int
		body               []byte
	}{
		{"", "", 200, data},
		{"bytes=0-", "bytes 0-999/1000", 206, data},
		{"bytes=10-14", "bytes 10-14/1000", 206, []byte("01234")},
		{"bytes=-3", "bytes 997-999/1000", 206, []byte("789")},
		{"bytes=1-2,5-6", "", 200, data},
		{"lines=1-2", "", 200, data},
		{"bytes=1000-", "bytes */1000", 416, nil},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := ask(t, r.h, method, path, "Range", tt.spec)
			head := w.Header()
			if w.Code != tt.status || head.Get("Content-Range") != tt.contentRange || head.Get("Accept-Ranges") != "bytes" || head.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s %q: %d %v", method, tt.spec, w.Code, head)
			}
			switch {
			case method == http.MethodHead && w.Body.Len() > 0:
				t.Errorf("a HEAD request got %d bytes", w.Body.Len())
			case tt.body == nil:
				if head.Get("Cache-Control") != "no-store" || head.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%v", head)
				}
			case head.Get("Content-Type") != "video/mp4" || head.Get("Cache-Control") != "public, max-age=31536000, immutable" || head.Get("X-Content-Type-Options") != "nosniff":
				t.Errorf("%v", head)
			case method == http.MethodGet && !bytes.Equal(w.Body.Bytes(), tt.body):
				t.Errorf("%q: %d bytes, not %d", tt.spec, w.Body.Len(), len(tt.body))
			}
		}
	}
	// What the client has a part of may be of another time.
	if w := r.get(path, "Range", "bytes=1-2", "If-Range", `"x"`); w.Code != 200 {
		t.Errorf("with If-Range: %d", w.Code)
	}
	if w := r.get(child+"a0/i1a2b3c.a0.0.mp4", "Range", "bytes=0-3"); w.Code != 206 || w.Body.String() != "init" || w.Header().Get("Content-Type") != "audio/mp4" {
		t.Errorf("init: %d %q %v", w.Code, w.Body, w.Header())
	}
}

func TestErrorsAreTold(t *testing.T) {
	r, path, _ := mediaRig(t)
	missing := child + "v0/" + r.lib.s.Renditions[0].Segments.Name(0)
	gap := child + "v0/" + r.lib.s.Renditions[0].Segments.Name(2)
	for _, tt := range []struct {
		path   string
		status int
		words  string
	}{
		{"/hls/", 404, "nothing under this address"},
		{base + "other.m3u8", 404, "nothing under this address"},
		{"/hls/a.b/index.m3u8", 404, "nothing under this address"},
		{child + "v0/" + strings.Repeat("a", 65), 404, "nothing under this address"},
		{"/hls/pb_none/index.m3u8", 404, "no such playback id"},
		{"/hls/pb_closed/index.m3u8", 403, "needs a token"},
		{"/hls/pb_deleted/index.m3u8", 404, "no such recording"},
		{child + "v9/index.m3u8", 404, "no such rendition"},
		{child + "v0/x.m4s", 404, "no such segment"},
		{gap, 404, "no such segment"},
		{missing, 404, "missing in its storage"},
	} {
		w := r.get(tt.path)
		var body struct {
			Status int
			Detail string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != tt.status || body.Status != tt.status || !strings.Contains(body.Detail, tt.words) || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", tt.path, w.Code, w.Body)
		}
	}
	r.lib.err = errors.New("secret host refused")
	if w := r.get(path, "Range", "bytes=1-2"); w.Code != 503 || w.Header().Get("Retry-After") != "1" || w.Header().Get("Content-Range") != "" || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("a dead storage: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := ask(t, r.h, http.MethodPost, path); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
	if w := ask(t, r.h, http.MethodOptions, path); w.Code != 204 || !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "Range") {
		t.Errorf("OPTIONS: %d %v", w.Code, w.Header())
	}
	// A broadcast that is just beginning, and one that ended before there was anything.
	for state, status := range map[record.State]int{record.Recording: 503, record.Ready: 404} {
		r.lib.s = snapshot(state, rendition("v0", video(1280, 720, "avc1.64001f")))
		for _, path := range []string{base + "index.m3u8", child + "v0/index.m3u8", child + "v0/iframes.m3u8"} {
			if w := r.get(path); w.Code != status {
				t.Errorf("%s, %s: %d", state, path, w.Code)
			}
		}
	}
}

// Who gets less than was promised sees it: the connection ends.
func TestASegmentThatEndsEarlyIsNotTakenForWhole(t *testing.T) {
	r, path, _ := mediaRig(t)
	r.lib.short = true
	srv := httptest.NewServer(r.h)
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a segment ended with %v", err)
	}
	srv.Close()
	r.counts("onair_replay_read_failures_total", 1)
}

// counts checks the sum of a metric.
func (r *rig) counts(name string, want float64) {
	r.t.Helper()
	all, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	var got float64
	for _, f := range all {
		if f.GetName() == name {
			for _, m := range f.Metric {
				got += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	if got != want {
		r.t.Errorf("%s is %v, want %v", name, got, want)
	}
}

func TestPlaylistsAreRevalidated(t *testing.T) {
	r, _, _ := mediaRig(t)
	r.lib.s.State = record.Recording
	path := child + "v0/index.m3u8"
	tags := map[string]bool{}
	for _, encoding := range []string{"", "gzip"} {
		first := r.get(path, "Accept-Encoding", encoding)
		tag := first.Header().Get("Etag")
		if tags[tag] || first.Header().Get("Vary") != "Accept-Encoding" || first.Header().Get("Content-Encoding") != encoding || first.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%v", first.Header())
		}
		tags[tag] = true
		if w := r.get(path, "Accept-Encoding", encoding, "If-None-Match", `"x", W/`+tag); w.Code != 304 || w.Body.Len() > 0 || w.Header().Get("Etag") != tag {
			t.Errorf("unchanged: %d, %d bytes, %v", w.Code, w.Body.Len(), w.Header())
		}
		if w := ask(t, r.h, http.MethodHead, path, "Accept-Encoding", encoding); w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("Content-Length") != first.Header().Get("Content-Length") {
			t.Errorf("HEAD: %d, %v", w.Code, w.Header())
		}
		state := *r.lib.s
		state.State = record.Ready
		r.lib.s = &state
		if w := r.get(path, "Accept-Encoding", encoding, "If-None-Match", tag); w.Code != 200 || w.Header().Get("Etag") == tag {
			t.Errorf("changed: %d, %v", w.Code, w.Header())
		}
		state2 := state
		state2.State = record.Recording
		r.lib.s = &state2
	}
	w := r.get(base + "index.m3u8")
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Etag") != "" || w.Body.String() == r.get(base+"index.m3u8").Body.String() {
		t.Errorf("two viewers share a session: %v", w.Header())
	}
}

func TestCache(t *testing.T) {
	m := newMetrics("test", nil)
	c := newCache(10_000, m.cache, m.evicted)
	made := 0
	get := func(name string, state stamp, size int64) {
		t.Helper()
		if v, err := c.get(key{"as_1", name, ""}, state, func() (any, int64, error) { made++; return name, size, nil }); err != nil || v != name {
			t.Errorf("%v, %v", v, err)
		}
	}
	sum := func(want int) {
		t.Helper()
		var size int64
		for at := c.order.Front(); at != nil; at = at.Next() {
			size += at.Value.(*entry).size
		}
		if size != c.size || size > c.limit || len(c.entries) != c.order.Len() || made != want {
			t.Errorf("%d bytes, said to be %d; %d entries, %d in order; made %d, not %d", size, c.size, len(c.entries), c.order.Len(), made, want)
		}
	}
	for range 3 {
		get("a", stamp{}, 4000)
		get("b", stamp{}, 4000)
	}
	sum(2)
	get("a", stamp{bytes: 1}, 4000)
	sum(3)
	get("c", stamp{}, 4000) // b was not asked for the longest time
	get("a", stamp{bytes: 1}, 4000)
	sum(4)
	get("b", stamp{}, 4000)
	sum(5)
	get("large", stamp{}, 20_000)
	get("large", stamp{}, 20_000)
	sum(7)
	// An error is not kept.
	for range 2 {
		_, err := c.get(key{name: "bad"}, stamp{}, func() (any, int64, error) {
			made++
			return nil, 0, fault.New(fault.Unavailable, "x", "", "y", "")
		})
		if !fault.Is(err, fault.Unavailable) {
			t.Error(err)
		}
	}
	sum(9)
}

// Many who ask at once, while the recording grows, get whole playlists, each made once.
func TestManyViewersAtOnce(t *testing.T) {
	whole := add(rendition("v0", video(1280, 720, "avc1.64001f")), 50, 2*time.Second)
	r := newRig(t, nil)
	var wg sync.WaitGroup
	step := make(chan struct{})
	for n := 1; n <= whole.Segments.Len(); n++ {
		now := *whole
		now.Segments = whole.Segments.Slice(0, n)
		r.lib.mu.Lock()
		r.lib.s = snapshot(record.Recording, &now)
		r.lib.mu.Unlock()
		if n == 1 {
			for range 8 {
				wg.Go(func() {
					for range step {
						text := r.get(child + "v0/index.m3u8").Body.String()
						if strings.Count(text, "#EXTINF") != strings.Count(text, ".m4s\n") || !strings.HasPrefix(text, "#EXTM3U") {
							t.Errorf("not a playlist: %s", text)
						}
					}
				})
			}
		}
		for range 8 {
			step <- struct{}{}
		}
	}
	close(step)
	wg.Wait()
}

// The segments of a clip lie in the asset that it was cut from.
func TestSegmentsOfAnotherAsset(t *testing.T) {
	r, path, data := mediaRig(t)
	alter(r.lib.s.Renditions[0], 1, func(s *record.Segment) { s.Asset = "as_source" })
	seg := r.lib.s.Renditions[0].Segments.At(1)
	r.lib.objects["as_source/v0/"+seg.Name] = data
	delete(r.lib.objects, assetID+"/v0/"+seg.Name)
	if w := r.get(path); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), data) {
		t.Errorf("over HLS: %d %s", w.Code, w.Body)
	}
	if w := ask(t, r.dash(), http.MethodGet, dashChild+"v0/i1a2b3c.v0.0-1772366401.m4s"); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), data) {
		t.Errorf("over DASH: %d %s", w.Code, w.Body)
	}
}
