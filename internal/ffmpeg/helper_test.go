package ffmpeg

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
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
)

func TestMain(m *testing.M) {
	if shim() {
		return
	}
	goleak.VerifyTestMain(m)
}

// found is the real ffmpeg, looked for once.
var found = sync.OnceValues(func() (*Tool, error) {
	cfg := DefaultConfig()
	cfg.StartTimeout, cfg.StallTimeout = time.Minute, time.Minute // machines that run tests are busy
	return Find(context.Background(), cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
})

func realTool(t testing.TB) *Tool {
	t.Helper()
	mediatest.Program(t, "ffmpeg")
	tool, err := found()
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

// made is a clip that ffmpeg makes of a generated picture or sound, as packets whose
// timeline begins at that time.
func made(t testing.TB, at int64, args ...string) []*media.Packet {
	t.Helper()
	path := mediatest.Program(t, "ffmpeg")
	flags := "empty_moov+default_base_moof+frag_keyframe"
	if slices.Contains(args, "ac3") { // whose head is only known by its frames
		flags = "delay_moov+default_base_moof+frag_keyframe"
	}
	args = append(append([]string{"-v", "error", "-nostdin"}, args...), "-f", "mp4", "-movflags", flags, "-use_editlist", "0", "-video_track_timescale", "90000", "pipe:1")
	out, err := exec.CommandContext(t.Context(), path, args...).Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	r := fmp4.NewReader(bytes.NewReader(out))
	var packets []*media.Packet
	for {
		p, err := r.ReadPacket(t.Context())
		if errors.Is(err, io.EOF) {
			return packets
		}
		if err != nil {
			t.Fatal(err)
		}
		shift := at * int64(p.Track.Timescale)
		p.DTS, p.PTS = p.DTS+shift, p.PTS+shift
		packets = append(packets, p)
	}
}

func testPicture(t testing.TB, at int64, size, seconds string, coder ...string) []*media.Packet {
	return made(t, at, append([]string{"-f", "lavfi", "-i", "testsrc2=s=" + size + ":r=30", "-t", seconds, "-pix_fmt", "yuv420p"}, coder...)...)
}

// list is a Source of packets.
type list struct {
	packets []*media.Packet
	then    error // behind the last; io.EOF if nil
	wait    bool  // wait for the context behind the last
}

func (l *list) ReadPacket(ctx context.Context) (*media.Packet, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(l.packets) == 0 {
		switch {
		case l.wait:
			<-ctx.Done()
			return nil, ctx.Err()
		case l.then != nil:
			return nil, l.then
		}
		return nil, io.EOF
	}
	p := l.packets[0]
	l.packets = l.packets[1:]
	return p, nil
}

// taker is a Sink that keeps packets.
type taker struct {
	mu      sync.Mutex
	packets []*media.Packet
	refuse  error
	each    func(*media.Packet)
}

func (k *taker) WritePacket(_ context.Context, p *media.Packet) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.packets = append(k.packets, p)
	if k.each != nil {
		k.each(p)
	}
	return k.refuse
}

func (k *taker) all() []*media.Packet {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.packets)
}

// times are the PTS of packets in order, and those of the keys among them.
func times(packets []*media.Packet) (all, keys []int64) {
	for _, p := range packets {
		all = append(all, p.PTS)
		if p.Key {
			keys = append(keys, p.PTS)
		}
	}
	slices.Sort(all)
	slices.Sort(keys)
	return all, keys
}
