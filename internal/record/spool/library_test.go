package spool_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
	"onair/internal/record"
	"onair/internal/record/spool"
)

// studio publishes a stream that can be recorded.
type studio struct {
	t      *testing.T
	hub    *hub.Hub
	packer *pack.Packer
	pub    *hub.Publication
	gen    *mediatest.Generator
	tracks map[*media.Track]*media.Track
}

func newStudio(t *testing.T, frame int) *studio {
	h := hub.New(hub.DefaultConfig(), event.NewBus(), quiet, nil)
	s := &studio{t: t, hub: h, packer: pack.New(pack.DefaultConfig(), h, quiet, nil), tracks: map[*media.Track]*media.Track{}}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.packer.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
		h.Close(io.EOF)
	})
	var err error
	if s.pub, err = h.Publish("st_1", hub.PublishOptions{Session: "s", LatencyMode: media.LatencyLow, Linger: time.Minute}); err != nil {
		t.Fatal(err)
	}
	s.gen = mediatest.NewGenerator(mediatest.Options{FrameSize: frame, AudioSize: 60, Start: time.Now()})
	return s
}

// write writes what is due in a time.
func (s *studio) write(d time.Duration) {
	s.t.Helper()
	for until := time.Now().Add(d); ; {
		p := s.gen.Next()
		if s.tracks[p.Track] == nil {
			track, err := bitstream.Describe(p.Track)
			if err != nil {
				s.t.Fatal(err)
			}
			s.tracks[p.Track] = track
		}
		p.Track = s.tracks[p.Track]
		if d := time.Until(p.Arrival); d > 0 {
			time.Sleep(d) // the bubble's time
		}
		if err := s.pub.WritePacket(context.Background(), p); err != nil {
			s.t.Fatal(err)
		}
		if !p.Arrival.Before(until) {
			synctest.Wait()
			return
		}
	}
}

// record records in the background until stop is called or the broadcast ends.
func (s *studio) record(l *record.Library) (done chan error, stop func()) {
	s.t.Helper()
	synctest.Wait()
	stream, ok := s.packer.Stream("st_1")
	if !ok {
		s.t.Fatal("the packer has no stream")
	}
	ctx, stop := context.WithCancel(context.Background())
	done = make(chan error, 1)
	go func() { done <- l.Record(ctx, "as_1", "st_1", stream) }()
	s.t.Cleanup(stop)
	return done, stop
}

// library loads one of what a spool has.
func library(t *testing.T, r *rig) *record.Library {
	t.Helper()
	return libraryWith(t, r, event.NewBus())
}

func libraryWith(t *testing.T, r *rig, events *event.Bus) *record.Library {
	t.Helper()
	cfg := record.DefaultConfig()
	cfg.Scan = func([][]byte) ([]byte, error) { return []byte("table"), nil }
	l := record.New(cfg, r, r, events, quiet, nil)
	if err := l.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	return l
}

// checkAsset reads all that an asset lists, and returns the number of its segments.
func checkAsset(t *testing.T, l *record.Library, state record.State) int {
	t.Helper()
	a, ok := l.Asset("as_1")
	if !ok {
		t.Fatal("there is no such asset")
	}
	snap, n := a.Snapshot(), 0
	if snap.State != state || len(snap.Gaps) > 0 {
		t.Errorf("it is %s, with gaps %v", snap.State, snap.Gaps)
	}
	for _, r := range snap.Renditions {
		for _, seg := range unpacked(r.Segments) {
			n++
			o, err := l.Open(context.Background(), "as_1", r.Name, seg.Name, 0, -1)
			if err != nil {
				t.Errorf("%s: %v", r.Name, err)
				continue
			}
			b, err := io.ReadAll(o)
			if err != nil || int64(len(b)) != seg.Size {
				t.Errorf("%s: %s has %d bytes, %d in the index: %v", r.Name, seg.Name, len(b), seg.Size, err)
			}
			_ = o.Close() // it was in memory
		}
	}
	return n
}

// A broadcast that is recorded while the bucket comes and goes is in the bucket as a whole,
// and another machine finds it there.
func TestRecordingIsInTheBucket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud()
		r := open(t, spool.DefaultConfig(), t.TempDir(), c)
		l := library(t, r)
		r.run(t)
		s := newStudio(t, 300)
		s.write(2 * time.Second)
		done, _ := s.record(l)
		s.write(20 * time.Second)
		c.set(errAway)
		s.write(60 * time.Second)
		c.set(nil)
		s.write(40 * time.Second)
		if w := r.waiting(t); strings.Count(w, " ") > 3 {
			t.Errorf("40 s after the bucket came back there wait: %s", w)
		}
		c.set(errAway)
		s.write(10 * time.Second)
		s.pub.End(io.EOF)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if a, ok := l.Asset("as_1"); !ok || a.Snapshot().State != record.Ready {
			t.Error("it is not ready while the bucket is away")
		}
		time.Sleep(20 * time.Second)
		c.set(nil)
		time.Sleep(31 * time.Second)
		if w := r.waiting(t); w != "" {
			t.Errorf("there wait: %s", w)
		}
		want := checkAsset(t, l, record.Ready)
		if want < 120 {
			t.Errorf("it has %d segments", want)
		}
		r.stop()

		// One that may not keep anything reads it all the same, and changes nothing.
		looking, err := record.ReadFolder(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		view, err := spool.New(spool.DefaultConfig(), looking, c, nil, quiet, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := checkAsset(t, library(t, &rig{Spool: view}), record.Ready); got != want {
			t.Errorf("a folder that is read only: %d segments of %d", got, want)
		}
		if _, err := view.Append("as_1/index.log"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("an index that is elsewhere is begun anew: %v", err)
		}

		other := open(t, spool.DefaultConfig(), t.TempDir(), c)
		l = library(t, other)
		if got := checkAsset(t, l, record.Ready); got != want {
			t.Errorf("another machine has %d segments of %d", got, want)
		}
		if tables, err := l.Tables(context.Background(), "as_1", "v0"); err != nil || len(tables[0]) == 0 || string(tables[0][0].Data) != "table" {
			t.Errorf("sample tables: %d, %v", len(tables), err)
		}
		// It is deleted for all.
		if err := l.Delete(context.Background(), "as_1"); err != nil || c.names() != "" {
			t.Errorf("deleted: %v, in the bucket: %s", err, c.names())
		}
		if names, err := other.folder.Names(); err != nil || len(names) > 0 {
			t.Errorf("in the folder: %v %v", names, err)
		}
	})
}

// The server is killed while the bucket is away, and is started again while it still is: the
// same asset goes on.
func TestKilledWhileAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, dir := newCloud(), t.TempDir()
		r := open(t, spool.DefaultConfig(), dir, c)
		l := library(t, r)
		r.run(t)
		s := newStudio(t, 300)
		s.write(2 * time.Second)
		done, kill := s.record(l)
		s.write(20 * time.Second)
		c.set(errAway)
		s.write(5 * time.Second)
		kill()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		r.stop()

		r = open(t, spool.DefaultConfig(), dir, c)
		l = library(t, r)
		r.run(t)
		stream, _ := s.packer.Stream("st_1")
		if id, ok := l.Resume("st_1", stream); !ok || id != "as_1" {
			t.Fatalf("resume: %q %v", id, ok)
		}
		done, _ = s.record(l)
		s.write(5 * time.Second)
		s.pub.End(io.EOF)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		c.set(nil)
		time.Sleep(31 * time.Second)
		if n := checkAsset(t, l, record.Ready); n < 30 || r.waiting(t) != "" {
			t.Errorf("%d segments, there wait: %s", n, r.waiting(t))
		}
	})
}

// What another server did not end is left alone, as it may be recording; if it is gone for
// good, it is taken over, with what was sent after the last copy of the index.
func TestAdopt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud()
		r := open(t, spool.DefaultConfig(), t.TempDir(), c)
		l := library(t, r)
		r.run(t)
		s := newStudio(t, 300)
		s.write(2 * time.Second)
		done, kill := s.record(l)
		s.write(90 * time.Second)
		r.stop() // its machine burns down
		kill()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		before := c.names()
		n := strings.Count(before, "/s")

		l = library(t, open(t, spool.DefaultConfig(), t.TempDir(), c))
		if ids := l.Assets(); len(ids) > 0 || c.names() != before {
			t.Errorf("taken over: %v, and in the bucket there is\n%s", ids, c.names())
		}
		cfg := spool.DefaultConfig()
		cfg.Adopt = true
		l = library(t, open(t, cfg, t.TempDir(), c))
		if ids := l.Unfinished(); !slices.Equal(ids, []string{"as_1"}) {
			t.Fatalf("not taken over: %v", ids)
		}
		if err := l.Finish(context.Background(), "as_1"); err != nil {
			t.Fatal(err)
		}
		if got := checkAsset(t, l, record.Ready); got != n {
			t.Errorf("it has %d segments of %d", got, n)
		}
	})
}

// The bucket is away until nothing more may wait: the recording stops, which is told once, and
// goes on in the same asset when it is back. The live stream has nothing of it.
func TestFullSpool(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, bus := newCloud(), event.NewBus()
		cfg := spool.DefaultConfig()
		cfg.MaxBytes = 16 << 20
		r := open(t, cfg, t.TempDir(), c)
		heard := bus.Listen()
		l := libraryWith(t, r, bus)
		r.run(t)
		s := newStudio(t, 40_000)
		s.write(2 * time.Second)
		done, _ := s.record(l)
		s.write(4 * time.Second)
		c.set(errAway)
		s.write(50 * time.Second)
		errored := 0
		for e, ok := next(heard); ok; e, ok = next(heard) {
			if e, ok := e.Event.(event.AssetErrored); ok {
				errored++
				if e.Code != string(fault.TooLarge) || !strings.Contains(e.Reason, "away since") {
					t.Errorf("told: %s %s", e.Code, e.Reason)
				}
			}
		}
		if errored != 1 {
			t.Errorf("it was told %d times", errored)
		}
		c.set(nil)
		s.write(12 * time.Second)
		s.pub.End(io.EOF)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second)
		if w := r.waiting(t); w != "" {
			t.Errorf("there wait: %s", w)
		}
		a, ok := l.Asset("as_1")
		if !ok || a.Snapshot().State != record.Ready {
			t.Fatal("there is no such asset, or it is not ready")
		}
		snap := a.Snapshot()
		if len(snap.Gaps) != 1 || snap.Duration < 60*time.Second {
			t.Errorf("%v, with gaps %v", snap.Duration, snap.Gaps)
		}
	})
}
