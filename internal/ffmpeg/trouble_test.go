package ffmpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// looped yields packets again and again, later each time, until the context ends.
type looped struct {
	packets []*media.Packet
	n       int
	span    int64
}

func newLooped(packets []*media.Packet) *looped {
	last := packets[len(packets)-1]
	return &looped{packets: packets, span: last.DTS + last.Duration - packets[0].DTS}
}

func (l *looped) ReadPacket(ctx context.Context) (*media.Packet, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := *l.packets[l.n%len(l.packets)]
	shift := int64(l.n/len(l.packets)) * l.span
	p.DTS, p.PTS = p.DTS+shift, p.PTS+shift
	l.n++
	return &p, nil
}

// generated is H.264 that needs no ffmpeg to make.
func generated(t *testing.T) *looped {
	t.Helper()
	var packets []*media.Packet
	g := mediatest.NewGenerator(mediatest.Options{})
	for len(packets) < 60 {
		p, err := g.ReadPacket(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Track.Kind() == media.Video {
			packets = append(packets, p)
		}
	}
	return newLooped(packets)
}

// TestTroubleIsNamedAndEnded runs programs that misbehave: each is gone within seconds of the
// time-out, leaves nothing behind, and is told apart from the others.
func TestTroubleIsNamedAndEnded(t *testing.T) {
	for name, want := range map[string]struct {
		cause error
		kind  fault.Kind
	}{
		"sleeps":   {ErrStalled, fault.Timeout},
		"swallows": {ErrStalled, fault.Timeout},
		"floods":   {ErrStalled, fault.Timeout},
		"garbles":  {ErrGarbage, fault.Invalid},
		"breaks":   {ErrEncoder, fault.Unavailable}, // of a hardware encoder nothing came
		"exits":    {ErrEncoder, fault.Unavailable},
		"refuses":  {ErrEncoder, fault.Unavailable},
		"crashes":  {ErrEncoder, fault.Unavailable},
		"spawns":   {ErrStalled, fault.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			tool := shimTool(t, name)
			if want.cause != ErrStalled {
				tool.cfg.StartTimeout = time.Minute
			}
			src := generated(t)
			before, open := children(t), files(t)
			v := Video{Encoder: tool.encoders[0], Width: 160, Height: 90, MaxBitrate: 300_000}
			begin := time.Now()
			err := tool.Run(t.Context(), Job{Stream: "s", Source: src.packets[0].Track, Outputs: []Output{{Name: "90p", Sink: &taker{}, Video: &v}}}, src, nil)
			if !errors.Is(err, want.cause) || !fault.Is(err, want.kind) {
				t.Errorf("%v", err)
			}
			if took := time.Since(begin); want.cause == ErrStalled && took > tool.cfg.StartTimeout+8*time.Second {
				t.Errorf("it took %v", took)
			}
			if after := children(t); len(after) > len(before) {
				t.Errorf("children before %v, after %v", before, after)
			}
			if after := files(t); after > open {
				t.Errorf("%d files open before, %d after", open, after)
			}
			t.Log(err)
		})
	}
}

func TestStoppingIsEnforced(t *testing.T) {
	for _, name := range []string{"sleeps", "swallows", "floods"} {
		tool := shimTool(t, name)
		tool.cfg.StartTimeout = time.Minute
		src := generated(t)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		v := Video{Encoder: tool.encoders[0], Width: 160, Height: 90, MaxBitrate: 300_000}
		begin := time.Now()
		err := tool.Run(ctx, Job{Stream: "s", Source: src.packets[0].Track, Outputs: []Output{{Name: "90p", Sink: &taker{}, Video: &v}}}, src, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(begin); took > 8*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
	}
}

func TestWhatAChildStartedEndsWithIt(t *testing.T) {
	tool := shimTool(t, "spawns")
	c, err := tool.start(nil, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	for deadline := time.Now().Add(20 * time.Second); pid == 0 && time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		pid, _ = strconv.Atoi(c.said.reason())
	}
	c.stop()
	tool.release(c)
	if pid == 0 {
		t.Fatal("it started nothing")
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		// A dead one stays until whoever is its parent now asks for it.
		if state := stateOf(pid); state == "" || state == "Z" {
			return
		}
	}
	t.Error("it lives on")
}

// TestRealTrouble does to a real ffmpeg what happens to one.
func TestRealTrouble(t *testing.T) {
	whole := realTool(t)
	in := newLooped(testPicture(t, 100, "320x180", "2", "-c:v", "libx264", "-preset", "ultrafast", "-g", "30"))
	for name, c := range map[string]struct {
		signal syscall.Signal
		cause  error
	}{
		"killed":  {syscall.SIGKILL, ErrDied},
		"stopped": {syscall.SIGSTOP, ErrStalled},
		"crashed": {syscall.SIGSEGV, ErrDied},
	} {
		t.Run(name, func(t *testing.T) {
			tool := *whole
			if c.cause == ErrStalled {
				tool.cfg.StallTimeout = 2 * time.Second
			}
			before := children(t)
			var out taker
			out.each = func(*media.Packet) {
				if len(out.packets) == 20 {
					for _, pid := range children(t) {
						if !slices.Contains(before, pid) {
							_ = syscall.Kill(pid, c.signal)
						}
					}
				}
			}
			v := Video{Encoder: tool.Encoders(media.H264)[0], Width: 160, Height: 90, MaxBitrate: 300_000}
			err := tool.Run(t.Context(), Job{Stream: "s", Source: in.packets[0].Track, Outputs: []Output{{Name: "90p", Sink: &out, Video: &v}}}, &looped{packets: in.packets, span: in.span}, nil)
			if !errors.Is(err, c.cause) {
				t.Errorf("%v", err)
			}
			if after := children(t); len(after) > len(before) {
				t.Errorf("children before %v, after %v", before, after)
			}
			t.Log(err)
		})
	}
}

func TestEndsOfTheSourceAndTheSink(t *testing.T) {
	tool := realTool(t)
	in := testPicture(t, 100, "320x180", "1", "-c:v", "libx264", "-preset", "ultrafast")
	v := Video{Encoder: tool.Encoders(media.H264)[0], Width: 160, Height: 90, MaxBitrate: 300_000}
	job := func(sink media.Sink) Job {
		return Job{Stream: "s", Source: in[0].Track, Outputs: []Output{{Name: "90p", Sink: sink, Video: &v}}}
	}
	lost := errors.New("lost")
	if err := tool.Run(t.Context(), job(&taker{}), &list{packets: in, then: lost}, nil); !errors.Is(err, lost) {
		t.Errorf("a source that fails: %v", err)
	}
	if err := tool.Run(t.Context(), job(&taker{refuse: lost}), &list{packets: in, wait: true}, nil); !errors.Is(err, lost) || !errors.Is(err, ErrOutput) {
		t.Errorf("a sink that fails: %v", err)
	}
	if err := tool.Run(t.Context(), job(&taker{}), &list{}, nil); err == nil {
		t.Log("a source without packets is no error")
	} else if !errors.Is(err, ErrDied) {
		t.Errorf("a source without packets: %v", err)
	}
	changed := *in[0]
	other := *changed.Track
	other.Width, changed.Track = 640, &other
	if err := tool.Run(t.Context(), job(&taker{}), &list{packets: []*media.Packet{in[0], &changed}, wait: true}, nil); !errors.Is(err, ErrSource) {
		t.Errorf("a source that changes: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out := &taker{each: func(*media.Packet) { cancel() }}
	if err := tool.Run(ctx, job(out), &list{packets: in, wait: true}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

// stateOf is a process's state as the system has it; empty if there is none.
func stateOf(pid int) (state string) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		_, _ = fmt.Sscan(string(b[bytes.LastIndexByte(b, ')')+1:]), &state)
	}
	return state
}
