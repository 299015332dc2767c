package record

import (
	"context"
	"strings"
	"testing"
	"time"

	"onair/internal/media/mediatest"
)

// An index that is damaged in the middle while its broadcast was being recorded is made whole
// of the segments; and nothing is removed.
func TestDamagedIndexIsRepaired(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		l, _ := library(t, d)
		ctx, kill := context.WithCancel(context.Background())
		done, s := make(chan error, 1), r.stream()
		go func() { done <- l.Record(ctx, assetID, streamID, s) }()
		r.write(21 * time.Second)
		kill()
		if err := <-done; err == nil {
			t.Error("it did not end with ctx")
		}
		r.end()
		a, _ := l.Asset(assetID)
		told := a.Snapshot()
		objects, _ := l.storage.List(t.Context(), "")
		if err := l.dropOpen(assetID); err != nil { // the rest is to be exactly what it was
			t.Fatal(err)
		}

		index := d.now["r/"+journalName(assetID)]
		at := strings.Index(string(index.data), told.Renditions[0].Segments.At(4).Name)
		index.data[at] ^= 1
		again, _ := library(t, d)
		if err := again.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := again.Finish(t.Context(), assetID); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			b, ok := again.Asset(assetID)
			if !ok {
				t.Fatal("there is no asset")
			}
			now := b.Snapshot()
			check(t, again, now)
			if now.State != Ready || len(now.Gaps) != 0 || now.Bytes != told.Bytes || (now.Duration-told.Duration).Abs() > time.Microsecond {
				t.Errorf("%s, %v, before %v, gaps %v", now.State, now.Duration, told.Duration, now.Gaps)
			}
			if left, _ := again.storage.List(t.Context(), ""); len(left) != len(objects) {
				t.Errorf("%d objects, before %d", len(left), len(objects))
			}
			again, _ = library(t, d) // and once more as it is on disk
			if err := again.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// An asset whose index has lost its beginning is told of, and stays as it is; others are read.
func TestIndexWithoutItsBeginning(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		l, f := library(t, d)
		done := r.record(l)
		r.write(6 * time.Second)
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		objects, _ := l.storage.List(t.Context(), "")
		b, _ := sample()
		b = appendEntry(b, &entry{End: &endEntry{State: Ready}}, nil)
		j, err := f.Append("as_other/index.log")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Write(b); err != nil {
			t.Fatal(err)
		}
		for _, cut := range []string{journalName(assetID), "as_other/index.log"} {
			d.now["r/"+cut].data[9] ^= 1
			again, _ := library(t, d)
			if err := again.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, ok := again.Asset(assetID); ok {
				t.Error("it is read without its beginning")
			}
			if left, _ := again.storage.List(t.Context(), ""); len(left) != len(objects) {
				t.Errorf("%d objects, before %d", len(left), len(objects))
			}
		}
	})
}

// Where the encoder changes its parameters there is another initialization section, also in
// the index of a server that was killed.
func TestParametersChange(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := newFakeDisk()
		l, _ := library(t, d)
		done := r.record(l)
		r.write(7 * time.Second)
		r.publish(mediatest.Options{Width: 640, Height: 360, FrameSize: 300, AudioSize: 60, Offset: 7500 * time.Millisecond})
		r.write(7 * time.Second)
		r.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		again, _ := library(t, d)
		if err := again.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, l := range []*Library{l, again} {
			a, _ := l.Asset(assetID)
			s := a.Snapshot()
			compare(t, l, r.stream(), s)
			v, ok := s.Rendition("v0")
			if !ok || len(v.Inits) != 2 || v.Inits[0].Track.Width == v.Inits[1].Track.Width || v.Segments.At(v.Segments.Len()-1).Init != 1 {
				t.Fatalf("%+v", v)
			}
		}
	})
}

// What is not recorded takes bounded memory, and is read again when somebody asks.
func TestIndexesAreBounded(t *testing.T) {
	d := newFakeDisk()
	l, f := library(t, d)
	for _, id := range []string{"as_a", "as_b", "as_c"} {
		b := appendEntry(nil, &entry{Head: &headEntry{Format: indexFormat, Asset: id, Stream: streamID, Target: 3}}, nil)
		b = appendEntry(b, &entry{End: &endEntry{State: Ready}}, nil)
		j, err := f.Append(journalName(id))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.cfg.MaxIndexBytes = 2 * assetCost
	for range 2 {
		for _, id := range l.Assets() {
			if a, ok := l.Asset(id); !ok || a.Snapshot().ID != id {
				t.Errorf("%s: %v", id, ok)
			}
		}
	}
	if len(l.cache) != 2 || l.cost != 2*assetCost {
		t.Errorf("%d indexes of %d bytes are in memory", len(l.cache), l.cost)
	}
}
