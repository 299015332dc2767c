package play

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate knows the playback id "pb_1".
type gate struct{}

func (gate) AdmitPlay(_ context.Context, id string) (string, error) {
	if id != "pb_1" {
		return "", fault.New(fault.NotFound, "play", id, "there is no such playback id", "")
	}
	return "ls_1", nil
}

// viewer takes packets as slowly as it is told.
type viewer struct {
	id       string
	only     media.Codec   // the only codec it takes; 0 for all
	pause    time.Duration // before each packet
	accepted []*media.Track
	rejected error
	closed   bool
	reason   error
	packets  []*media.Packet
}

func (v *viewer) Protocol() string            { return "test" }
func (v *viewer) Peer() net.Addr              { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }
func (v *viewer) PlaybackID() string          { return v.id }
func (v *viewer) Supports(c media.Codec) bool { return v.only == 0 || c == v.only }
func (v *viewer) Reject(err error)            { v.rejected = err }
func (v *viewer) Close(err error)             { v.closed, v.reason = true, err }

func (v *viewer) Accept(_ context.Context, tracks []*media.Track) error {
	v.accepted = tracks
	return nil
}

func (v *viewer) WritePacket(ctx context.Context, p *media.Packet) error {
	if v.pause > 0 {
		select {
		case <-time.After(v.pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	v.packets = append(v.packets, p)
	return nil
}

type station struct {
	*Player
	hub *hub.Hub
}

func newStation(t *testing.T) *station {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	h := hub.New(hub.DefaultConfig(), event.NewBus(), log, nil)
	return &station{New(DefaultConfig(), gate{}, h, log, prometheus.NewRegistry()), h}
}

// broadcast publishes at the pace of the clock and ends the stream cleanly.
func (s *station) broadcast(t *testing.T, length time.Duration) {
	t.Helper()
	g := mediatest.NewGenerator(mediatest.Options{Duration: length, GOP: 25, RateNum: 25})
	pub, err := s.hub.Publish("ls_1", hub.PublishOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	begun := time.Now()
	described := map[*media.Track]*media.Track{}
	for {
		p, err := g.ReadPacket(t.Context())
		if errors.Is(err, io.EOF) {
			pub.End(nil)
			return
		}
		if described[p.Track] == nil {
			if described[p.Track], err = bitstream.Describe(p.Track); err != nil {
				t.Error(err)
				return
			}
		}
		time.Sleep(time.Until(begun.Add(p.Track.Duration(p.DTS))))
		p.Track = described[p.Track]
		if err := pub.WritePacket(t.Context(), p); err != nil {
			t.Error(err)
			return
		}
	}
}

func TestViewerGetsTheStreamToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		go s.broadcast(t, 6*time.Second)
		time.Sleep(2500 * time.Millisecond)
		v := &viewer{id: "pb_1"}
		if err := s.Serve(t.Context(), v); err != nil || !v.closed || v.reason != nil {
			t.Errorf("Serve returned %v, the viewer was told %v", err, v.reason)
		}
		if len(v.accepted) != 2 || len(v.packets) == 0 {
			t.Fatalf("%d tracks, %d packets", len(v.accepted), len(v.packets))
		}
		if p := v.packets[0]; !p.Key || p.Track.Kind() != media.Video {
			t.Errorf("it begins with %+v, want a key frame", p)
		}
		synctest.Wait()
	})
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		for _, tt := range []struct {
			viewer viewer
			live   bool
			kind   fault.Kind
			says   string
		}{
			{viewer{id: "pb_none"}, false, fault.NotFound, "no such playback id"},
			{viewer{id: "pb_1"}, false, fault.NotFound, "not live"},
			{viewer{id: "pb_1", only: media.AAC}, true, fault.Unsupported, "video is H.264"},
			{viewer{id: "pb_1", only: media.H264}, true, fault.Unsupported, "audio is AAC"},
		} {
			if _, on := s.hub.Stream("ls_1"); tt.live && !on {
				go s.broadcast(t, 2*time.Second)
				time.Sleep(time.Second)
			}
			err := s.Serve(t.Context(), &tt.viewer)
			if fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) || !errors.Is(tt.viewer.rejected, err) {
				t.Errorf("%s: %v, the viewer was told %v", tt.viewer.id, err, tt.viewer.rejected)
			}
		}
		time.Sleep(2 * time.Second)
	})
}

// TestSlowViewerIsLetGo: one that cannot keep up is taken to the newest key frame a few
// times, and then told to watch in another way.
func TestSlowViewerIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		go s.broadcast(t, 60*time.Second)
		time.Sleep(2 * time.Second)
		v := &viewer{id: "pb_1", pause: 60 * time.Millisecond}
		err := s.Serve(t.Context(), v)
		if !fault.Is(err, fault.TooLarge) || !strings.Contains(err.Error(), "too slow") || !v.closed {
			t.Errorf("Serve returned %v", err)
		}
		if n := testutil.ToFloat64(s.dropped.WithLabelValues("test")); n != 1 {
			t.Errorf("%v viewers counted as dropped", n)
		}
		time.Sleep(time.Minute)
	})
}

func TestConfigIsValidated(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{}.Validate()
	if err == nil || !strings.Contains(err.Error(), "play-max-lag") || !strings.Contains(err.Error(), "play-max-skips") {
		t.Errorf("the zero value: %v", err)
	}
}
