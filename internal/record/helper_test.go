package record

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	streamID = "ls_test"
	assetID  = "as_test"
)

var quiet = slog.New(slog.DiscardHandler)

// rig is a hub and a packer in a bubble.
type rig struct {
	t      *testing.T
	hub    *hub.Hub
	pub    *hub.Publication
	packer *pack.Packer
	gen    *mediatest.Generator
	tracks map[*media.Track]*media.Track
	stop   context.CancelFunc
	done   chan struct{}
	mode   media.LatencyMode // low if it is empty
	jump   time.Duration     // of the clock, as packets have it
	keys   time.Duration     // how often key frames come, if pack is told
}

func inBubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, pack.DefaultConfig())
		defer r.close()
		r.publish(mediatest.Options{FrameSize: 300, AudioSize: 60})
		test(t, r)
	})
}

func newRig(t *testing.T, cfg pack.Config) *rig {
	h := hub.New(hub.DefaultConfig(), event.NewBus(), quiet, nil)
	r := &rig{t: t, hub: h, packer: pack.New(cfg, h, quiet, nil), tracks: map[*media.Track]*media.Track{}, done: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	return r.run(ctx)
}

func (r *rig) run(ctx context.Context) *rig {
	go func() {
		defer close(r.done)
		if err := r.packer.Run(ctx); err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}()
	return r
}

func (r *rig) close() {
	r.stop()
	<-r.done
	r.hub.Close(io.EOF)
}

func (r *rig) publish(o mediatest.Options) {
	r.t.Helper()
	mode := r.mode
	if mode == "" {
		mode = media.LatencyLow
	}
	pub, err := r.hub.Publish(streamID, hub.PublishOptions{Session: "s", LatencyMode: mode, Linger: time.Minute})
	if err != nil {
		r.t.Fatal(err)
	}
	o.Start = time.Now().Add(-o.Offset)
	r.pub, r.gen = pub, mediatest.NewGenerator(o)
}

// write writes what is due in a time.
func (r *rig) write(d time.Duration) {
	r.t.Helper()
	for until := time.Now().Add(d); ; {
		p := r.gen.Next()
		if r.tracks[p.Track] == nil {
			t, err := bitstream.Describe(p.Track)
			if err != nil {
				r.t.Fatal(err)
			}
			t.KeyInterval = r.keys
			r.tracks[p.Track] = t
		}
		p.Track = r.tracks[p.Track]
		if d := time.Until(p.Arrival); d > 0 {
			time.Sleep(d) // the bubble's time
		}
		over := !p.Arrival.Before(until)
		if r.jump != 0 {
			p.Arrival = p.Arrival.Add(r.jump).Round(0)
		}
		if err := r.pub.WritePacket(context.Background(), p); err != nil {
			r.t.Fatalf("WritePacket: %v", err)
		}
		if over {
			synctest.Wait()
			return
		}
	}
}

func (r *rig) end() {
	r.pub.End(io.EOF)
	synctest.Wait()
}

func (r *rig) stream() *pack.Stream {
	r.t.Helper()
	synctest.Wait()
	s, ok := r.packer.Stream(streamID)
	if !ok {
		r.t.Fatal("the packer has no stream")
	}
	return s
}

// record records in the background.
func (r *rig) record(l *Library) chan error {
	done, s := make(chan error, 1), r.stream()
	go func() { done <- l.Record(context.Background(), assetID, streamID, s) }()
	return done
}

// library is one on a fake disk.
func library(t testing.TB, d *fakeDisk) (*Library, *Folder) {
	t.Helper()
	f, err := newFolder("r", d)
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Scan = func(chunks [][]byte) ([]byte, error) {
		n := 0
		for _, c := range chunks {
			n += len(c)
		}
		return []byte{byte(n), byte(n >> 8), byte(n >> 16)}, nil
	}
	return New(cfg, f, f, event.NewBus(), quiet, nil), f
}

// check compares an asset with what pack made, and its objects with what the index tells.
// From is how many of the newest segments of pack may be missing at its end.
func check(t testing.TB, l *Library, s *Snapshot) {
	t.Helper()
	for _, r := range s.Renditions {
		for i, seg := range unpacked(r.Segments) {
			if i > 0 && seg.Sequence != r.Segments.At(i-1).Sequence+1 {
				t.Errorf("%s: %d after %d", r.Name, seg.Sequence, r.Segments.At(i-1).Sequence)
			}
			if seg.Gap {
				continue
			}
			if n := len(content(t, l, s.ID, r.Name, seg.Name)); int64(n) != seg.Size {
				t.Errorf("%s: %s has %d bytes, %d in the index", r.Name, seg.Name, n, seg.Size)
			}
			if int(seg.Init) >= len(r.Inits) {
				t.Errorf("%s: %s has no initialization section", r.Name, seg.Name)
			}
		}
		for _, i := range r.Inits {
			if string(content(t, l, s.ID, r.Name, i.Name)) != string(i.Data) {
				t.Errorf("%s: %s is another than in the index", r.Name, i.Name)
			}
		}
	}
}

func content(t testing.TB, l *Library, asset, rendition, name string) []byte {
	t.Helper()
	o, err := l.Open(context.Background(), asset, rendition, name, 0, -1)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer o.Close()
	b, err := io.ReadAll(o)
	if err != nil {
		t.Error(err)
	}
	return b
}

// unpacked are the segments of a rendition.
func unpacked(s Segments) (list []Segment) {
	for i := range s.Len() {
		list = append(list, s.At(i))
	}
	return list
}
