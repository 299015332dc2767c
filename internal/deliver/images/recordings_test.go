package images

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/ffmpeg"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
	"onair/internal/record"
)

var (
	recordBegan  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	recordOrigin = recordBegan.Add(-10 * time.Second)
)

// firstNumber is the media sequence number of a recording's first segment.
const firstNumber = 1_772_366_403

// library is one recording, whose segments' key frames are their numbers.
type library struct {
	mu      sync.Mutex
	s       *record.Snapshot
	missing map[int64]bool
	opened  int
	most    int64 // bytes that were asked for at a time
}

func (l *library) Snapshot(asset string) (*record.Snapshot, bool) { return l.s, asset == "as_1" }

func (l *library) Open(_ context.Context, asset, rendition, name string, offset, length int64) (io.ReadCloser, error) {
	var number int64
	if _, err := fmt.Sscanf(name, rendition+".%d.m4s", &number); err != nil || asset != "as_1" || offset != 0 {
		return nil, fmt.Errorf("open %s/%s/%s at %d: %w", asset, rendition, name, offset, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened++
	l.most = max(l.most, length)
	if l.missing[number] {
		return nil, fault.New(fault.NotFound, "open", name, "there is no such object", "")
	}
	b := binary.BigEndian.AppendUint32(nil, 16)
	b = append(b, "moof12345678"...)
	b = append(b, 0, 0, 0, 0, 'm', 'd', 'a', 't')
	b = append(b, 0, 0, 0, 10, 0x65, 0x88) // a slice of an IDR picture
	b = binary.BigEndian.AppendUint64(b, uint64(number))
	return io.NopCloser(bytes.NewReader(append(b, make([]byte, 100)...)[:length])), nil
}

const recordedKey = 24 + 14 // bytes up to the end of the key frame

// recorder makes a recording of n segments of two seconds.
func recordingOf(n int, width int, edit ...func(i int, s *record.Segment)) *record.Snapshot {
	track := func() *media.Track {
		return &media.Track{Codec: media.H264, Timescale: 90_000, Width: width, Height: width * 9 / 16}
	}
	r := &record.Rendition{Name: "v0", Kind: media.Video, Inits: []*record.Init{{Name: "a", Track: track()}, {Name: "b", Track: track()}}}
	at := recordBegan
	var list []record.Segment
	for i := range n {
		seg := record.Segment{Sequence: firstNumber + int64(i), Start: at, Duration: 2 * time.Second, Size: 5000, KeySize: recordedKey, Independent: true}
		seg.Name = fmt.Sprintf("v0.%d.m4s", seg.Sequence)
		for _, e := range edit {
			e(i, &seg)
		}
		at = at.Add(seg.Duration)
		list = append(list, seg)
	}
	r.Segments = record.SegmentsOf(list)
	return &record.Snapshot{ID: "as_1", State: record.Ready, Began: recordBegan, Ended: at, Origin: recordOrigin, TargetDuration: 2, Renditions: []*record.Rendition{r}}
}

// numbers is a tool whose pictures are the numbers of the key frames, or are dark.
type numbers struct {
	fakeTool
	drawn [][]int64
	dark  func(number int64) bool
}

func (n *numbers) Picture(ctx context.Context, track *media.Track, units []*media.Packet, o ffmpeg.PictureOptions) ([]byte, error) {
	if _, err := n.fakeTool.Picture(ctx, track, units, o); err != nil {
		return nil, err
	}
	var list []int64
	for _, u := range units {
		list = append(list, int64(binary.BigEndian.Uint64(u.Data[6:]))-firstNumber)
	}
	n.mu.Lock()
	n.drawn = append(n.drawn, list)
	n.mu.Unlock()
	if n.dark != nil && o.Width == tileWidth {
		m := image.NewYCbCr(image.Rect(0, 0, 16, 16), image.YCbCrSubsampleRatio420)
		if !n.dark(list[0]) {
			for i := range m.Y {
				m.Y[i] = 235
			}
		}
		var b bytes.Buffer
		err := jpeg.Encode(&b, m, nil)
		return b.Bytes(), err
	}
	return fmt.Appendf(nil, "%s %dx%d %v", o.Format, o.Width, o.Height, list), nil
}

type recordRig struct {
	t    *testing.T
	lib  *library
	tool *numbers
	h    *Handler
}

func newRecordRig(t *testing.T, s *record.Snapshot) *recordRig {
	r := &recordRig{t: t, lib: &library{s: s, missing: map[int64]bool{}}, tool: &numbers{}}
	log := slog.New(slog.DiscardHandler)
	bus := hub.New(hub.DefaultConfig(), event.NewBus(), log, nil)
	t.Cleanup(func() { bus.Close(io.EOF) })
	r.h = NewHandler(DefaultConfig(), pack.New(pack.DefaultConfig(), bus, log, nil), directory{}, r.tool, log, prometheus.NewRegistry())
	r.h.SetRecordings(r.lib, func(_ context.Context, id string) (string, error) {
		switch id {
		case "pb_asset", "pb_test":
			return "as_1", nil
		case "pb_gone":
			return "as_2", nil
		case "pb_closed":
			return "", fault.New(fault.Forbidden, "watch", id, "it needs a token", "")
		}
		return "", fault.New(fault.NotFound, "watch", id, "there is no such playback id", "")
	}, nil)
	return r
}

func (r *recordRig) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, "/images/"+path, nil))
	return w
}

var recordedCue = regexp.MustCompile(`(?m)^(\d+:\d\d:\d\d\.\d{3}) --> (\d+:\d\d:\d\d\.\d{3})\n(storyboard-\S+\.jpg)#xywh=(\d+),(\d+),160,90$`)

type shownCue struct {
	from, to time.Duration
	sheet    string
	x, y     int
}

// cues reads an index.
func (r *recordRig) cues(path string) (out []shownCue) {
	r.t.Helper()
	w := r.get(path)
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/vtt; charset=utf-8" || !strings.HasPrefix(w.Body.String(), "WEBVTT\n") {
		r.t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	for _, m := range recordedCue.FindAllStringSubmatch(w.Body.String(), -1) {
		var c shownCue
		_, _ = fmt.Sscan(m[4], &c.x)
		_, _ = fmt.Sscan(m[5], &c.y)
		c.from, c.to, c.sheet = clockOf(m[1]), clockOf(m[2]), m[3]
		out = append(out, c)
	}
	if n := strings.Count(w.Body.String(), "-->"); n != len(out) {
		r.t.Fatalf("%d cues, %d understood in\n%s", n, len(out), w.Body)
	}
	return out
}

func clockOf(text string) time.Duration {
	var h, m int
	var s float64
	_, _ = fmt.Sscanf(text, "%d:%d:%f", &h, &m, &s)
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s*1000+.5)*time.Millisecond
}

// TestStoryboardOfRecordings: whatever the length, it covers all, has a bounded number of
// pictures, and each is where the index says.
func TestStoryboardOfRecordings(t *testing.T) {
	for _, n := range []int{1, 9, 10, 37, 100, 101, 399, 400, 401, 1000, 21_600} {
		r := newRecordRig(t, recordingOf(n, 640))
		list := r.cues("pb_asset/storyboard.vtt")
		if len(list) == 0 || len(list) > maxCells+1 || n > maxCells && len(list) < maxCells/2-1 || n < maxCells && len(list) != n {
			t.Errorf("%d segments: %d pictures", n, len(list))
		}
		if list[0].from != 0 || list[len(list)-1].to != time.Duration(n)*2*time.Second {
			t.Errorf("%d segments: from %v to %v", n, list[0].from, list[len(list)-1].to)
		}
		if r.tool.made() != 0 || r.lib.opened != 0 {
			t.Errorf("an index made pictures")
		}
		sheets := map[string]string{}
		for i, c := range list {
			if i > 0 && c.from != list[i-1].to {
				t.Fatalf("%d segments: cue %d begins at %v, the one before ends at %v", n, i, c.from, list[i-1].to)
			}
			if sheets[c.sheet] == "" {
				w := r.get("pb_asset/" + c.sheet)
				if w.Code != 200 || w.Header().Get("Content-Type") != "image/jpeg" {
					t.Fatalf("%s: %d %s", c.sheet, w.Code, w.Body)
				}
				sheets[c.sheet] = strings.Trim(w.Body.String()[strings.Index(w.Body.String(), "["):], "[]")
			}
			numbers := strings.Fields(sheets[c.sheet])
			place := c.y/90*columns + c.x/160
			if place >= len(numbers) || numbers[place] != fmt.Sprint(int64(c.from/(2*time.Second))) {
				t.Fatalf("%d segments: at %v the sheet %s has %v at %d", n, c.from, c.sheet, numbers, place)
			}
		}
		if len(sheets) > maxCells/maxTiles+1 || r.tool.made() != len(sheets) {
			t.Errorf("%d segments: %d sheets, %d made", n, len(sheets), r.tool.made())
		}
		if r.lib.most != recordedKey {
			t.Errorf("%d bytes of a segment were read for a key frame of %d", r.lib.most, recordedKey)
		}
		for _, name := range []string{"storyboard-1-1-1.jpg", "storyboard-3-1-1.jpg", "storyboard-1-2.jpg", "storyboard--1-2-3.jpg", "storyboard-65536-" + fmt.Sprint(firstNumber) + "-1.jpg", "storyboard-1-1-x.jpg"} {
			if w := r.get("pb_asset/" + name); w.Code != 404 {
				t.Errorf("%s: %d", name, w.Code)
			}
		}
	}
}

// TestStoryboardGrows: while it is recorded, what is full stays, and what is not full is made
// anew a row at a time.
func TestStoryboardGrows(t *testing.T) {
	r := newRecordRig(t, nil)
	full := map[string]bool{}
	names := map[string]bool{}
	for n := 1; n <= 230; n += 1 + n/30 {
		s := recordingOf(n, 640)
		s.State = record.Recording
		r.lib.s = s
		list := r.cues("pb_asset/storyboard.vtt")
		if end := list[len(list)-1].to; end != time.Duration(n)*2*time.Second {
			t.Fatalf("%d segments: it ends at %v", n, end)
		}
		here := map[string]bool{}
		for _, c := range list {
			here[c.sheet] = true
			names[c.sheet] = true
		}
		for name := range full {
			if !here[name] {
				t.Fatalf("%d segments: %s is not listed any more", n, name)
			}
		}
		for name := range here {
			if name != list[len(list)-1].sheet {
				full[name] = true
			}
		}
	}
	if len(names) > 3*(columns+maxTiles/columns) {
		t.Errorf("%d sheets were named", len(names))
	}
	for name := range names { // what an index named a while ago can still be had
		if w := r.get("pb_asset/" + name); w.Code != 200 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// TestStoryboardOfDamagedRecordings: parameters that change, gaps, segments without key frames
// and segments that are gone.
func TestStoryboardOfDamagedRecordings(t *testing.T) {
	s := recordingOf(90, 640, func(i int, seg *record.Segment) {
		seg.Init = int32(min(1, i/50))
		switch {
		case i >= 20 && i < 25:
			seg.Gap, seg.Size, seg.KeySize = true, 0, 0
		case i == 31 || i == 32:
			seg.KeySize = 0
		}
	})
	r := newRecordRig(t, s)
	r.lib.missing[firstNumber+40], r.lib.missing[firstNumber] = true, true
	list := r.cues("pb_asset/storyboard.vtt")
	if len(list) != 90-7 || list[20].from != 50*time.Second || list[19].to != 50*time.Second {
		t.Fatalf("%d pictures, %+v", len(list), list[19:21])
	}
	sheets := map[string]int{}
	for _, c := range list {
		sheets[c.sheet]++
		r.get("pb_asset/" + c.sheet)
	}
	if len(sheets) != 2 || len(r.tool.drawn) != 2 {
		t.Fatalf("sheets %v, drawn %v", sheets, r.tool.drawn)
	}
	first := r.tool.drawn[0]
	if first[0] != 1 || first[1] != 1 || first[33] != 39 || first[32] != 39 || first[34] != 41 {
		t.Errorf("the sheet shows %v", first)
	}
	none := newRecordRig(t, recordingOf(3, 640, func(_ int, seg *record.Segment) { seg.KeySize = 0 }))
	for _, name := range []string{"storyboard.vtt", "storyboard.jpg", "poster.jpg", "thumbnail.jpg?time=2"} {
		if w := none.get("pb_asset/" + name); w.Code != 404 || !strings.Contains(w.Body.String(), "no key frame") {
			t.Errorf("%s without key frames: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestThumbnailAtAnyTime: it is the nearest key frame, of the smallest picture that suffices,
// and made once.
func TestThumbnailAtAnyTime(t *testing.T) {
	s := recordingOf(600, 1280)
	small := recordingOf(600, 320).Renditions[0]
	small.Name = "low"
	list := unpacked(small.Segments)
	for i := range list {
		list[i].Name = fmt.Sprintf("low.%d.m4s", list[i].Sequence)
	}
	small.Segments = record.SegmentsOf(list)
	s.Renditions = append(s.Renditions, small)
	r := newRecordRig(t, s)
	for query, want := range map[string]string{
		"time=0": "jpeg 640x360 [0]", "time=100": "jpeg 640x360 [50]", "time=100.9": "jpeg 640x360 [50]", "time=101.1": "jpeg 640x360 [51]",
		"time=10:00": "jpeg 640x360 [300]", "time=-10": "jpeg 640x360 [595]", "time=2026-03-01T12:01:00Z": "jpeg 640x360 [30]",
		"time=999999": "jpeg 640x360 [599]", "time=60&width=160": "jpeg 160x90 [30]", "time=62&width=300": "jpeg 320x180 [31]",
	} {
		if w := r.get("pb_asset/thumbnail.jpg?" + query); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", query, w.Code, w.Body, want)
		}
	}
	before := r.tool.made()
	r.tool.takes = 50 * time.Millisecond
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if w := r.get("pb_asset/thumbnail.webp?time=300&width=480"); w.Code != 200 || w.Header().Get("Content-Type") != "image/webp" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if n := r.tool.made() - before; n != 1 {
		t.Errorf("it was made %d times for 20 at once", n)
	}
	for path, code := range map[string]int{
		"pb_asset/thumbnail.jpg?time=yesterday": 400, "pb_asset/thumbnail.jpg?time=3&width=x": 400, "pb_asset/thumbnail.avif?time=3": 501,
		"pb_gone/poster.jpg": 404, "pb_closed/poster.jpg": 403, "pb_none/poster.jpg": 404, "pb_asset/pictures.m3u8": 404, "pb_asset/poster.gif": 404,
		"pb_test/poster.jpg": 200, "pb_test/storyboard.vtt": 200, "pb_test/thumbnail.jpg?time=4": 200, "pb_test/thumbnail.jpg": 404, // its broadcast is over
	} {
		if w := r.get(path); w.Code != code {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, code)
		}
	}
}

// TestPosterIsNotBlack: what is shown for a recording is from after its beginning, and can be
// seen, if anything can.
func TestPosterIsNotBlack(t *testing.T) {
	for _, tt := range []struct {
		dark func(int64) bool
		want string
	}{
		{func(int64) bool { return false }, "[10]"},
		{func(n int64) bool { return n < 40 }, "[50]"},
		{func(int64) bool { return true }, "[10]"},
	} {
		r := newRecordRig(t, recordingOf(100, 1280))
		r.tool.dark = tt.dark
		for _, name := range []string{"poster.jpg", "thumbnail.jpg"} {
			if w := r.get("pb_asset/" + name); w.Code != 200 || !strings.HasSuffix(w.Body.String(), tt.want) {
				t.Errorf("%s: %d %s, want %s", name, w.Code, w.Body, tt.want)
			}
		}
	}
	// While it is recorded it does not change with each segment.
	r := newRecordRig(t, nil)
	shown := map[string]bool{}
	for n := 1; n <= 200; n++ {
		s := recordingOf(n, 1280)
		s.State = record.Recording
		r.lib.s = s
		shown[r.get("pb_asset/poster.jpg").Body.String()] = true
	}
	if len(shown) > 9 {
		t.Errorf("%d posters in 200 segments", len(shown))
	}
}

// TestShelfIsBounded: pictures of recordings are kept in memory up to a bound.
func TestShelfIsBounded(t *testing.T) {
	r := newRecordRig(t, recordingOf(3000, 640))
	r.h.cfg.CacheBytes = 100 * bookSize
	for i := range 1000 {
		r.get(fmt.Sprintf("pb_asset/thumbnail.jpg?time=%d", 2*i))
		if r.h.shelf.size > 100*bookSize || len(r.h.shelf.books) != r.h.shelf.order.Len() || len(r.h.shelf.books) > 100 {
			t.Fatalf("%d bytes, %d pictures are kept, %d in order", r.h.shelf.size, len(r.h.shelf.books), r.h.shelf.order.Len())
		}
	}
	made := r.tool.made()
	r.get("pb_asset/thumbnail.jpg?time=1998")
	if r.tool.made() != made {
		t.Error("the newest was forgotten")
	}
	r.get("pb_asset/thumbnail.jpg?time=0")
	if r.tool.made() != made+1 {
		t.Error("the oldest was kept")
	}
	r.h.waiting.Store(maxWaiting)
	if w := r.get("pb_asset/thumbnail.jpg?time=4000"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("with no place: %d %s", w.Code, w.Body)
	}
}

// TestPicturesOfLivePast: where viewers of a live stream can go back, the storyboard is of what
// they can go back to, in the stream's own time, and of nothing before that.
func TestPicturesOfLivePast(t *testing.T) {
	inBubble(t, media.LatencyLow, func(t *testing.T, r *rig, g *mediatest.Generator) {
		r.play(g, 12*time.Second)
		s := recordingOf(100, 640)
		s.State = record.Recording
		window := time.Duration(-1)
		on := true
		tool := &numbers{}
		r.handler.tool = tool
		r.handler.SetRecordings(&library{s: s}, func(context.Context, string) (string, error) { return "as_1", nil }, func(id string) (string, time.Duration, bool) {
			return "as_1", window, on && id == streamID
		})
		w := r.get("storyboard.vtt")
		if !strings.HasPrefix(w.Body.String(), "WEBVTT\nX-MEDIA-ORIGIN=2026-03-01T11:59:50.000Z\n\n00:00:10.000 --> 00:00:12.000\nstoryboard-1-") || strings.Count(w.Body.String(), "-->") < 90 {
			t.Errorf("the whole past: %d %.200s", w.Code, w.Body)
		}
		window = 30 * time.Second
		w = r.get("storyboard.vtt")
		if n := strings.Count(w.Body.String(), "-->"); n < 9 || n > 16 || !strings.Contains(w.Body.String(), "\n00:03:00.000 --> ") || strings.Contains(w.Body.String(), "\n00:02:50.000 --> ") {
			t.Errorf("a window of 30 s: %d\n%s", n, w.Body)
		}
		if w := r.get(regexp.MustCompile(`storyboard-\S+\.jpg`).FindString(w.Body.String())); w.Code != 200 {
			t.Errorf("its sheet: %d %s", w.Code, w.Body)
		}
		if w := r.get("thumbnail.jpg?time=10"); w.Code != 200 || !strings.HasSuffix(w.Body.String(), "[85]") {
			t.Errorf("before the window: %d %s", w.Code, w.Body)
		}
		on = false
		if w := r.get("thumbnail.jpg?time=10"); w.Code != 404 || !strings.Contains(w.Body.String(), "cannot go back") {
			t.Errorf("without dvr: %d %s", w.Code, w.Body)
		}
		for _, name := range []string{"storyboard.vtt", "thumbnail.jpg", "poster.jpg"} {
			if w := r.get(name); w.Code != 200 {
				t.Errorf("%s without dvr: %d %s", name, w.Code, w.Body)
			}
		}
	})
}

// unpacked are the segments of a rendition.
func unpacked(s record.Segments) (list []record.Segment) {
	for i := range s.Len() {
		list = append(list, s.At(i))
	}
	return list
}
