package hub

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"onair/internal/event"
	"onair/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func videoTrack(id int) *media.Track {
	return &media.Track{ID: id, Codec: media.H264, Timescale: 1000, Config: []byte{1}, Width: 1280, Height: 720, FrameRate: 25}
}

func audioTrack(id int) *media.Track {
	return &media.Track{ID: id, Codec: media.AAC, Timescale: 1000, SampleRate: 48000, Channels: 2}
}

// pkt makes a packet at ms of size bytes; audio is always a key.
func pkt(t *media.Track, ms int64, key bool, size int) *media.Packet {
	return &media.Packet{Track: t, DTS: ms, PTS: ms, Key: key || t.Kind() == media.Audio, Data: make([]byte, size)}
}

func newTestHub(change func(*Config)) (*Hub, *event.Bus) {
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	bus := event.NewBus()
	return New(cfg, bus, nil, nil), bus
}

func mustPublish(t testing.TB, h *Hub, name string, o PublishOptions) *Publication {
	t.Helper()
	p, err := h.Publish(name, o)
	if err != nil {
		t.Fatalf("Publish(%q): %v", name, err)
	}
	return p
}

func mustWrite(t testing.TB, p *Publication, packets ...*media.Packet) {
	t.Helper()
	for _, pk := range packets {
		if err := p.WritePacket(t.Context(), pk); err != nil {
			t.Fatalf("WritePacket: %v", err)
		}
	}
}

func mustStream(t testing.TB, h *Hub, name string) *Stream {
	t.Helper()
	s, ok := h.Stream(name)
	if !ok {
		t.Fatalf("no stream %q", name)
	}
	return s
}

// writeGroups writes groups of frames 40 ms apart, a key every gop frames.
func writeGroups(t testing.TB, p *Publication, tr *media.Track, from int64, frames, gop, size int) {
	t.Helper()
	for i := range frames {
		mustWrite(t, p, pkt(tr, from+int64(i)*40, i%gop == 0, size))
	}
}

// eventsUntil returns the names of the events after seq, up to now.
func eventNames(t testing.TB, bus *event.Bus, n int) []string {
	t.Helper()
	l := bus.ListenAfter(0)
	var out []string
	for range n {
		e, _, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Event.Type())
	}
	return out
}

// drain reads what is there without waiting and returns the DTS read, with -1 for a Gap.
func drain(t testing.TB, r *Reader) (dts []int64) {
	t.Helper()
	for {
		r.feed.stream.mu.Lock()
		p, err := r.read()
		r.feed.stream.mu.Unlock()
		switch {
		case p != nil:
			dts = append(dts, p.DTS)
		case err != nil:
			if _, ok := err.(*Gap); !ok {
				return dts
			}
			dts = append(dts, -1)
		default:
			return dts
		}
	}
}

const second = time.Second
