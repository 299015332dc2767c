//go:build e2e

package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	crowd "onair/internal/deliver/audience"
	"onair/internal/deliver/hls"
	"onair/internal/deliver/pack"
	"onair/internal/deliver/replay"
	"onair/internal/event"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/fmp4"
	"onair/internal/record"
)

// longAsset, longStream and longPlayback are the ids of the long recording.
const longAsset, longStream, longPlayback = "as_long", "ls_long", "pb_long"

// longRig is what of the server makes, records and serves one live stream, so that its media
// can come faster than time passes.
type longRig struct {
	t       *testing.T
	pub     *hub.Publication
	packer  *pack.Packer
	library *record.Library
	server  *httptest.Server
	source  *fmp4.Reader
	tracks  map[*media.Track]*media.Track
	base    time.Time // of the first picture
	next    *media.Packet
}

// Snapshot implements replay.Library.
func (r *longRig) Snapshot(id string) (*record.Snapshot, bool) {
	asset, ok := r.library.Asset(id)
	if !ok {
		return nil, false
	}
	return asset.Snapshot(), true
}

// Open implements replay.Library.
func (r *longRig) Open(ctx context.Context, asset, rendition, name string, offset, length int64) (io.ReadCloser, error) {
	return r.library.Open(ctx, asset, rendition, name, offset, length)
}

// StreamOf implements hls.Directory.
func (r *longRig) StreamOf(context.Context, string) (string, error) { return longStream, nil }

func newLongRig(t *testing.T, length time.Duration) *longRig {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "onair-e2e-"); err == nil { // a folder that syncs at once
		t.Cleanup(func() { os.RemoveAll(shm) })
		dir = shm
	}
	folder, err := record.NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.DefaultConfig(), event.NewBus(), log, nil)
	r := &longRig{
		t: t, tracks: map[*media.Track]*media.Track{}, base: time.Now().Add(-length).Truncate(time.Second),
		packer: pack.New(pack.DefaultConfig(), h, log, nil), library: record.New(record.DefaultConfig(), folder, folder, event.NewBus(), log, nil),
	}
	if err := r.library.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	packed := make(chan error, 1)
	go func() { packed <- r.packer.Run(ctx) }()
	if r.pub, err = h.Publish(longStream, hub.PublishOptions{Session: "s", LatencyMode: media.LatencyLow, Linger: time.Minute}); err != nil {
		t.Fatal(err)
	}
	recorded := make(chan error, 1)
	go func() { recorded <- r.record(ctx) }()
	cfg := hls.DefaultConfig()
	viewers := hls.NewHandler(cfg, r.packer, r, nil, crowd.New(cfg.Audience()), log, nil)
	viewers.SetOthers(replay.NewHandler(replay.DefaultConfig(), r, func(context.Context, string) (string, error) { return longAsset, nil }, log, nil))
	viewers.SetPast(replay.NewPast(replay.DefaultConfig(), r, func(string) (string, time.Duration, bool) { return longAsset, -1, true }, nil))
	r.server = httptest.NewServer(viewers)
	r.encode()
	t.Cleanup(func() {
		r.pub.End(io.EOF)
		stop()
		<-packed
		<-recorded
		r.server.Close()
		h.Close(io.EOF)
		folder.Close()
	})
	return r
}

// record records the stream from its first segment on.
func (r *longRig) record(ctx context.Context) error {
	s, err := r.packer.Watch().Next(ctx)
	if err != nil {
		return err
	}
	return r.library.Record(ctx, longAsset, longStream, s)
}

// encode starts an encoder of pictures, one a second, each with the time at which it was taken.
func (r *longRig) encode() {
	const width, height = 192, 108
	cmd := exec.CommandContext(r.t.Context(), "ffmpeg", "-hide_banner", "-v", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-s", fmt.Sprintf("%dx%d", width, height),
		"-r", "1", "-i", "-", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1", "-g", "2", "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-crf", "30",
		"-f", "mp4", "-movflags", "frag_every_frame+empty_moov+default_base_moof", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	drawn := make(chan struct{})
	go func() {
		defer close(drawn)
		picture := bytes.Repeat([]byte{96}, width*height)
		for n := 0; ; n++ {
			ms := uint64(r.base.Add(time.Duration(n)*time.Second).UnixMilli()) & (1<<40 - 1)
			sum := uint8(0)
			for v := ms; v != 0; v >>= 8 {
				sum += uint8(v)
			}
			word := ms<<8 | uint64(^sum)
			for y := 2; y < 11; y++ {
				for x := range width {
					picture[y*width+x] = uint8(255 * (word >> (47 - x*48/width) & 1))
				}
			}
			if _, err := in.Write(picture); err != nil {
				return
			}
		}
	}()
	r.t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
		<-drawn
	})
	r.source = fmp4.NewReader(out)
}

// write writes the pictures up to a time of the stream. Those of segments that are not yet
// recorded are not more than a few.
func (r *longRig) write(until time.Duration) {
	r.t.Helper()
	for {
		if r.next == nil {
			p, err := r.source.ReadPacket(r.t.Context())
			if err != nil {
				r.t.Fatal(err)
			}
			if r.tracks[p.Track] == nil {
				if r.tracks[p.Track], err = bitstream.Describe(p.Track); err != nil {
					r.t.Fatal(err)
				}
			}
			p.Track = r.tracks[p.Track]
			r.next = p
		}
		at := r.next.Track.Duration(r.next.PTS)
		if at >= until {
			return
		}
		r.next.Arrival = r.base.Add(at)
		if err := r.pub.WritePacket(r.t.Context(), r.next); err != nil {
			r.t.Fatal(err)
		}
		if r.next.Key && at > 8*time.Second {
			r.waitRecorded(at - 6*time.Second)
		}
		r.next = nil
	}
}

// waitRecorded waits until so much is recorded.
func (r *longRig) waitRecorded(length time.Duration) {
	r.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		s, ok := r.Snapshot(longAsset)
		if ok && s.Duration >= length {
			return
		}
		var changed <-chan struct{}
		if ok {
			changed = s.Changed
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond): // until there is an asset
		case <-limit:
			r.t.Fatalf("%v are not recorded", length)
		}
	}
}

// get asks for a playlist as browsers do, and returns its text and its size compressed.
func (r *longRig) get(path string) (text string, size int) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.server.URL+"/hls/"+longPlayback+"/"+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := r.server.Client().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Encoding") != "gzip" {
		r.t.Fatalf("%s: %v %s", path, err, res.Status)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		r.t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(plain), len(b)
}

// heap is what the server holds, once somebody has asked for all of the playlist.
func (r *longRig) heap() (bytes int64) {
	r.get("0123456789abcdef/v0/index.m3u8")
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestTwelveHours looks at a live stream that has been on the air for 12 hours and is listed
// as a whole: what its playlists weigh, that a player finds each place of it, and what the
// server holds in memory.
func TestTwelveHours(t *testing.T) {
	const length = 12 * time.Hour
	begun := time.Now()
	r := newLongRig(t, length)
	r.write(time.Hour)
	early := r.heap()
	r.write(length)
	late := r.heap()
	t.Logf("12 h were recorded within %v; the heap is %.1f MB after 1 h and %.1f MB after 12 h", time.Since(begun).Round(time.Second), float64(early)/1e6, float64(late)/1e6)
	if more := late - early; more > 1<<19 {
		t.Errorf("11 hours take %d bytes of memory", more)
	}
	full, size := r.get("0123456789abcdef/v0/index.m3u8")
	segments := strings.Count(full, "#EXTINF")
	update, small := r.get("0123456789abcdef/v0/index.m3u8?_HLS_skip=YES")
	t.Logf("%d segments; the playlist has %d bytes, %d compressed; an update has %d, %d compressed", segments, len(full), size, len(update), small)
	if segments < 21_590 || size > 300_000 || !strings.Contains(update, "#EXT-X-SKIP:") || small > 3000 {
		t.Errorf("%d segments in %d bytes, an update in %d bytes", segments, size, small)
	}
	// The stream goes on at the pace of the clock while somebody watches.
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			r.write(time.Since(r.base))
			pause(ctx, 100*time.Millisecond)
		}
	}()
	b := scrub(t, r.server.URL+"/hls/"+longPlayback+"/index.m3u8", "--frames", "3")
	live := b.next("live")
	stop()
	<-done
	right(t, 3, 50*time.Millisecond, live["join"], live["start"], live["middle"], live["start again"], live["edge"], live["on"])
	if at := time.UnixMilli(int64(live["start"].Clock)); at.Before(r.base) || at.Sub(r.base) > 15*time.Second {
		t.Errorf("the beginning that is shown is %v after the stream began", at.Sub(r.base))
	}
	if d := live["on"].DelayMs; d == nil || *d > 10_000 {
		t.Errorf("back at the live edge the delay is %v ms", d)
	}
}
