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

	"onair/internal/fault"
	"onair/internal/media"
)

func mustDerive(t testing.TB, s *Stream, name string, o DeriveOptions) *Derivation {
	t.Helper()
	d, err := s.Derive(name, o)
	if err != nil {
		t.Fatalf("Derive(%q): %v", name, err)
	}
	return d
}

func derive(t testing.TB, d *Derivation, packets ...*media.Packet) {
	t.Helper()
	for _, p := range packets {
		if err := d.WritePacket(t.Context(), p); err != nil {
			t.Fatalf("derived packet: %v", err)
		}
	}
}

func TestDerivedFeed(t *testing.T) {
	h, _ := newTestHub(nil)
	source, rung := videoTrack(1), rendition(9, "480p")
	p := mustPublish(t, h, "s", PublishOptions{})
	s := p.Stream()
	mustWrite(t, p, pkt(source, 0, true, 100))
	changed := s.FeedsChanged()
	d := mustDerive(t, s, "480p", DeriveOptions{})
	<-changed
	f := s.Feeds()[1]
	if f.Name() != "480p" || !f.Derived() || f.Private() || s.Feed().Derived() {
		t.Errorf("feed %s: derived %v, private %v", f.Name(), f.Derived(), f.Private())
	}
	reader := f.NewReader(ReaderOptions{})
	derive(t, d, pkt(rung, 0, false, 10), pkt(rung, 40, true, 10), pkt(rung, 80, false, 10))
	if got := drain(t, reader); !slices.Equal(got, []int64{40, 80}) {
		t.Errorf("it has %v", got)
	}
	snap := s.Snapshot()
	if len(snap.Tracks) != 1 || snap.Bytes != 100 || snap.Readers != 1 || snap.Kept != 100+20+3*packetOverhead {
		t.Errorf("what is derived is counted as received: %+v", snap)
	}

	// Another encoder of the stream takes nothing from it.
	p = mustPublish(t, h, "s", PublishOptions{Tracks: []*media.Track{source}})
	derive(t, d, pkt(rung, 120, false, 10))
	if got := drain(t, reader); !slices.Equal(got, []int64{120}) || len(f.Tracks()) != 1 {
		t.Errorf("after a takeover it has %v of %v", got, f.Tracks())
	}

	// It ends for now: nobody joins at what it kept, whoever has it reads on.
	late := f.NewReader(ReaderOptions{From: OldestKept})
	d.End()
	d.End()
	joiner := f.NewReader(ReaderOptions{From: OldestKept})
	if err := d.WritePacket(t.Context(), pkt(rung, 160, true, 10)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("written after its end: %v", err)
	}
	again := mustDerive(t, s, "480p", DeriveOptions{})
	if len(s.Feeds()) != 2 {
		t.Fatalf("feeds %v", feedNames(s))
	}
	derive(t, again, pkt(rung, 60_000, false, 10), pkt(rung, 60_040, true, 10))
	for name, r := range map[string]*Reader{"waiting": reader, "joiner": joiner, "late": late} {
		want := []int64{60_040}
		if name == "late" {
			want = []int64{-1, 60_040} // it was told of what it missed
		}
		if got := drain(t, r); !slices.Equal(got, want) {
			t.Errorf("%s has %v", name, got)
		}
	}

	// Whoever derives it next takes it over.
	third := mustDerive(t, s, "480p", DeriveOptions{})
	if err := again.WritePacket(t.Context(), pkt(rung, 60_080, true, 10)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("written by the one before: %v", err)
	}
	again.End()
	derive(t, third, pkt(rung, 60_080, true, 10))
	p.End(nil)
	if err := third.WritePacket(t.Context(), pkt(rung, 60_120, true, 10)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("written after the stream: %v", err)
	}
	third.End()
	if _, err := s.Derive("480p", DeriveOptions{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("derived of a stream that ended: %v", err)
	}
	if got := drain(t, reader); !slices.Equal(got, []int64{60_080}) {
		t.Errorf("the end of it is %v", got)
	}
	if _, err := reader.ReadPacket(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("a reader of a stream that ended: %v", err)
	}
	if h.bytes.Load() != 0 {
		t.Errorf("%d bytes are left", h.bytes.Load())
	}
}

func TestDerivedNamesAndNumber(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{Tracks: []*media.Track{rendition(3, "720p")}})
	s := p.Stream()
	for _, name := range []string{"", SourceFeed, "720p"} {
		if _, err := s.Derive(name, DeriveOptions{}); !fault.Is(err, fault.Conflict) {
			t.Errorf("Derive(%q): %v", name, err)
		}
	}
	realtime := mustDerive(t, s, "realtime", DeriveOptions{Private: true})
	if f := s.Feeds()[2]; !f.Derived() || !f.Private() {
		t.Error("a private feed is not")
	}
	for i := range maxDerived - 1 {
		mustDerive(t, s, fmt.Sprint(i), DeriveOptions{})
	}
	if _, err := s.Derive("more", DeriveOptions{}); !fault.Is(err, fault.TooMany) {
		t.Errorf("the ninth: %v", err)
	}
	mustDerive(t, s, "realtime", DeriveOptions{Private: true})
	bad := []*media.Packet{nil, {}, pkt(rendition(9, "other"), 0, true, 1)}
	for _, q := range bad {
		if err := realtime.WritePacket(t.Context(), q); !fault.Is(err, fault.Internal) {
			t.Errorf("packet %+v: %v", q, err)
		}
	}
	// The publisher's own renditions have their places beside them.
	for i := range maxFeeds - 2 {
		mustWrite(t, p, pkt(rendition(20+i, fmt.Sprint("own", i)), 0, true, 10))
	}
	if err := p.WritePacket(t.Context(), pkt(rendition(90, "own"), 0, true, 10)); !fault.Is(err, fault.TooMany) {
		t.Errorf("the publisher's ninth: %v", err)
	}
}

// TestPublisherTakesADerivedName: what the publisher sends itself need not be made.
func TestPublisherTakesADerivedName(t *testing.T) {
	h, _ := newTestHub(nil)
	p := mustPublish(t, h, "s", PublishOptions{})
	s := p.Stream()
	d := mustDerive(t, s, "480p", DeriveOptions{})
	derive(t, d, pkt(rendition(9, "480p"), 0, true, 10))
	r := s.Feeds()[1].NewReader(ReaderOptions{})
	mustWrite(t, p, pkt(rendition(3, "480p"), 40, false, 10), pkt(rendition(3, "480p"), 80, true, 10))
	if got := drain(t, r); !slices.Equal(got, []int64{-1, 80}) && !slices.Equal(got, []int64{0, 80}) {
		t.Errorf("readers see %v", got)
	}
	if err := d.WritePacket(t.Context(), pkt(rendition(9, "480p"), 120, true, 10)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("written beside the publisher: %v", err)
	}
	if _, err := s.Derive("480p", DeriveOptions{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("derived beside the publisher: %v", err)
	}
	if s.Feeds()[1].Derived() || s.Snapshot().Bytes != 20 {
		t.Errorf("the feed is not the publisher's: %+v", s.Snapshot())
	}
}

func TestDerivedWhileThePublisherIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newTestHub(nil)
		p := mustPublish(t, h, "s", PublishOptions{Linger: time.Minute})
		d := mustDerive(t, p.Stream(), "opus", DeriveOptions{Private: true})
		p.End(errLost)
		a := audioTrack(9)
		a.Rendition = "opus"
		for ms := int64(0); ms < 3500; ms += 20 {
			derive(t, d, pkt(a, ms, true, 10))
		}
		if got := groupStarts(p.Stream().Feeds()[1]); !slices.Equal(got, []int64{0, 1000, 2000, 3000}) {
			t.Errorf("groups of a feed of sound: %v", got)
		}
		time.Sleep(2 * time.Minute)
		if err := d.WritePacket(t.Context(), pkt(a, 4000, true, 10)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after the stream: %v", err)
		}
	})
}

// TestDerivedFeedsKeepTheBound: derivations that come and go keep to the stream's bound, and
// every group that can be joined begins with a key.
func TestDerivedFeedsKeepTheBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 64 << 10
		h, _ := newTestHub(func(c *Config) { c.MaxFeedBytes = limit })
		p, err := h.Publish("s", PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s := p.Stream()
		rung, source := rendition(3, "a"), videoTrack(1)
		var d *Derivation
		for i := range int64(rapid.IntRange(1, 300).Draw(t, "steps")) {
			size := rapid.SampledFrom([]int{10, 1000, 10 << 10}).Draw(t, "size")
			key := rapid.IntRange(0, 4).Draw(t, "key") == 0
			switch n := rapid.IntRange(0, 19).Draw(t, "step"); {
			case n == 0 && d != nil:
				d.End()
			case n == 1 || d == nil:
				if d, err = s.Derive("a", DeriveOptions{}); err != nil {
					t.Fatal(err)
				}
			case n < 10:
				if err := d.WritePacket(context.Background(), pkt(rung, i*40, key, size)); err != nil && !errors.Is(err, io.ErrClosedPipe) {
					t.Fatal(err)
				}
			default:
				if err := p.WritePacket(context.Background(), pkt(source, i*40, key, size)); err != nil {
					t.Fatal(err)
				}
			}
			sum := 0
			for _, f := range s.feeds {
				for j := range f.slots.len() {
					sum += len(f.slots.at(j).p.Data) + packetOverhead
				}
				for j := range f.groups.len() {
					if !f.slots.at(int(f.groups.at(j).seq - f.tail)).p.Key {
						t.Fatalf("a group of %s does not begin with a key", f.name)
					}
				}
			}
			if sum != s.bytes || sum > limit || int64(sum) != h.bytes.Load() {
				t.Fatalf("%d bytes kept, %d counted, %d in the hub; %d are allowed", sum, s.bytes, h.bytes.Load(), limit)
			}
		}
	})
}
