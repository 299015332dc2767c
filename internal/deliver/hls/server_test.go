package hls

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// newRealRig is a rig outside a bubble, with media that is all there at once.
func newRealRig(t testing.TB, cfg Config, o mediatest.Options, d time.Duration) *rig {
	r := newRig(t, cfg)
	r.publish(media.LatencyUltra)
	o.Start = time.Now().Add(-d)
	for _, p := range newSource(t, o).take(d) {
		if err := r.pub.WritePacket(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for {
		if s, ok := r.packer.Stream(streamID); ok {
			<-s.Ready()
			return r
		}
		runtime.Gosched() // until the packer has seen the stream
	}
}

// pipes is a listener of connections in memory, so that the bubble's time applies.
type pipes struct{ c chan net.Conn }

func (p *pipes) Accept() (net.Conn, error) {
	c, ok := <-p.c
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// H1: a viewer who does not read loses its connection after a while.
func TestH1SlowReaderIsCutOff(t *testing.T) {
	inBubble(t, media.LatencyLow, DefaultConfig(), func(t *testing.T, r *rig, src *source) {
		seg := r.rendition("v0").Snapshot().Segments[0]
		closed := make(chan time.Time, 1)
		l := &pipes{c: make(chan net.Conn)}
		srv := &http.Server{Handler: r.handler, ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				closed <- time.Now()
			}
		}}
		go func() { _ = srv.Serve(l) }()
		client, server := net.Pipe()
		l.c <- server
		begin := time.Now()
		if _, err := fmt.Fprintf(client, "GET %sv0/%s HTTP/1.1\r\nHost: x\r\n\r\n", child, seg.Name); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		// Whoever reads goes on being served meanwhile.
		r.write(src.take(5*time.Second), nil)
		if w := r.get(child + "v0/index.m3u8"); w.Code != 200 {
			t.Errorf("another viewer: %d", w.Code)
		}
		limit := r.handler.cfg.WriteTimeout + time.Duration(seg.Blob.Size)*time.Second/slowestRate
		if d := (<-closed).Sub(begin); d < limit || d > limit+time.Second {
			t.Errorf("cut off after %v, want %v", d, limit)
		}
		// A request that is held may take longer than that: the time counts from the
		// first byte of the answer.
		_ = client.Close()
		close(l.c)
		_ = srv.Close()
	})
}

func TestRunLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t)
	for range 20 {
		r := newRealRig(t, DefaultConfig(), mediatest.Options{GOP: 30}, 6*time.Second)
		r.pub.End(io.EOF)
		r.close()
	}
}

// reused is a response writer that costs nothing, as net/http's are pooled.
type reused struct {
	header http.Header
	n      int
}

func (w *reused) Header() http.Header              { return w.header }
func (w *reused) WriteHeader(int)                  {}
func (w *reused) Write(b []byte) (int, error)      { w.n += len(b); return len(b), nil }
func (w *reused) SetWriteDeadline(time.Time) error { return nil }

func serve(b *testing.B, path func(r *rig) string, header ...string) {
	r := newRealRig(b, DefaultConfig(), mediatest.Options{FrameSize: 10_000}, 31*time.Second)
	defer r.close()
	req := httptest.NewRequest(http.MethodGet, path(r), nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := &reused{header: http.Header{}}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		clear(w.header)
		r.handler.ServeHTTP(w, req)
	}
	b.ReportMetric(float64(w.n)/float64(b.N), "bytes/response")
}

func BenchmarkServePlaylist(b *testing.B) {
	serve(b, func(*rig) string { return child + "v0/index.m3u8" })
}

func BenchmarkServePlaylistGzip(b *testing.B) {
	serve(b, func(r *rig) string {
		msn, part := r.rendition("v0").Snapshot().Position()
		return fmt.Sprintf("%sv0/index.m3u8?_HLS_msn=%d&_HLS_part=%d&_HLS_skip=YES", child, msn, part)
	}, "Accept-Encoding", "gzip, deflate, br")
}

func BenchmarkServePart(b *testing.B) {
	serve(b, func(r *rig) string {
		segs := r.rendition("v0").Snapshot().Segments
		return child + "v0/" + segs[len(segs)-1].Parts[3].Name
	})
}

func BenchmarkServeSegmentRange(b *testing.B) {
	serve(b, func(r *rig) string { return child + "v0/" + r.rendition("v0").Snapshot().Segments[0].Name }, "Range", "bytes=1000-99999")
}

func BenchmarkServeMultivariant(b *testing.B) {
	serve(b, func(*rig) string { return "/hls/" + playbackID + "/index.m3u8" })
}

func BenchmarkServeMissing(b *testing.B) {
	serve(b, func(*rig) string { return child + "v0/p1.m4s" })
}

func BenchmarkRender(b *testing.B) {
	r := newRealRig(b, DefaultConfig(), mediatest.Options{}, 31*time.Second)
	defer r.close()
	s, rend := r.stream(), r.rendition("v0")
	snap := rend.Snapshot()
	b.Run("full", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			new(view).render(s, rend, snap, 0)
		}
	})
	b.Run("delta", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			new(view).render(s, rend, snap, formDelta)
		}
	})
	text := new(view).render(s, rend, snap, 0).bytes
	b.Run("gzip", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			compress(text)
		}
		b.ReportMetric(float64(len(text)), "plain-bytes")
		b.ReportMetric(float64(len(compress(text))), "gzip-bytes")
	})
}

// BenchmarkOverNetwork asks through net/http and the loopback interface.
func BenchmarkOverNetwork(b *testing.B) {
	r := newRealRig(b, DefaultConfig(), mediatest.Options{FrameSize: 10_000}, 31*time.Second)
	defer r.close()
	srv := httptest.NewServer(r.handler)
	defer srv.Close()
	b.ReportAllocs()
	for b.Loop() {
		resp, err := srv.Client().Get(srv.URL + child + "v0/index.m3u8")
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}
