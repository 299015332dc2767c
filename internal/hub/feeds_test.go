package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/media"
)

func rendition(id int, name string) *media.Track {
	t := videoTrack(id)
	t.Rendition = name
	return t
}

func feedNames(s *Stream) (out []string) {
	for _, f := range s.Feeds() {
		out = append(out, f.Name())
	}
	return out
}

func TestFeedsByRendition(t *testing.T) {
	h, _ := newTestHub(nil)
	source, small, audio := videoTrack(1), rendition(3, "480p"), audioTrack(2)
	p := mustPublish(t, h, "s", PublishOptions{Tracks: []*media.Track{source, audio}})
	s := mustStream(t, h, "s")
	changed := s.FeedsChanged()
	if got := feedNames(s); !slices.Equal(got, []string{SourceFeed}) || s.Feeds()[0] != s.Feed() {
		t.Errorf("feeds %v", got)
	}
	mustWrite(t, p, pkt(source, 0, true, 10), pkt(audio, 0, true, 10))
	select {
	case <-changed:
		t.Error("a change was told though there was none")
	default:
	}
	mustWrite(t, p, pkt(small, 0, true, 10), pkt(small, 40, false, 10))
	<-changed
	if got := feedNames(s); !slices.Equal(got, []string{SourceFeed, "480p"}) {
		t.Fatalf("feeds %v", got)
	}
	if got := drain(t, s.Feeds()[1].NewReader(ReaderOptions{From: OldestKept})); !slices.Equal(got, []int64{0, 40}) {
		t.Errorf("the rendition has %v", got)
	}
	if got := drain(t, s.Feed().NewReader(ReaderOptions{From: OldestKept})); !slices.Equal(got, []int64{0, 0}) {
		t.Errorf("the source has %v", got)
	}
	snap := s.Snapshot()
	if len(snap.Tracks) != 3 || snap.Tracks[2].Rendition != "480p" || snap.Bytes != 40 {
		t.Errorf("%+v", snap)
	}
	// The next publisher's feeds are there before its media.
	mustPublish(t, h, "s", PublishOptions{Tracks: []*media.Track{source, rendition(5, "720p")}})
	if got := feedNames(s); !slices.Equal(got, []string{SourceFeed, "480p", "720p"}) {
		t.Errorf("feeds %v", got)
	}
	h.Kick("s", errLost)
	for _, f := range s.Feeds() {
		r := f.NewReader(ReaderOptions{})
		if _, err := r.ReadPacket(context.Background()); f.Name() == "720p" && !errors.Is(err, io.EOF) {
			t.Errorf("%s ends with %v", f.Name(), err)
		}
	}
	if h.bytes.Load() != 0 || h.living.Load() != 0 {
		t.Errorf("%d bytes of %d streams are left", h.bytes.Load(), h.living.Load())
	}
}

func TestTooManyFeeds(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	for i := range maxFeeds - 1 {
		mustWrite(t, p, pkt(rendition(i+2, fmt.Sprint(i)), 0, true, 10))
	}
	for _, name := range []string{"more", SourceFeed} {
		if err := p.WritePacket(context.Background(), pkt(rendition(90, name), 0, true, 10)); !fault.Is(err, fault.TooMany) {
			t.Errorf("rendition %q: %v", name, err)
		}
	}
	mustWrite(t, p, pkt(videoTrack(1), 0, true, 10))
}

// TestFeedsShareTheBound: whatever is written on which feed, the stream keeps to its bound,
// each feed begins with a group, and small feeds are not emptied by large ones.
func TestFeedsShareTheBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 64 << 10
		h, _ := newTestHub(func(c *Config) { c.MaxFeedBytes = limit })
		p, err := h.Publish("s", PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		tracks := []*media.Track{videoTrack(1), rendition(3, "a"), rendition(5, "b")}
		s := p.Stream()
		for i := range int64(rapid.IntRange(1, 300).Draw(t, "packets")) {
			tr := tracks[rapid.IntRange(0, 2).Draw(t, "track")]
			size := rapid.SampledFrom([]int{10, 1000, 10 << 10}).Draw(t, "size")
			if err := p.WritePacket(context.Background(), pkt(tr, i*40, rapid.IntRange(0, 4).Draw(t, "key") == 0, size)); err != nil {
				t.Fatal(err)
			}
			sum := 0
			for _, f := range s.feeds {
				kept := 0
				for j := range f.slots.len() {
					kept += len(f.slots.at(j).p.Data) + packetOverhead
				}
				if kept != f.bytes {
					t.Fatalf("feed %s counts %d bytes and keeps %d", f.name, f.bytes, kept)
				}
				if f.groups.len() > 0 && !f.slots.at(int(f.groups.at(0).seq-f.tail)).p.Key {
					t.Fatalf("the first group of %s does not begin with a key", f.name)
				}
				sum += kept
			}
			if sum != s.bytes || sum > limit || int64(sum) != h.bytes.Load() {
				t.Fatalf("%d bytes kept, %d counted, %d in the hub; %d are allowed", sum, s.bytes, h.bytes.Load(), limit)
			}
		}
	})
}

func TestFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newTestHub(nil)
		v := videoTrack(1)
		p := mustPublish(t, h, "s", PublishOptions{Linger: time.Minute})
		s := mustStream(t, h, "s")
		mustWrite(t, p, pkt(v, 0, true, 10))
		fill := func(ms int64) error {
			q := pkt(v, ms, true, 10)
			q.Duration = 500
			return p.Fill(q)
		}
		if err := fill(500); err != nil {
			t.Error(err)
		}
		p.End(errLost)
		if err := fill(1000); err != nil {
			t.Errorf("while it lingers: %v", err)
		}
		if err := p.WritePacket(context.Background(), pkt(v, 1500, true, 10)); !errors.Is(err, errLost) {
			t.Errorf("the publisher itself: %v", err)
		}
		if snap := s.Snapshot(); snap.Bytes != 10 || snap.Tracks[0].Packets != 1 || snap.State != Lingering {
			t.Errorf("filler is counted as received: %+v", snap)
		}
		if got := drain(t, s.Feed().NewReader(ReaderOptions{From: OldestKept})); !slices.Equal(got, []int64{0, 500, 1000}) {
			t.Errorf("readers see %v", got)
		}
		p2 := mustPublish(t, h, "s", PublishOptions{Linger: time.Minute})
		if err := fill(2000); !errors.Is(err, errLost) {
			t.Errorf("after somebody else published: %v", err)
		}
		p2.End(errLost)
		time.Sleep(2 * time.Minute)
		if err := p2.Fill(pkt(v, 3000, true, 10)); err == nil {
			t.Error("a stream that ended can be filled")
		}
	})
}

func TestRestoredStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, bus := newTestHub(nil)
		v := videoTrack(1)
		o := RestoreOptions{
			LatencyMode: media.LatencyLow, Linger: time.Minute, Reason: "restarted", Tracks: []*media.Track{v},
		}
		w := h.Watch()
		p, err := h.Restore("s", o)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := w.Next(t.Context()); err != nil || s.State() != Lingering || s.LatencyMode() != media.LatencyLow || s.Feed().Tracks()[0] != v {
			t.Errorf("%v, %v", s, err)
		}
		if _, err := h.Restore("s", o); !fault.Is(err, fault.Conflict) {
			t.Errorf("restored twice: %v", err)
		}
		if err := p.Fill(pkt(v, 3600_000, true, 10)); err != nil {
			t.Error(err)
		}
		p2 := mustPublish(t, h, "s", PublishOptions{Linger: time.Minute})
		p2.End(nil)
		// One that nobody comes back to.
		if _, err := h.Restore("s", o); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if _, ok := h.Stream("s"); ok || h.living.Load() != 0 {
			t.Error("the stream lingers for ever")
		}
		if e, _, _ := bus.ListenAfter(0).Next(t.Context()); e.Event.(event.StreamReconnecting).Reason != "restarted" {
			t.Errorf("told as %+v", e.Event)
		}
	})
}
