package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/media/mp4file"
	"onair/internal/record"
)

// shelf is a fake library with the tables of its segments.
type shelf struct {
	fake
	tables map[string][]record.Table
	read   int
}

func (s *shelf) Tables(_ context.Context, asset string, renditions ...string) (list [][]record.Table, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read++
	if asset != assetID {
		return nil, fault.New(fault.NotFound, "read", asset, "there is no such asset", "")
	}
	for _, r := range renditions {
		list = append(list, s.tables[r])
	}
	return list, nil
}

// put adds n segments of a second of real media to a rendition; those that skip names are gaps.
func (s *shelf) put(t *testing.T, r *record.Rendition, n int, skip ...int) *record.Rendition {
	t.Helper()
	const samples = 10
	track := r.Inits[0].Track
	gap := map[int]bool{}
	for _, i := range skip {
		gap[i] = true
	}
	add(r, n, time.Second, func(i int, seg *record.Segment) {
		if seg.Gap = gap[i]; seg.Gap {
			return
		}
		f := fmp4.Fragment{Sequence: uint32(i + 1), Track: track, BaseDTS: seg.BaseTime}
		for k := range samples {
			f.Samples = append(f.Samples, fmp4.Sample{
				Duration: uint32(track.Timescale / samples), Key: k == 0 || track.Kind() == media.Audio,
				Data: []byte(fmt.Sprintf("%s %d %d", r.Name, i, k)),
			})
		}
		data := f.AppendTo(nil)
		table, err := mp4file.Scan([][]byte{data})
		if err != nil {
			t.Fatal(err)
		}
		seg.Size = int64(len(data))
		s.objects[assetID+"/"+r.Name+"/"+seg.Name] = data
		s.tables[r.Name] = append(s.tables[r.Name], record.Table{Sequence: seg.Sequence, Data: table, BaseTime: seg.BaseTime, Size: seg.Size})
	})
	return r
}

// avc is the configuration of an H.264 track of 1280 × 720.
var avc = []byte{
	1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 0x16,
	0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0,
	1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb,
}

func newShelf(t *testing.T) (*shelf, *Files, *prometheus.Registry) {
	t.Helper()
	s := &shelf{fake: fake{objects: map[string][]byte{}}, tables: map[string][]record.Table{}}
	picture, sound := video(1280, 720, "avc1.64001f"), audio(media.AAC, "mp4a.40.2", "en")
	picture.Config, sound.Config = avc, []byte{0x11, 0x90}
	s.s = snapshot(record.Ready, s.put(t, rendition("v0", picture), 6, 3), s.put(t, rendition("a0", sound), 6, 3), s.put(t, rendition("a1", sound), 6))
	reg := prometheus.NewRegistry()
	return s, NewFiles(DefaultConfig(), s, func(r *http.Request, asset string) (string, error) {
		if r.Header.Get("Authorization") == "" {
			return "", fault.New(fault.Unauthorized, "download", asset, "there is no token", "Send one")
		}
		return r.Header.Get("X-Title"), nil
	}, slog.New(slog.DiscardHandler), reg), reg
}

const files = "/v1/assets/" + assetID + "/"

func download(t *testing.T, f *Files, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return ask(t, f, http.MethodGet, path, append(headers, "Authorization", "Bearer x")...)
}

func TestFiles(t *testing.T) {
	s, f, _ := newShelf(t)
	for _, tt := range []struct {
		path, mime, disposition string
		has, not                string
	}{
		{"download.mp4", "video/mp4", "attachment; filename=as_1.mp4", "v0 0 0 a0 0 0 a1 0 0 v0 5 9 a1 3 9", ""},
		{"download.mp4?rendition=v0", "video/mp4", "attachment; filename=as_1.mp4", "v0 0 0", ""},
		{"download.m4a", "audio/mp4", "attachment; filename=as_1.m4a", "a0 5 9", "a1"},
		{"download.m4a?rendition=a1", "audio/mp4", "attachment; filename=as_1.m4a", "a1 5 9", "a0"},
	} {
		w := download(t, f, files+tt.path)
		head, whole := w.Header(), w.Body.Bytes()
		if w.Code != 200 || head.Get("Content-Type") != tt.mime || head.Get("Content-Disposition") != tt.disposition || head.Get("Accept-Ranges") != "bytes" ||
			head.Get("Cache-Control") != "private, no-cache" || head.Get("Content-Length") != fmt.Sprint(len(whole)) {
			t.Fatalf("%s: %d %v", tt.path, w.Code, head)
		}
		if string(whole[4:8]) != "ftyp" || bytes.Index(whole, []byte("moov")) > bytes.Index(whole, []byte("mdat")) {
			t.Errorf("%s: %q", tt.path, whole[:min(32, len(whole))])
		}
		for i, fields := 0, strings.Fields(tt.has); i < len(fields); i += 3 {
			if sample := strings.Join(fields[i:i+3], " "); !bytes.Contains(whole, []byte(sample)) {
				t.Errorf("%s: sample %q is missing", tt.path, sample)
			}
		}
		if tt.not != "" && bytes.Contains(whole, []byte(tt.not+" 0 0")) {
			t.Errorf("%s has %s", tt.path, tt.not)
		}
		tag := head.Get("Etag")
		h := ask(t, f, http.MethodHead, files+tt.path, "Authorization", "Bearer x")
		if h.Code != 200 || h.Body.Len() > 0 || h.Header().Get("Content-Length") != head.Get("Content-Length") || h.Header().Get("Etag") != tag {
			t.Errorf("HEAD: %d %v", h.Code, h.Header())
		}
		random := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			from := random.IntN(len(whole))
			to := from + random.IntN(len(whole)-from)
			w := download(t, f, files+tt.path, "Range", fmt.Sprintf("bytes=%d-%d", from, to), "If-Range", tag)
			if want := fmt.Sprintf("bytes %d-%d/%d", from, to, len(whole)); w.Code != 206 || w.Header().Get("Content-Range") != want || !bytes.Equal(w.Body.Bytes(), whole[from:to+1]) {
				t.Fatalf("%d-%d: %d %v, %d bytes", from, to, w.Code, w.Header(), w.Body.Len())
			}
		}
		if w := download(t, f, files+tt.path, "Range", "bytes=1-2", "If-Range", `"other"`); w.Code != 200 || w.Body.Len() != len(whole) {
			t.Errorf("of another file: %d, %d bytes", w.Code, w.Body.Len())
		}
		if w := download(t, f, files+tt.path, "Range", fmt.Sprintf("bytes=%d-", len(whole))); w.Code != 416 || w.Header().Get("Content-Range") != fmt.Sprintf("bytes */%d", len(whole)) {
			t.Errorf("after the end: %d %v", w.Code, w.Header())
		}
		if w := download(t, f, files+tt.path, "If-None-Match", tag); w.Code != 304 || w.Body.Len() > 0 {
			t.Errorf("the same: %d", w.Code)
		}
	}
	if s.read > 4 { // each file was computed once
		t.Errorf("tables were read %d times", s.read)
	}
}

func TestFilesAreRefusedWithTheReason(t *testing.T) {
	s, f, _ := newShelf(t)
	for _, tt := range []struct {
		path   string
		status int
		words  string
	}{
		{"download.mp4?rendition=v9", 404, "no such rendition"},
		{"download.mp4?rendition=a0", 400, "download.m4a"},
		{"download.m4a?rendition=v0", 400, "download.mp4"},
		{"download.mkv", 404, "nothing under this address"},
		{"../as_2/download.mp4", 404, "nothing under this address"},
	} {
		if w := download(t, f, files+tt.path); w.Code != tt.status || !strings.Contains(w.Body.String(), tt.words) {
			t.Errorf("%s: %d %s", tt.path, w.Code, w.Body)
		}
	}
	if w := download(t, f, "/v1/assets/as_2/download.mp4"); w.Code != 404 || !strings.Contains(w.Body.String(), "no such recording") {
		t.Errorf("another asset: %d %s", w.Code, w.Body)
	}
	if w := ask(t, f, http.MethodGet, files+"download.mp4"); w.Code != 401 || !strings.Contains(w.Body.String(), "no token") {
		t.Errorf("without a token: %d %s", w.Code, w.Body)
	}
	if w := ask(t, f, http.MethodPost, files+"download.mp4"); w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
	whole := s.s
	growing := *whole
	growing.State = record.Recording
	s.s = &growing
	if w := download(t, f, files+"download.mp4"); w.Code != 409 || !strings.Contains(w.Body.String(), "still being recorded") {
		t.Errorf("while recording: %d %s", w.Code, w.Body)
	}
	s.s = snapshot(record.Ready, whole.Renditions[1])
	if w := download(t, f, files+"download.mp4"); w.Code != 404 || !strings.Contains(w.Body.String(), "download.m4a") {
		t.Errorf("without pictures: %d %s", w.Code, w.Body)
	}
	s.s = snapshot(record.Ready, whole.Renditions[0])
	if w := download(t, f, files+"download.m4a"); w.Code != 404 || !strings.Contains(w.Body.String(), "no sound") {
		t.Errorf("without sound: %d %s", w.Code, w.Body)
	}
	// A change that players do not follow.
	changed := *whole.Renditions[1]
	other := *changed.Inits[0].Track
	other.SampleRate, other.Config = 44100, []byte{0x12, 0x10}
	changed.Inits = append(changed.Inits[:1:1], &record.Init{Name: "i2.mp4", Track: &other})
	alter(&changed, 5, func(s *record.Segment) { s.Init = 1 })
	s.s = snapshot(record.Ready, whole.Renditions[0], &changed)
	if w := download(t, f, files+"download.mp4"); w.Code != 400 || !strings.Contains(w.Body.String(), "wrong pitch") {
		t.Errorf("another sample rate: %d %s", w.Code, w.Body)
	}
}

// A segment that is missing ends the download early, and the client sees it.
func TestAFileWithoutASegmentIsNotTakenForWhole(t *testing.T) {
	s, f, reg := newShelf(t)
	delete(s.objects, assetID+"/v0/"+s.s.Renditions[0].Segments.Name(4))
	srv := httptest.NewServer(f)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+files+"download.mp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer x")
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("it ended with %v", err)
	}
	srv.Close()
	(&rig{t: t, reg: reg}).counts("onair_download_read_failures_total", 1)
}

func TestDisposition(t *testing.T) {
	for title, want := range map[string]string{
		"":                          "as_1.mp4",
		"Friday night":              "Friday night.mp4",
		"a/b\\c\r\nX: \"y\"":        "a-b-c--X- -y.mp4",
		"..":                        "as_1.mp4",
		"Übertragung №1":            "Übertragung №1.mp4",
		"\xff\xfe":                  "as_1.mp4",
		strings.Repeat("é", 300):    strings.Repeat("é", 100) + ".mp4",
		"what? 100 % <b>; name=x.y": "what- 100 % -b-; name=x.y.mp4",
	} {
		header := disposition(title, assetID, pictureExt)
		kind, params, err := mime.ParseMediaType(header)
		if err != nil || kind != "attachment" || params["filename"] != want || strings.ContainsAny(header, "\r\n") {
			t.Errorf("%q: %s (%q), %v", title, header, params["filename"], err)
		}
	}
}

func TestIsFile(t *testing.T) {
	for path, want := range map[string]bool{
		"/v1/assets/as_1/download.mp4": true, "/v1/assets/as_1/download.m4a": true, "/v1/assets/as_1/download": false,
		"/v1/assets/as_1/download.mp4/x": false, "/v1/assets//download.mp4": false, "/v1/assets/as_1": false, "/v1/assets/download.mp4": false,
	} {
		if IsFile(path) != want {
			t.Errorf("%s: not %v", path, want)
		}
	}
}
