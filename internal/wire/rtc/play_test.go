package rtc

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// pictures takes H.264 out of packets in order: Annex B, a picture an entry.
func pictures(t *testing.T, packets []*rtp.Packet) (out [][]byte, times []uint32) {
	t.Helper()
	d := &codecs.H264Packet{}
	var picture []byte
	for i, p := range packets {
		if i > 0 && p.SequenceNumber != packets[i-1].SequenceNumber+1 {
			t.Fatalf("packet %d has number %d after %d", i, p.SequenceNumber, packets[i-1].SequenceNumber)
		}
		b, err := d.Unmarshal(p.Payload)
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		picture = append(picture, b...)
		if p.Marker {
			out, times = append(out, picture), append(times, p.Timestamp)
			picture = nil
		}
	}
	return out, times
}

func TestViewerSeesPictureAndSound(t *testing.T) {
	st := newStation()
	h := serve(t, testConfig(), st)
	show(t, h, st, mediatest.Options{Audio: media.Opus, Width: 640, Height: 360, GOP: 30})
	w := newWatcher(t, watcherOptions{}).watch(h)
	w.wait("two seconds of media", func(v, a []*rtp.Packet) bool { return len(v) > 80 && len(a) > 100 })
	w.mu.Lock()
	video, audio := w.got["video"], w.got["audio"]
	w.mu.Unlock()
	seen, times := pictures(t, video)
	if !bytes.Contains(seen[0], []byte{0, 0, 0, 1, 0x67}) {
		t.Errorf("the first picture has no parameter sets: %x", seen[0][:min(len(seen[0]), 40)])
	}
	for i := 1; i < len(times); i++ {
		if step := int32(times[i] - times[i-1]); step <= 0 || step > 9000 {
			t.Errorf("picture %d comes %d ticks after the one before", i, step)
		}
	}
	for i := 1; i < len(audio); i++ {
		if step := audio[i].Timestamp - audio[i-1].Timestamp; step != 960 || audio[i].SequenceNumber != audio[i-1].SequenceNumber+1 {
			t.Errorf("sound %d comes %d ticks after the one before, as number %d after %d", i, step, audio[i].SequenceNumber, audio[i-1].SequenceNumber)
		}
	}
	if a := h.ask(t, http.MethodDelete, w.location, ""); a.status != http.StatusOK {
		t.Errorf("DELETE was answered with %d %s", a.status, a.body)
	}
	select {
	case <-w.closed:
	case <-time.NewTimer(10 * time.Second).C:
		t.Error("DELETE did not close the connection")
	}
	if a := h.ask(t, http.MethodDelete, w.location, ""); a.status != http.StatusNotFound {
		t.Errorf("a second DELETE was answered with %d", a.status)
	}
}
