package transcode

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"onair/internal/event"
	"onair/internal/ffmpeg"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/fmp4"
	"onair/internal/media/mediatest"
)

// patience bounds how long a test waits for ffmpeg on a machine that is busy.
const patience = 60 * time.Second

// found is the real ffmpeg, looked for once.
var found = sync.OnceValues(func() (*ffmpeg.Tool, error) {
	cfg := ffmpeg.DefaultConfig()
	cfg.StartTimeout, cfg.StallTimeout = patience, patience
	return ffmpeg.Find(context.Background(), cfg, slog.New(slog.DiscardHandler), nil)
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

// clip is what ffmpeg makes of a generated picture or sound, as packets of a timeline that
// begins at 100 s.
func clip(t testing.TB, id int, args ...string) []*media.Packet {
	t.Helper()
	path := mediatest.Program(t, "ffmpeg")
	args = append(append([]string{"-v", "error", "-nostdin"}, args...), "-f", "mp4", "-movflags", "empty_moov+default_base_moof+frag_keyframe",
		"-use_editlist", "0", "-video_track_timescale", "90000", "pipe:1")
	out, err := exec.CommandContext(t.Context(), path, args...).Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	r := fmp4.NewReader(bytes.NewReader(out))
	var packets []*media.Packet
	var track *media.Track
	for {
		p, err := r.ReadPacket(t.Context())
		if err == io.EOF {
			return packets
		}
		if err != nil {
			t.Fatal(err)
		}
		if track == nil {
			own := *p.Track
			own.ID = id
			track = &own
		}
		p.Track = track
		shift := 100 * int64(track.Timescale)
		p.DTS, p.PTS = p.DTS+shift, p.PTS+shift
		packets = append(packets, p)
	}
}

// onAir is a hub with a stream and a transcoder that runs the real ffmpeg.
type onAir struct {
	*testing.T
	tr  *Transcoder
	pub *hub.Publication
	bus *event.Listener
}

func airing(t *testing.T, tracks ...*media.Track) *onAir {
	bus := event.NewBus()
	h := hub.New(hub.DefaultConfig(), bus, nil, nil)
	cfg := DefaultConfig()
	cfg.Cores = 100
	cfg.MaxLag, cfg.Idle = 15*time.Second, 5*patience // the machine of a test may be slow
	tr := New(cfg, h, realTool(t), nil, bus, slog.New(slog.NewTextHandler(t.Output(), nil)), nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	a := &onAir{T: t, tr: tr, bus: bus.Listen()}
	pub, err := h.Publish("s", hub.PublishOptions{Linger: time.Minute, Tracks: tracks})
	if err != nil {
		t.Fatal(err)
	}
	a.pub = pub
	return a
}

func (a *onAir) write(packets []*media.Packet) {
	a.Helper()
	for _, p := range packets {
		q := *p
		q.Arrival = time.Now()
		if err := a.pub.WritePacket(a.Context(), &q); err != nil {
			a.Fatal(err)
		}
	}
}

// wanted asks for a rendition and waits until it is running.
func (a *onAir) wanted(name string) *hub.Reader {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), patience)
	defer cancel()
	for a.tr.Offers("s") == nil && ctx.Err() == nil {
		_, _ = a.next(ctx) // until the transcoder has heard of the stream
	}
	if err := a.tr.Want("s", name); err != nil {
		a.Fatal(err)
	}
	a.until(name, Running)
	for _, f := range a.pub.Stream().Feeds() {
		if f.Name() == name {
			return f.NewReader(hub.ReaderOptions{From: hub.OldestKept})
		}
	}
	a.Fatalf("no feed %q", name)
	return nil
}

// next waits for an event, or for a moment.
func (a *onAir) next(ctx context.Context) (event.RenditionChanged, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	e, _, err := a.bus.Next(ctx)
	c, _ := e.Event.(event.RenditionChanged)
	return c, err
}

// until waits until an event tells of that state.
func (a *onAir) until(name string, want State) {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), patience)
	defer cancel()
	for {
		e, _, err := a.bus.Next(ctx)
		if err != nil {
			a.Fatalf("%s is not %s: %v, %+v", name, want, err, a.tr.Renditions("s"))
		}
		if c, ok := e.Event.(event.RenditionChanged); ok && c.Rendition == name && c.State == string(want) {
			return
		}
	}
}

// take reads until that time, or the end.
func (a *onAir) take(r *hub.Reader, until time.Duration) (out []*media.Packet) {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), patience)
	defer cancel()
	for {
		p, err := r.ReadPacket(ctx)
		if err == io.EOF {
			return out
		}
		if err != nil {
			a.Fatalf("after %d packets: %v", len(out), err)
		}
		out = append(out, p)
		if p.Track.Duration(p.PTS) >= until {
			return out
		}
	}
}

// TestRealLadder: the pictures of a rung are those of the source, at the same times, with
// the same keys.
func TestRealLadder(t *testing.T) {
	const frames = 30 // a group
	all := clip(t, 1, "-f", "lavfi", "-i", "testsrc2=s=640x480:r=30", "-t", "6", "-pix_fmt", "yuv420p",
		"-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "30", "-sc_threshold", "0")
	a := airing(t, all[0].Track)
	if a.write(all[:frames]); !a.tr.Reorders("s") {
		// It is told of the stream a moment after it began.
		for deadline := time.Now().Add(patience); !a.tr.Reorders("s") && time.Now().Before(deadline); {
			_, _ = a.next(t.Context())
		}
		if !a.tr.Reorders("s") {
			t.Error("B-frames are not seen")
		}
	}
	a.write(all[frames : 2*frames+5])
	r := a.wanted("360p")
	defer r.Close()
	a.write(all[2*frames+5 : 5*frames])
	end := all[0].Track.Duration(all[5*frames-1].PTS)
	var wantTimes, wantKeys []int64
	for _, p := range all[:5*frames] { // from three seconds before it was wanted, if there is as much
		wantTimes = append(wantTimes, p.PTS)
		if p.Key {
			wantKeys = append(wantKeys, p.PTS)
		}
	}
	slices.Sort(wantTimes)
	wantTimes = wantTimes[:len(wantTimes)-4] // the encoder waits for what follows
	var times, keys []int64
	for _, p := range a.take(r, all[0].Track.Duration(wantTimes[len(wantTimes)-1])) {
		times = append(times, p.PTS)
		if p.Key {
			keys = append(keys, p.PTS)
		}
		if p.Track.Codec != media.H264 || p.Track.Width != 480 || p.Track.Height != 360 || p.Track.Timescale != 90000 || p.Track.Rendition != "360p" {
			t.Fatalf("%+v", p.Track)
		}
	}
	if !slices.Equal(times, wantTimes) || !slices.Equal(keys, wantKeys) {
		t.Errorf("times %v, keys %v;\nwant  %v, %v", times, keys, wantTimes, wantKeys)
	}

	// Its ffmpeg is killed: another one goes on at the next key frame.
	if err := syscall.Kill(child(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.until("360p", Starting)
	a.write(all[5*frames:])
	a.until("360p", Running)
	got := a.take(r, end+500*time.Millisecond)
	i := slices.IndexFunc(got, func(p *media.Packet) bool { return p.PTS == all[5*frames].PTS })
	if i < 0 || !got[i].Key {
		t.Errorf("it did not go on at the next key: %d packets", len(got))
	}
	if err := a.tr.Want("s", "360p"); err != nil {
		t.Error(err)
	}
	a.pub.End(nil)
	a.until("360p", Idle)
}

// TestRealSound: what WebRTC takes is made of AAC.
func TestRealSound(t *testing.T) {
	all := clip(t, 2, "-f", "lavfi", "-i", "sine=f=440:r=48000", "-t", "3", "-ac", "2", "-c:a", "aac")
	a := airing(t, all[0].Track)
	a.write(all[:len(all)/2])
	r := a.wanted("opus")
	defer r.Close()
	a.write(all[len(all)/2:])
	got := a.take(r, 102500*time.Millisecond)
	for i, p := range got {
		if p.Track.Codec != media.Opus || p.Track.Rendition != "opus" || i > 0 && p.PTS <= got[i-1].PTS {
			t.Fatalf("packet %d: %+v", i, p)
		}
	}
	if first := got[0].Track.Duration(got[0].PTS); first < 100900*time.Millisecond || first > 101100*time.Millisecond {
		t.Errorf("it begins at %v and not with the newest group", first)
	}
}

// child is the process id of the one ffmpeg that this process runs.
func child(t *testing.T) int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Skip("this system does not list processes in /proc")
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text))
		if len(fields) > 3 && fields[1] == "(ffmpeg)" && fields[2] != "Z" && fields[3] == strconv.Itoa(os.Getpid()) {
			pid, _ := strconv.Atoi(fields[0])
			return pid
		}
	}
	t.Fatal("no ffmpeg runs")
	return 0
}

// TestRealHEVC: of a picture that not every player takes, one encoder makes what playlists
// and what WebRTC need.
func TestRealHEVC(t *testing.T) {
	all := clip(t, 1, "-f", "lavfi", "-i", "testsrc2=s=320x240:r=25", "-t", "3", "-pix_fmt", "yuv420p",
		"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=25:scenecut=0", "-tag:v", "hvc1")
	a := airing(t, all[0].Track)
	a.write(all[:30])
	listed := a.wanted("240p")
	defer listed.Close()
	if err := a.tr.Want("s", media.RenditionRealtime); err != nil {
		t.Error(err)
	}
	feeds := a.pub.Stream().Feeds()
	i := slices.IndexFunc(feeds, func(f *hub.Feed) bool { return f.Name() == media.RenditionRealtime })
	if i < 0 || !feeds[i].Private() {
		t.Fatal("no feed for WebRTC")
	}
	private := feeds[i].NewReader(hub.ReaderOptions{From: hub.OldestKept})
	defer private.Close()
	a.write(all[30:])
	one, other := a.take(listed, 102500*time.Millisecond), a.take(private, 102500*time.Millisecond)
	if len(one) != len(other) || !bytes.Equal(one[0].Data, other[0].Data) || one[0].PTS != other[0].PTS {
		t.Errorf("%d and %d packets of one encoder", len(one), len(other))
	}
	if one[0].Track.Codec != media.H264 || other[0].Track.Rendition != media.RenditionRealtime {
		t.Errorf("%+v", other[0].Track)
	}
}
