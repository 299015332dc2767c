package clip

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/ffmpeg"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
	"onair/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	streamID = "ls_test"
	sourceID = "as_source"
	rate     = 30 // pictures a second
	// The picture is a row of boxes, each a bit of its number.
	bits, box = 10, 32
	width     = bits * box
	height    = 64
)

var quiet = slog.New(slog.DiscardHandler)

var found = sync.OnceValues(func() (*ffmpeg.Tool, error) {
	cfg := ffmpeg.DefaultConfig()
	cfg.StartTimeout, cfg.StallTimeout = time.Minute, time.Minute // machines that run tests are busy
	return ffmpeg.Find(context.Background(), cfg, quiet, prometheus.NewRegistry())
})

func realTool(t testing.TB) *ffmpeg.Tool {
	t.Helper()
	mediatest.Program(t, "ffmpeg")
	tool, err := found()
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

// made is what ffmpeg encodes of numbered pictures and a tone.
func made(t testing.TB, seconds string, coder ...string) []*media.Packet {
	t.Helper()
	path := mediatest.Program(t, "ffmpeg")
	const number = "geq=lum='if(gte(mod(floor(N/pow(2,floor(X/32))),2),1),235,16)+0.02*mod(X*Y+N*7,19)':cb=128:cr=128"
	args := append([]string{
		"-v", "error", "-nostdin", "-f", "lavfi", "-i", "color=black:s=320x64:r=30,format=yuv420p," + number,
		"-f", "lavfi", "-i", "sine=f=440:r=48000", "-t", seconds, "-c:a", "aac", "-b:a", "64k",
	}, coder...)
	args = append(args, "-f", "mp4", "-movflags", "empty_moov+default_base_moof+frag_keyframe", "-use_editlist", "0", "-video_track_timescale", "90000", "pipe:1")
	out, err := exec.CommandContext(t.Context(), path, args...).Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	tracks := map[*media.Track]*media.Track{}
	r := fmp4.NewReader(bytes.NewReader(out))
	var packets []*media.Packet
	for {
		p, err := r.ReadPacket(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if tracks[p.Track] == nil {
			if tracks[p.Track], err = bitstream.Describe(p.Track); err != nil {
				t.Fatal(err)
			}
		}
		p.Track = tracks[p.Track]
		p.DTS, p.PTS = p.DTS+10*int64(p.Track.Timescale), p.PTS+10*int64(p.Track.Timescale)
		packets = append(packets, p)
	}
	slices.SortStableFunc(packets, func(a, b *media.Packet) int {
		return int(a.Track.Duration(a.DTS) - b.Track.Duration(b.DTS))
	})
	return packets
}

// source is a recording of packets in a folder.
type source struct {
	t   *testing.T
	dir string
	*record.Library
	events *event.Bus
}

func recorded(t *testing.T, packets []*media.Packet) *source {
	t.Helper()
	dir := t.TempDir() + "/recordings"
	synctest.Test(t, func(t *testing.T) {
		f, err := record.NewFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		l := record.New(record.DefaultConfig(), f, f, nil, quiet, nil)
		h := hub.New(hub.DefaultConfig(), event.NewBus(), quiet, nil)
		packer := pack.New(pack.DefaultConfig(), h, quiet, nil)
		ctx, stop := context.WithCancel(context.Background())
		var wait sync.WaitGroup
		wait.Go(func() { _ = packer.Run(ctx) })
		pub, err := h.Publish(streamID, hub.PublishOptions{Session: "s", LatencyMode: media.LatencyLow, Linger: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		begun, done := time.Now(), make(chan error, 1)
		for i, p := range packets {
			p.Arrival = begun.Add(p.Track.Duration(p.DTS) - 10*time.Second)
			if d := time.Until(p.Arrival); d > 0 {
				time.Sleep(d) // the bubble's time
			}
			if err := pub.WritePacket(ctx, p); err != nil {
				t.Fatal(err)
			}
			if i == len(packets)/2 {
				synctest.Wait()
				s, _ := packer.Stream(streamID)
				wait.Go(func() { done <- l.Record(ctx, sourceID, streamID, s) })
			}
		}
		pub.End(io.EOF)
		if err := <-done; err != nil {
			t.Error(err)
		}
		stop()
		wait.Wait()
		h.Close(io.EOF)
	})
	f, err := record.NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	events := event.NewBus()
	s := &source{t: t, dir: dir, Library: record.New(record.DefaultConfig(), f, f, events, quiet, nil), events: events}
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *source) snapshot(id string) *record.Snapshot {
	s.t.Helper()
	a, ok := s.Asset(id)
	if !ok {
		s.t.Fatalf("there is no %s", id)
	}
	return a.Snapshot()
}

// bytesOf is a segment.
func (s *source) bytesOf(asset, rendition string, seg *record.Segment) []byte {
	s.t.Helper()
	if seg.Asset != "" {
		asset = seg.Asset
	}
	o, err := s.Open(s.t.Context(), asset, rendition, seg.Name, 0, -1)
	if err != nil {
		s.t.Fatal(err)
	}
	defer o.Close()
	b, err := io.ReadAll(o)
	if err != nil {
		s.t.Fatal(err)
	}
	if int64(len(b)) != seg.Size {
		s.t.Fatalf("%s has %d bytes, not %d", seg.Name, len(b), seg.Size)
	}
	return b
}

// picture is a decoded picture.
type picture struct {
	number int
	at     time.Duration // media time of its presentation
	luma   string
}

// pictures decodes the main rendition: what belongs to one initialization section at once, as
// players do.
func (s *source) pictures(id string) (out []picture) {
	s.t.Helper()
	snap := s.snapshot(id)
	r := mainOf(snap)
	list := unpacked(r.Segments)
	for i := 0; i < len(list); {
		j := i
		init := r.Inits[list[i].Init]
		b := slices.Clone(init.Data)
		var times []int64
		for ; j < len(list) && list[j].Init == list[i].Init; j++ {
			seg := &list[j]
			data := s.bytesOf(id, r.Name, seg)
			b = append(b, data...)
			for _, p := range packets(s.t, init.Data, data) {
				times = append(times, p.PTS)
			}
		}
		slices.Sort(times)
		luma := decode(s.t, b)
		if len(luma) != len(times) {
			s.t.Fatalf("%s: %d pictures of %d", id, len(luma), len(times))
		}
		for n, l := range luma {
			out = append(out, picture{number(l), init.Track.Duration(times[n]), l})
		}
		i = j
	}
	return out
}

func packets(t testing.TB, init, data []byte) (out []*media.Packet) {
	t.Helper()
	r := fmp4.NewReader(io.MultiReader(bytes.NewReader(init), bytes.NewReader(data)))
	for {
		p, err := r.ReadPacket(context.Background())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}

// decode returns the luma of all pictures of a fragmented MP4, in order.
func decode(t testing.TB, b []byte) (out []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), mediatest.Program(t, "ffmpeg"), "-v", "error", "-nostdin", "-f", "mp4", "-i", "pipe:0", "-map", "0:v",
		"-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "pipe:1")
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(b), &said
	raw, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Errorf("decode: %v %s", err, said.String())
	}
	for ; len(raw) >= width*height; raw = raw[width*height:] {
		out = append(out, string(raw[:width*height]))
	}
	return out
}

// number reads the number of a picture.
func number(luma string) (n int) {
	for i := range bits {
		if luma[height/2*width+i*box+box/2] > 125 {
			n |= 1 << i
		}
	}
	return n
}

// live is a broadcast that is being recorded.
type live struct {
	t       *testing.T
	library *record.Library
	pub     *hub.Publication
	gen     *mediatest.Generator
	tracks  map[*media.Track]*media.Track
	stop    context.CancelFunc
	wait    sync.WaitGroup
	hub     *hub.Hub
	folder  *record.Folder
}

// newGrowing records a broadcast, of which there are some seconds, in a bubble.
func newGrowing(t *testing.T) *live {
	f, err := record.NewFolder(t.TempDir() + "/recordings")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	h := hub.New(hub.DefaultConfig(), event.NewBus(), quiet, nil)
	r := &live{t: t, library: record.New(record.DefaultConfig(), f, f, nil, quiet, nil), stop: stop, hub: h, folder: f, tracks: map[*media.Track]*media.Track{}}
	packer := pack.New(pack.DefaultConfig(), h, quiet, nil)
	r.wait.Go(func() { _ = packer.Run(ctx) })
	if r.pub, err = h.Publish(streamID, hub.PublishOptions{Session: "s", LatencyMode: media.LatencyLow, Linger: time.Hour}); err != nil {
		t.Fatal(err)
	}
	r.gen = mediatest.NewGenerator(mediatest.Options{FrameSize: 300, AudioSize: 60, Start: time.Now()})
	r.write(time.Second)
	s, _ := packer.Stream(streamID)
	r.wait.Go(func() { _ = r.library.Record(ctx, sourceID, streamID, s) })
	r.write(9 * time.Second)
	return r
}

func (r *live) write(d time.Duration) {
	r.t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); {
		p := r.gen.Next()
		if r.tracks[p.Track] == nil {
			t, err := bitstream.Describe(p.Track)
			if err != nil {
				r.t.Fatal(err)
			}
			r.tracks[p.Track] = t
		}
		p.Track = r.tracks[p.Track]
		time.Sleep(time.Until(p.Arrival)) // the bubble's time
		if err := r.pub.WritePacket(context.Background(), p); err != nil {
			r.t.Fatal(err)
		}
	}
	synctest.Wait()
}

func (r *live) close() {
	r.stop()
	r.wait.Wait()
	r.hub.Close(io.EOF)
	_ = r.folder.Close()
}

// unpacked are the segments of a rendition.
func unpacked(s record.Segments) (list []record.Segment) {
	for i := range s.Len() {
		list = append(list, s.At(i))
	}
	return list
}
