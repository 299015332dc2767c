package hls

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// inBubble runs a test on a stream that has been live for a while.
func inBubble(t *testing.T, mode media.LatencyMode, cfg Config, test func(t *testing.T, r *rig, src *source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, cfg)
		defer r.close()
		r.publish(mode)
		src := newSource(t, mediatest.Options{})
		r.write(src.take(15*time.Second), nil)
		test(t, r, src)
	})
}

func TestBlockingReload(t *testing.T) {
	inBubble(t, media.LatencyLow, DefaultConfig(), func(t *testing.T, r *rig, src *source) {
		snap := r.rendition("v0").Snapshot()
		msn, part := snap.Position()
		next := fmt.Sprintf("%sv0/index.m3u8?_HLS_msn=%d&_HLS_part=%d", child, msn, part+1)
		whole := fmt.Sprintf("%sv0/index.m3u8?_HLS_msn=%d", child, msn)
		hint := child + "v0/" + snap.Hint
		list, segment, media := r.ask(next), r.ask(whole), r.ask(hint)
		if answered(list) != nil || answered(segment) != nil || answered(media) != nil {
			t.Fatal("a request for what is to come was answered")
		}
		r.write(src.take(600*time.Millisecond), nil)
		w := answered(list)
		if w == nil || w.Code != 200 || w.Header().Get("Cache-Control") != "public, max-age=3" {
			t.Fatalf("next part: %v", w)
		}
		if !strings.Contains(w.Body.String(), snap.Hint) {
			t.Errorf("the playlist does not list what was hinted at:\n%s", w.Body)
		}
		if w := answered(media); w == nil || w.Code != 200 || w.Header().Get("Content-Type") != "video/mp4" ||
			w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || w.Body.Len() == 0 {
			t.Fatalf("hinted part: %v", w)
		}
		if answered(segment) != nil {
			t.Fatal("an incomplete segment was listed")
		}
		r.write(src.take(2*time.Second), nil)
		if w := answered(segment); w == nil || !strings.Contains(w.Body.String(), fmt.Sprintf(".%d.m4s", msn)) {
			t.Fatalf("segment: %v", w)
		}
		for _, query := range []string{"", "?_HLS_msn=1", "?_HLS_msn=1&_HLS_part=9", next[strings.Index(next, "?"):], "?token=x&_HLS_skip=YES"} {
			if w := r.get(child + "v0/index.m3u8" + query); w.Code != 200 {
				t.Errorf("%q: %d", query, w.Code)
			}
		}
		if v := r.handler.Viewers(streamID); v != 1 {
			t.Errorf("%d viewers, want 1", v)
		}
		time.Sleep(16 * time.Second)
		if v := r.handler.Viewers(streamID); v != 0 {
			t.Errorf("%d viewers after the time-out", v)
		}
	})
}

// A part number after the last one of a segment means the first of the next segment.
func TestPartAfterTheLastIsTheNextSegments(t *testing.T) {
	inBubble(t, media.LatencyLow, DefaultConfig(), func(t *testing.T, r *rig, src *source) {
		last := r.rendition("v0").Snapshot().LastSequence()
		c := r.ask(fmt.Sprintf("%sv0/index.m3u8?_HLS_msn=%d&_HLS_part=5", child, last+1))
		for range 200 {
			r.write(src.take(30*time.Millisecond), nil)
			snap := r.rendition("v0").Snapshot()
			there := snap.LastSequence() == last+1 && snap.Open != nil
			if w := answered(c); there != (w != nil) {
				t.Fatalf("answered %v, segment %d complete and next part there: %v", w != nil, last+1, there)
			} else if w != nil {
				return
			}
		}
		t.Fatal("never answered")
	})
}

func TestH4BlockingAbuse(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxWaiters = 100
	inBubble(t, media.LatencyLow, cfg, func(t *testing.T, r *rig, src *source) {
		snap := r.rendition("v0").Snapshot()
		last := snap.LastSequence()
		for _, tt := range []struct {
			query string
			code  int // 0: held
		}{
			{"_HLS_part=0", 400}, {"_HLS_msn=-1", 400}, {"_HLS_msn=", 400}, {"_HLS_msn=x", 400}, {"_HLS_msn=1e3", 400},
			{"_HLS_msn=99999999999999999999", 400}, {"_HLS_msn=9223372036854775807", 400}, {"_HLS_part=99999999999&_HLS_msn=1", 400},
			{fmt.Sprintf("_HLS_msn=%d", last+10_000), 400},
			{fmt.Sprintf("_HLS_msn=%d", last+3), 400},
			{fmt.Sprintf("_HLS_msn=%d&_HLS_part=1000000", last+1), 400},
			{fmt.Sprintf("_HLS_msn=%d&_HLS_part=11", last+1), 400},
			{fmt.Sprintf("_HLS_msn=%d&_HLS_part=8", last+2), 400},
			{fmt.Sprintf("_HLS_msn=%d", last+2), 0},
			{fmt.Sprintf("_HLS_msn=%d&_HLS_part=6", last+1), 0},
			{fmt.Sprintf("_HLS_msn=%d&_HLS_part=6", last+2), 0},
			{fmt.Sprintf("_HLS_msn=%d&_HLS_part=1000000", last), 200},
			{strings.Repeat("a=b&", 4000), 200},
		} {
			w := answered(r.ask(child + "v0/index.m3u8?" + tt.query))
			switch {
			case w == nil && tt.code != 0:
				t.Errorf("%.60s: held, want %d", tt.query, tt.code)
			case w != nil && w.Code != tt.code:
				t.Errorf("%.60s: %d, want %d", tt.query, w.Code, tt.code)
			case w != nil && w.Code == 400 && (w.Header().Get("Content-Type") != "application/problem+json" || !json.Valid(w.Body.Bytes())):
				t.Errorf("%.60s: not a problem: %s", tt.query, w.Body)
			}
		}
		// The bound on waiters: whoever is over it gets the present state at once, which
		// must not be cached under the URL of the one to come.
		next := fmt.Sprintf("%sv0/index.m3u8?_HLS_msn=%d", child, last+1)
		var over *httptest.ResponseRecorder
		held := []chan *httptest.ResponseRecorder{}
		for range 101 {
			c := r.ask(next)
			if over = answered(c); over != nil {
				break
			}
			held = append(held, c)
		}
		if over == nil || over.Code != 200 || over.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("the waiter over the bound got %v", over)
		}
		if w := r.get(child + "v0/" + snap.Hint); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("hinted part over the bound: %d", w.Code)
		}
		// No media: three target durations, and the playlist as it is.
		time.Sleep(3*3*time.Second - time.Millisecond)
		if answered(held[0]) != nil {
			t.Error("answered too early")
		}
		time.Sleep(time.Millisecond)
		for _, c := range held {
			if w := answered(c); w == nil || w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" {
				t.Fatalf("after three target durations: %v", w)
			}
		}
	})
}

func TestH4TenThousandWaiters(t *testing.T) {
	inBubble(t, media.LatencyLow, DefaultConfig(), func(t *testing.T, r *rig, src *source) {
		msn, part := r.rendition("v0").Snapshot().Position()
		url := fmt.Sprintf("%sv0/index.m3u8?_HLS_msn=%d&_HLS_part=%d", child, msn, part+1)
		const n = 10_000
		before := memory()
		done := make(chan int, n)
		for range n {
			req := httptest.NewRequest(http.MethodGet, url, nil)
			go func() {
				w := &discard{header: http.Header{}}
				r.handler.ServeHTTP(w, req)
				done <- w.code
			}()
		}
		synctest.Wait()
		if each := int64(memory()-before) / n; each > 20<<10 {
			t.Errorf("a waiter costs %d bytes", each)
		}
		r.write(src.take(600*time.Millisecond), nil)
		for range n {
			if code := <-done; code != 200 {
				t.Fatalf("code %d", code)
			}
		}
	})
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

type discard struct {
	header http.Header
	code   int
	bytes  int
}

func (d *discard) Header() http.Header  { return d.header }
func (d *discard) WriteHeader(code int) { d.code = code }
func (d *discard) Write(b []byte) (int, error) {
	d.bytes += len(b)
	return len(b), nil
}

func TestWaitersGetTheEnd(t *testing.T) {
	inBubble(t, media.LatencyLow, DefaultConfig(), func(t *testing.T, r *rig, _ *source) {
		snap := r.rendition("v0").Snapshot()
		list := r.ask(fmt.Sprintf("%sv0/index.m3u8?_HLS_msn=%d", child, snap.LastSequence()+2))
		dead := r.ask(child + "v0/" + partAfter(snap.Hint))
		hint := r.ask(child + "v0/" + snap.Hint)
		if w := answered(dead); w == nil || w.Code != 404 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("a name nobody was told: %v", w)
		}
		r.end()
		if w := answered(list); w == nil || w.Code != 200 || !strings.HasSuffix(w.Body.String(), "#EXT-X-ENDLIST\n") {
			t.Errorf("waiter at the end: %v", w)
		}
		if w := answered(hint); w == nil {
			t.Error("the hinted part is still waited for")
		}
		if w := r.get(child + "v0/index.m3u8?_HLS_msn=9999999999&_HLS_part=3&_HLS_skip=YES"); w.Code != 200 {
			t.Errorf("directives after the end: %d", w.Code)
		}
		if w := r.get("/hls/" + playbackID + "/index.m3u8"); w.Code != 200 {
			t.Errorf("multivariant after the end: %d", w.Code)
		}
		time.Sleep(61 * time.Second)
		for _, path := range []string{"/hls/" + playbackID + "/index.m3u8", child + "v0/index.m3u8"} {
			if w := r.get(path); w.Code != 404 || !strings.Contains(w.Body.String(), "not live") {
				t.Errorf("%s after it was forgotten: %d %s", path, w.Code, w.Body)
			}
		}
	})
}

// partAfter returns the name of the part after one.
func partAfter(name string) string {
	var epoch string
	var n int
	if _, err := fmt.Sscanf(strings.ReplaceAll(name, ".", " "), "%s %d", &epoch, &n); err != nil {
		panic(err)
	}
	return fmt.Sprintf("%s.%d.m4s", epoch, n+1)
}

// While the publisher is away, playlists stay as they are and nothing is an error.
func TestLingeringIsNoError(t *testing.T) {
	inBubble(t, media.LatencyLow, DefaultConfig(), func(t *testing.T, r *rig, _ *source) {
		r.pub.End(context.DeadlineExceeded) // lost
		for range 50 {
			time.Sleep(time.Second)
			for _, name := range []string{"v0", "a0"} {
				w := r.get(child + name + "/index.m3u8")
				if w.Code != 200 || strings.Contains(w.Body.String(), "ENDLIST") {
					t.Fatalf("%s: %d\n%s", name, w.Code, w.Body)
				}
			}
		}
		time.Sleep(time.Minute)
		if w := r.get(child + "v0/index.m3u8"); w.Code != 200 || !strings.Contains(w.Body.String(), "ENDLIST") {
			t.Errorf("after the reconnect window: %d", w.Code)
		}
	})
}

// The part that was hinted at before a change of parameters never comes to be.
func TestHintDiesAtABorder(t *testing.T) {
	inBubble(t, media.LatencyLow, DefaultConfig(), func(t *testing.T, r *rig, src *source) {
		r.write(src.take(200*time.Millisecond), nil)
		snap := r.rendition("v0").Snapshot()
		hinted, after := r.ask(child+"v0/"+snap.Hint), ""
		other := newSource(t, mediatest.Options{Width: 320, Height: 180, Offset: 16 * time.Second, Start: time.Now().Add(-16 * time.Second)})
		r.write(other.take(50*time.Millisecond), func() {
			if now := r.rendition("v0").Snapshot(); now != snap {
				after = string(new(Handler).playlist(r.stream(), r.rendition("v0"), now, 0, false).bytes)
			}
		})
		if w := answered(hinted); w == nil || w.Code != 200 && w.Code != 404 {
			t.Fatalf("the hinted part: %v", w)
		}
		if strings.Contains(after, "PRELOAD-HINT") && !strings.Contains(after, "DISCONTINUITY\n") {
			t.Errorf("a hint at the border:\n%s", after)
		}
	})
}

func TestConnectingStreamIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, DefaultConfig())
		defer r.close()
		if w := r.get("/hls/" + playbackID + "/index.m3u8"); w.Code != 404 {
			t.Errorf("no stream: %d", w.Code)
		}
		if w := r.get("/hls/unknown/index.m3u8"); w.Code != 404 || !strings.Contains(w.Body.String(), "no such playback id") {
			t.Errorf("no id: %d %s", w.Code, w.Body)
		}
		r.publish(media.LatencyLow)
		src := newSource(t, mediatest.Options{})
		r.write(src.take(100*time.Millisecond), nil)
		first, list := r.ask("/hls/"+playbackID+"/index.m3u8"), r.ask(child+"v0/index.m3u8")
		if answered(first) != nil || answered(list) != nil {
			t.Fatal("answered before there was a segment")
		}
		r.write(src.take(2*time.Second), nil)
		w := answered(first)
		if w == nil || w.Code != 200 || !strings.Contains(w.Body.String(), `CODECS="avc1.`) {
			t.Fatalf("multivariant: %v", w)
		}
		if w := answered(list); w == nil || w.Code != 200 {
			t.Fatalf("playlist: %v", w)
		}
	})
	synctest.Test(t, func(t *testing.T) { // media does not come
		r := newRig(t, DefaultConfig())
		defer r.close()
		r.publish(media.LatencyLow)
		synctest.Wait()
		first := r.ask("/hls/" + playbackID + "/index.m3u8")
		time.Sleep(6 * time.Second)
		if w := answered(first); w == nil || w.Code != 503 || w.Header().Get("Retry-After") != "1" {
			t.Errorf("a stream without media: %v", w)
		}
	})
}
