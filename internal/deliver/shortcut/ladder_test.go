package shortcut

import (
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onair/internal/deliver/pack"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

// ladder makes a rendition of one name.
type ladder struct {
	name  string
	asked atomic.Int64
	once  sync.Once
	first chan struct{} // closed when it is asked for first
}

func (l *ladder) Offers(string) []media.Offer { return nil }

func (l *ladder) Want(_, rendition string) error {
	if rendition != l.name {
		return fault.New(fault.NotFound, "make rendition", rendition, "there is no such rung", "")
	}
	l.asked.Add(1)
	l.once.Do(func() { close(l.first) })
	return nil
}

// A request in the loop waits for a rendition to be made, and each one says that it is
// wanted.
func TestRungsAreMadeForTheLoop(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := newBroadcast(t)
	defer b.close()
	b.ladder.name = "360p"
	address, stop := overTCP(t, b)
	defer stop()
	c := dial(t, address, child+"360p/index.m3u8", "")
	defer c.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.measure(t)
	}()
	<-b.ladder.first
	stream, _ := b.hub.Stream(streamID)
	to, err := stream.Derive("360p", hub.DeriveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	gen := mediatest.NewGenerator(mediatest.Options{Duration: 12 * time.Second, NoAudio: true, Width: 640, Height: 360})
	var track *media.Track
	for {
		p, err := gen.ReadPacket(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if track == nil {
			described, err := bitstream.Describe(p.Track)
			if err != nil {
				t.Fatal(err)
			}
			made := *described
			made.Rendition = "360p"
			track = &made
		}
		p.Track = track
		if err := to.WritePacket(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	if text := string(c.answer); !strings.HasPrefix(text, "HTTP/1.1 200 OK\r\n") || !strings.Contains(text, "#EXT-X-PART:") {
		t.Errorf("the answer is\n%s", text)
	}
	asked := b.ladder.asked.Load()
	b.wait("360p", func(s *pack.Stream) bool {
		r, ok := s.Rendition("360p")
		return ok && r.Snapshot().Open != nil && len(r.Snapshot().Open.Parts) == 3 // all that was written
	})
	again := dial(t, address, child+"360p/index.m3u8", "")
	defer again.Close()
	again.measure(t)
	before := testing.AllocsPerRun(200, func() { again.ask(t) })
	if now := b.ladder.asked.Load(); now < asked+200 {
		t.Errorf("%d requests said that it is wanted", now-asked)
	}
	if before > 1 {
		t.Errorf("a request costs %v allocations", before)
	}
	b.end() // so that the loop stops at once
}
