package images

import (
	"bytes"
	"context"
	"fmt"
	"image/jpeg"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
)

const streamID, base = "ls_test", "/images/pb_test/"

type directory struct{}

func (directory) StreamOf(_ context.Context, id string) (string, error) {
	if id == "pb_test" {
		return streamID, nil
	}
	return "", fault.New(fault.NotFound, "play", id, "there is no such playback id", "")
}

// fakeTool makes pictures that say what they were made of.
type fakeTool struct {
	mu      sync.Mutex
	calls   []string
	running int
	most    int
	takes   time.Duration
	err     error
	// unknown has what it can make be looked for without end.
	unknown bool
}

// found is an ffmpeg that need not be looked for.
type found struct{ *ffmpeg.Tool }

func (f found) Formats(context.Context) ([]ffmpeg.PictureFormat, error) {
	return f.Tool.Formats(), nil
}

func (f *fakeTool) Formats(ctx context.Context) ([]ffmpeg.PictureFormat, error) {
	if f.unknown {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []ffmpeg.PictureFormat{ffmpeg.JPEG, ffmpeg.WebP}, nil
}

func (f *fakeTool) Picture(ctx context.Context, track *media.Track, units []*media.Packet, o ffmpeg.PictureOptions) ([]byte, error) {
	call := fmt.Sprintf("%s %dx%d of %dx%d, %d in rows of %d", o.Format, o.Width, o.Height, track.Width, track.Height, len(units), o.Columns)
	for _, u := range units {
		if !u.Key || u.Track != track || !bitstream.IsKey(track.Codec, u.Data) {
			return nil, fmt.Errorf("not a key frame: %d bytes", len(u.Data))
		}
	}
	f.mu.Lock()
	f.calls = append(f.calls, call)
	f.running++
	f.most = max(f.most, f.running)
	takes, err := f.takes, f.err
	f.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		err = ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	return []byte(call), err
}

func (f *fakeTool) made() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

type rig struct {
	t       *testing.T
	hub     *hub.Hub
	pub     *hub.Publication
	packer  *pack.Packer
	tool    *fakeTool
	handler *Handler
	stop    context.CancelFunc
	done    chan struct{}
}

func newRig(t *testing.T, tool Tool) *rig {
	log := slog.New(slog.DiscardHandler)
	h := hub.New(hub.DefaultConfig(), event.NewBus(), log, prometheus.NewRegistry())
	r := &rig{t: t, hub: h, packer: pack.New(pack.DefaultConfig(), h, log, prometheus.NewRegistry()), done: make(chan struct{})}
	r.handler = NewHandler(DefaultConfig(), r.packer, directory{}, tool, log, prometheus.NewRegistry())
	r.tool, _ = tool.(*fakeTool)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.done)
		if err := r.packer.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	return r
}

func (r *rig) close() {
	r.stop()
	<-r.done
	r.hub.Close(io.EOF)
}

func (r *rig) publish(mode media.LatencyMode) {
	r.t.Helper()
	pub, err := r.hub.Publish(streamID, hub.PublishOptions{Session: "s", LatencyMode: mode, Linger: time.Minute})
	if err != nil {
		r.t.Fatal(err)
	}
	r.pub = pub
}

// play publishes generated media as it is due; in a bubble.
func (r *rig) play(g *mediatest.Generator, d time.Duration) {
	r.t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); {
		p := g.Next()
		if d := time.Until(p.Arrival); d > 0 {
			time.Sleep(d) // the bubble's time
		}
		if err := r.pub.WritePacket(context.Background(), p); err != nil {
			r.t.Fatal(err)
		}
		synctest.Wait()
	}
}

func (r *rig) get(path string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodGet, base+path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	return w
}

func inBubble(t *testing.T, mode media.LatencyMode, test func(t *testing.T, r *rig, g *mediatest.Generator)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeTool{})
		defer r.close()
		r.publish(mode)
		test(t, r, mediatest.NewGenerator(mediatest.Options{Start: time.Now()}))
	})
}

func TestThumbnailIsMadeWhenAskedForAndNotTwice(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig, g *mediatest.Generator) {
		r.play(g, 12500*time.Millisecond)
		if r.tool.made() != 0 {
			t.Errorf("%d pictures were made for nobody", r.tool.made())
		}
		r.tool.takes = 300 * time.Millisecond
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if w := r.get("thumbnail.jpg"); w.Code != 200 || w.Body.String() != "jpeg 640x360 of 1280x720, 1 in rows of 1" {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		wg.Wait()
		if r.tool.made() != 1 {
			t.Errorf("it was made %d times for 20 at once", r.tool.made())
		}
		w := r.get("thumbnail.jpg")
		if w.Header().Get("Content-Type") != "image/jpeg" || w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("ETag") == "" {
			t.Errorf("header %v", w.Header())
		}
		if w := r.get("thumbnail.jpg", "If-None-Match", w.Header().Get("ETag")); w.Code != 304 || w.Body.Len() != 0 {
			t.Errorf("the same again: %d", w.Code)
		}
		// In a minute it is made anew often enough, and not oftener.
		before := r.tool.made()
		oldest := time.Duration(0)
		for range 60 {
			r.play(g, time.Second)
			w := r.get("thumbnail.jpg")
			var age int
			if _, err := fmt.Sscanf(w.Header().Get("Cache-Control"), "public, max-age=%d", &age); err != nil {
				t.Fatal(err)
			}
			oldest = max(oldest, 10*time.Second-time.Duration(age)*time.Second)
		}
		if n := r.tool.made() - before; n < 6 || n > 20 {
			t.Errorf("it was made %d times in a minute", n)
		}
		if oldest > 7*time.Second {
			t.Errorf("it was %v old", oldest)
		}
	})
}

func TestThumbnailSizes(t *testing.T) {
	inBubble(t, media.LatencyStandard, func(t *testing.T, r *rig, g *mediatest.Generator) {
		r.play(g, 15*time.Second)
		for query, want := range map[string]string{
			"?width=1": "160x90", "?width=160": "160x90", "?width=161": "320x180", "?width=5000": "1280x720", "": "640x360",
		} {
			if w := r.get("thumbnail.webp" + query); w.Code != 200 || !strings.HasPrefix(w.Body.String(), "webp "+want) || w.Header().Get("Content-Type") != "image/webp" {
				t.Errorf("%s: %d %s", query, w.Code, w.Body)
			}
		}
		for path, status := range map[string]int{
			"thumbnail.jpg?width=0": 400, "thumbnail.jpg?width=-5": 400, "thumbnail.jpg?width=x": 400, "thumbnail.jpg?width=99999999999999999999": 400,
			"thumbnail.avif": 501, "thumbnail.gif": 404, "thumbnail": 404, "": 404, "../../x": 404, "storyboard.webp": 404, "storyboard-1.jpg": 404,
		} {
			if w := r.get(path); w.Code != status {
				t.Errorf("%s: %d, want %d", path, w.Code, status)
			}
		}
	})
}

func TestSizes(t *testing.T) {
	for _, tt := range []struct{ w, h, ask, wantW, wantH int }{
		{1920, 1080, 640, 640, 360}, {640, 480, 1280, 640, 480}, {1080, 1920, 320, 320, 568}, {1080, 1920, 1280, 720, 1280},
		{100, 3000, 160, 42, 1280}, {3000, 100, 160, 160, 16}, {0, 0, 160, 16, 16},
	} {
		if w, h := size(&media.Track{Codec: media.H264, Width: tt.w, Height: tt.h}, tt.ask); w != tt.wantW || h != tt.wantH {
			t.Errorf("%dx%d in %d is %dx%d, want %dx%d", tt.w, tt.h, tt.ask, w, h, tt.wantW, tt.wantH)
		}
	}
}

var cue = regexp.MustCompile(`(?m)^(\d\d):(\d\d):(\d\d\.\d{3}) --> (\d\d:\d\d:\d\d\.\d{3})\n(storyboard-\d+\.jpg)#xywh=(\d+),(\d+),160,90$`)

func TestStoryboard(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig, g *mediatest.Generator) {
		r.play(g, 60*time.Second)
		w := r.get("storyboard.vtt")
		if w.Code != 200 || w.Header().Get("Content-Type") != "text/vtt; charset=utf-8" {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		// The generator's time begins at 0, pack's a second later: see X-MEDIA-ORIGIN.
		if !strings.HasPrefix(w.Body.String(), "WEBVTT\nX-MEDIA-ORIGIN=1999-12-31T23:59:59.000Z\n\n") {
			t.Errorf("index %.80q", w.Body)
		}
		s, _ := r.packer.Stream(streamID)
		segments := s.Renditions()[0].Snapshot().Segments
		cues := cue.FindAllStringSubmatch(w.Body.String(), -1)
		if len(cues) != len(segments) || len(cues) < 15 {
			t.Fatalf("%d cues for %d segments:\n%s", len(cues), len(segments), w.Body)
		}
		for i, c := range cues {
			if x, y := fmt.Sprint(i%10*160), fmt.Sprint(i/10*90); c[6] != x || c[7] != y {
				t.Errorf("cue %d is at %s,%s", i, c[6], c[7])
			}
			if from := segments[i].Start.Sub(s.AvailabilityStart()); stamp(from) != c[1]+":"+c[2]+":"+c[3] {
				t.Errorf("cue %d begins at %s, the segment at %v", i, c[0], from)
			}
		}
		sheet := r.get(cues[0][5])
		want := fmt.Sprintf("jpeg 160x90 of 1280x720, %d in rows of 10", len(cues))
		if sheet.Code != 200 || sheet.Body.String() != want || r.get("storyboard.jpg").Body.String() != want || r.tool.made() != 1 {
			t.Errorf("sheet %d %s, made %d", sheet.Code, sheet.Body, r.tool.made())
		}
		// The sheet that an index named stays for a while.
		r.play(g, 11*time.Second)
		again := r.get("storyboard.vtt")
		if again.Body.String() == w.Body.String() || r.get(cues[0][5]).Code != 200 || r.tool.made() != 2 {
			t.Errorf("after 11 s: made %d", r.tool.made())
		}
	})
}

// TestPlacesAreBounded: as many pictures are made at once as allowed, and who waits too
// long is told.
func TestPlacesAreBounded(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig, g *mediatest.Generator) {
		r.play(g, 12*time.Second)
		r.tool.takes = 4 * time.Second
		codes := make(chan int, 4)
		for _, width := range []string{"160", "320", "480", "640"} {
			go func() { codes <- r.get("thumbnail.jpg?width=" + width).Code }()
		}
		got := map[int]int{}
		for range 4 {
			got[<-codes]++
		}
		if got[200] != 2 || got[503] != 2 || r.tool.most != 1 {
			t.Errorf("answers %v, at most %d at once", got, r.tool.most)
		}
	})
}

func TestMakingGoesOnWithoutWhoAsked(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig, g *mediatest.Generator) {
		r.play(g, 12*time.Second)
		r.tool.takes = time.Second
		ctx, leave := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, base+"thumbnail.jpg", nil))
		}()
		synctest.Wait()
		leave()
		if w := r.get("thumbnail.jpg"); w.Code != 200 || r.tool.made() != 1 {
			t.Errorf("%d, made %d times", w.Code, r.tool.made())
		}
		<-done
	})
}

func TestFailuresAreTold(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig, g *mediatest.Generator) {
		if w := r.get("thumbnail.jpg"); w.Code != 404 {
			t.Errorf("before there is anything: %d", w.Code)
		}
		r.play(g, 12*time.Second)
		r.tool.err = fault.New(fault.Unsupported, "make a picture", "", "this ffmpeg does not decode it", "")
		for range 3 {
			if w := r.get("thumbnail.jpg"); w.Code != 501 || !strings.Contains(w.Body.String(), "does not decode") || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		if r.tool.made() != 1 {
			t.Errorf("it was tried %d times at once", r.tool.made())
		}
		r.tool.err = nil
		r.play(g, failureKept+time.Second)
		if w := r.get("thumbnail.jpg"); w.Code != 200 {
			t.Errorf("later: %d", w.Code)
		}
		req := httptest.NewRequest(http.MethodGet, "/images/pb_other/thumbnail.jpg", nil)
		w := httptest.NewRecorder()
		r.handler.ServeHTTP(w, req)
		if w.Code != 404 {
			t.Errorf("another id: %d", w.Code)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		r.publish(media.LatencyLow)
		r.play(mediatest.NewGenerator(mediatest.Options{Start: time.Now()}), 6*time.Second)
		if w := r.get("storyboard.vtt"); w.Code != 503 || !strings.Contains(w.Body.String(), "Install ffmpeg") {
			t.Errorf("without ffmpeg: %d %s", w.Code, w.Body)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeTool{})
		defer r.close()
		r.publish(media.LatencyLow)
		r.play(mediatest.NewGenerator(mediatest.Options{Start: time.Now(), NoVideo: true}), 8*time.Second)
		if w := r.get("thumbnail.jpg"); w.Code != 404 || !strings.Contains(w.Body.String(), "no key frame") {
			t.Errorf("sound only: %d %s", w.Code, w.Body)
		}
	})
}

func TestLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t)
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig, g *mediatest.Generator) {
		r.play(g, 6*time.Second)
		r.get("thumbnail.jpg")
	})
}

// TestRealPictures decodes what ffmpeg encoded: the picture is that of the newest key frame.
func TestRealPictures(t *testing.T) {
	program := mediatest.Program(t, "ffmpeg")
	tool, err := ffmpeg.Find(t.Context(), ffmpeg.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	// Red for 8 s, then blue for 4.
	clip, err := exec.CommandContext(t.Context(), program, "-v", "error", "-f", "lavfi", "-i", "color=red:s=320x180:r=10:d=8", "-f", "lavfi", "-i", "color=blue:s=320x180:r=10:d=4.5",
		"-filter_complex", "concat=n=2", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-g", "20", "-bf", "2", "-sc_threshold", "0", "-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, found{tool})
		defer r.close()
		r.publish(media.LatencyLow)
		source := fmp4.NewReader(bytes.NewReader(clip))
		begin := time.Now().Add(-13 * time.Second)
		for {
			p, err := source.ReadPacket(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			p.Arrival = begin.Add(p.Track.Duration(p.DTS))
			if err := r.pub.WritePacket(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()   // the packer has seen the stream
		r.pub.End(io.EOF) // so that all of it is packaged
		synctest.Wait()
		colour := func(data []byte, x, y int) string {
			m, err := jpeg.Decode(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			red, _, blue, _ := m.At(x, y).RGBA()
			return map[bool]string{true: "red", false: "blue"}[red > blue]
		}
		w := r.get("thumbnail.jpg?width=160")
		if w.Code != 200 || colour(w.Body.Bytes(), 80, 45) != "blue" {
			t.Errorf("thumbnail: %d", w.Code)
		}
		w = r.get("storyboard.vtt")
		cues := cue.FindAllStringSubmatch(w.Body.String(), -1)
		if len(cues) < 5 {
			t.Fatalf("%d cues in\n%s", len(cues), w.Body)
		}
		sheet := r.get(cues[0][5]).Body.Bytes()
		if colour(sheet, 80, 45) != "red" || colour(sheet, 160*(len(cues)-1)+80, 45) != "blue" {
			t.Errorf("the sheet shows other colours")
		}
	})
}

// TestNobodyWaitsForTheSearch: whoever goes away is not waited with until ffmpeg is found.
func TestNobodyWaitsForTheSearch(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig, g *mediatest.Generator) {
		r.play(g, 12500*time.Millisecond)
		picture := regexp.MustCompile(`picture-\d+\.jpg`).FindString(r.get(PlaylistName).Body.String())
		r.tool.unknown = true
		for _, name := range []string{"thumbnail.jpg", "storyboard.vtt", PlaylistName, picture} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			begin := time.Now()
			r.handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, base+name, nil).WithContext(ctx))
			if took := time.Since(begin); took != time.Second {
				t.Errorf("%s: whoever left after a second was waited with for %v", name, took)
			}
			cancel()
		}
	})
}
