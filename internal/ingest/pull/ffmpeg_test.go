package pull

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"log/slog"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// film makes 4 s of HLS in a folder: H.264 with B-frames, and the sound named.
func film(t *testing.T, sound string) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", "sine=440:r=48000", "-t", "4",
		"-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-x264-params", "scenecut=0", "-c:a", sound,
		"-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-hls_playlist_type", "vod", filepath.Join(dir, "index.m3u8")}
	if out, err := exec.Command(mediatest.Program(t, "ffmpeg"), args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v %s", err, out)
	}
	return dir
}

// puller returns a Puller with its proxy running.
func puller(t *testing.T, g Guard) *Puller {
	t.Helper()
	p := New(DefaultConfig(), Deps{Sources: &book{}, Guard: g}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.proxy.run(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	address := l.Addr().String()
	p.proxy.address.Store(&address)
	return p
}

// fetch opens an address and reads to its end.
func fetch(t *testing.T, p *Puller, address string) (map[int][]*media.Packet, []*media.Track, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	w := &worker{p: p, pull: Pull{StreamID: "ls_1", URL: address}}
	r, err := w.connect(ctx)
	if errors.Is(err, errNotAAC) {
		w.notAAC = true
		r, err = w.connect(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	defer r.end()
	got := map[int][]*media.Packet{}
	for {
		p, err := r.ReadPacket(ctx)
		if err != nil {
			return got, r.Tracks(), err
		}
		got[p.Track.ID] = append(got[p.Track.ID], p)
	}
}

// What ffmpeg fetches over HLS comes with all its frames, picture and sound where they were.
func TestHLS(t *testing.T) {
	for sound, codec := range map[string]media.Codec{"aac": media.AAC, "ac3": media.AC3} {
		t.Run(sound, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.FileServer(http.Dir(film(t, sound))))
			defer s.Close()
			got, tracks, err := fetch(t, puller(t, fence{}), s.URL+"/index.m3u8")
			if !errors.Is(err, io.EOF) || len(tracks) != 2 || tracks[0].Codec != media.H264 || tracks[1].Codec != codec {
				t.Fatal(err, tracks)
			}
			video, audio := got[tracks[0].ID], got[tracks[1].ID]
			if len(video) != 100 || !video[0].Key || len(audio) < 120 {
				t.Fatalf("%d pictures, %d frames of sound", len(video), len(audio))
			}
			offset := tracks[0].Duration(video[0].PTS) - tracks[1].Duration(audio[0].PTS)
			if offset < -25*time.Millisecond || offset > 45*time.Millisecond {
				t.Errorf("the picture is %v behind the sound", offset)
			}
		})
	}
}

// A source that redirects to, or names a segment at, an address that is not allowed gets no
// answer from there; what is not HTTP is not opened.
func TestHLSIsGuarded(t *testing.T) {
	secret := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("the server behind the fence was asked")
		_, _ = io.WriteString(w, "secret")
	}))
	t.Cleanup(secret.Close)
	host := strings.TrimPrefix(secret.URL, "http://")
	file := filepath.Join(film(t, "aac"), "index0.ts") // it could be played
	list := func(segment string) string {
		return "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n" + segment + "\n#EXT-X-ENDLIST\n"
	}
	mux := http.NewServeMux()
	mux.Handle("/redirect.m3u8", http.RedirectHandler(secret.URL+"/x.m3u8", http.StatusFound))
	for name, segment := range map[string]string{
		"http": secret.URL + "/x.ts", "https": "https://" + host + "/x.ts", "tcp": "tcp://" + host, "file": "file://" + file,
		"concat": "concat:" + file + "|" + file, "path": file,
	} {
		mux.HandleFunc("/"+name+".m3u8", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, list(segment)) })
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	p := puller(t, fence{address: host})
	for _, name := range []string{"redirect", "http", "https", "tcp", "file", "concat", "path"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, _, err := fetch(t, p, s.URL+"/"+name+".m3u8"); err == nil || len(got) > 0 {
				t.Errorf("%d tracks, %v", len(got), err)
			} else if kind := fault.KindOf(err); name == "redirect" && (kind != fault.Forbidden || !strings.Contains(err.Error(), "not public")) ||
				kind == fault.Internal {
				t.Errorf("%v", err)
			}
		})
	}
}

// A file whose head is at its end, which ffmpeg seeks in, is fetched too.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.mp4", "a.ts"} {
		args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-t", "2",
			"-c:v", "libx264", "-preset", "ultrafast", "-b:v", "3M", filepath.Join(dir, name)}
		if out, err := exec.Command(mediatest.Program(t, "ffmpeg"), args...).CombinedOutput(); err != nil {
			t.Fatalf("ffmpeg: %v %s", err, out)
		}
		s := httptest.NewServer(http.FileServer(http.Dir(dir)))
		got, tracks, err := fetch(t, puller(t, fence{}), s.URL+"/"+name)
		s.Close()
		if len(tracks) == 0 || len(got[tracks[0].ID]) < 49 {
			t.Errorf("%s: %v, %v", name, tracks, err)
		}
	}
}

// warden is a Confiner that takes notes.
type warden struct {
	confined, bound, renewed int
	seen                     string // arguments and environment
	refuse                   error
}

func (w *warden) Confine(_ context.Context, cmd *exec.Cmd) error {
	w.confined++
	w.seen = strings.Join(append(cmd.Args, cmd.Env...), " ")
	return w.refuse
}
func (w *warden) Bound(int) { w.bound++ }
func (w *warden) Renew(int) { w.renewed++ }

// What is secret in an address is not among what others may see of a process, and reaches
// the source nevertheless: a password, a path, a query; over TLS too.
func TestSecretsAreNoArguments(t *testing.T) {
	files := http.StripPrefix("/hiddenkey", http.FileServer(http.Dir(film(t, "aac"))))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if strings.HasSuffix(r.URL.Path, ".m3u8") && (user != "me" || password != "hunter2" || r.URL.RawQuery != "token=abc123") {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	p := puller(t, fence{})
	camera := newCamera(t, "")
	for scheme, host := range map[string]string{"http": plain.Listener.Addr().String(), "https": secure.Listener.Addr().String(), "rtsp": camera.l.Addr().String()} {
		var w warden
		p.deps.Confiner = &w
		got, tracks, err := fetch(t, p, scheme+"://me:hunter2@"+host+"/hiddenkey/index.m3u8?token=abc123")
		if len(tracks) == 0 || len(got[tracks[0].ID]) < 49 {
			t.Errorf("%s: %v, %v", scheme, tracks, err)
		}
		for _, secret := range []string{"hunter2", "hiddenkey", "abc123"} {
			if w.seen == "" || strings.Contains(w.seen, secret) {
				t.Errorf("%s: %q is in %q", scheme, secret, w.seen)
			}
		}
	}
	if asked := <-camera.asked; !strings.Contains(asked, "/hiddenkey/index.m3u8?token=abc123") {
		t.Errorf("the camera was asked to %s", asked)
	}
	if len(p.proxy.hidden) > 0 {
		t.Errorf("%v is remembered", p.proxy.hidden)
	}
}

// ffmpeg is confined before it starts, bounded behind that, and not started if it cannot be.
func TestChildIsConfined(t *testing.T) {
	s := httptest.NewServer(http.FileServer(http.Dir(film(t, "aac"))))
	defer s.Close()
	p := puller(t, fence{})
	var w warden
	p.deps.Confiner = &w
	if _, _, err := fetch(t, p, s.URL+"/index.m3u8"); !errors.Is(err, io.EOF) || w.confined != 1 || w.bound != 1 {
		t.Errorf("%v, %+v", err, w)
	}
	w.refuse = errors.New("nowhere safe")
	if _, _, err := fetch(t, p, s.URL+"/index.m3u8"); !errors.Is(err, w.refuse) || w.bound != 1 {
		t.Errorf("%v, %+v", err, w)
	}
}

// The reason is told in words, and ffmpeg is gone when its source is not wanted any more.
func TestChildEnds(t *testing.T) {
	mediatest.Program(t, "ffmpeg")
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	p := puller(t, fence{})
	if _, _, err := fetch(t, p, s.URL+"/none.m3u8"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a source that is not there: %v", err)
	}
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hang.Close()
	ctx, cancel := context.WithCancel(t.Context())
	w := &worker{p: p, pull: Pull{URL: hang.URL + "/x.m3u8"}}
	done := make(chan error, 1)
	go func() {
		_, err := w.connect(ctx)
		done <- err
	}()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-t.Context().Done():
	}
	p.cfg.FFmpeg = "no-such-ffmpeg"
	if _, _, err := fetch(t, p, s.URL); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "pull-ffmpeg") {
		t.Errorf("without ffmpeg: %v", err)
	}
}

// The messages of an RTSP server pass as they are, until one leads elsewhere.
func TestRTSPFilter(t *testing.T) {
	media := "$\x00\x00\x05RTSP/"
	describe := "RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 18\r\n\r\nRTSP/1.0 302 body\n"
	ok := "RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n"
	for _, tt := range []struct {
		name, in, out string
		refused       fault.Kind
	}{
		{"a session", ok + describe + ok + media + media + ok, ok + describe + ok + media + media + ok, ""},
		{"a redirect", ok + "RTSP/1.0 302 Moved\r\nLocation: rtsp://10.0.0.1/\r\n\r\n", ok, fault.Forbidden},
		{"a redirect by request", media + "REDIRECT rtsp://x RTSP/1.0\r\nLocation: rtsp://10.0.0.1/\r\n\r\n", media, fault.Forbidden},
		{"a large body", "RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", "", fault.TooLarge},
		{"a negative body", "RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", "", fault.TooLarge},
		{"cut", ok[:10], "", ""},
	} {
		var refused error
		got, _ := io.ReadAll(&rtspFilter{in: bufio.NewReaderSize(strings.NewReader(tt.in), maxRTSPHead), failed: func(err error) { refused = err }})
		if string(got) != tt.out || tt.refused == "" && refused != nil || tt.refused != "" && !fault.Is(refused, tt.refused) {
			t.Errorf("%s: %q, %v", tt.name, got, refused)
		}
	}
}

func FuzzRTSPFilter(f *testing.F) {
	f.Add([]byte("RTSP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc$\x00\x00\x01x"))
	f.Add([]byte("RTSP/1.0 301 Moved\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _ := io.ReadAll(&rtspFilter{in: bufio.NewReaderSize(strings.NewReader(string(b)), maxRTSPHead), failed: func(error) {}})
		if !strings.HasPrefix(string(b), string(got)) {
			t.Fatalf("%q became %q", b, got)
		}
	})
}
