package hls

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/audience"
	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/mediatest"
)

const streamID, playbackID = "ls_test", "pb_test"

// rig is a hub, a packer and a handler in a synctest bubble.
type rig struct {
	t       testing.TB
	hub     *hub.Hub
	pub     *hub.Publication
	packer  *pack.Packer
	handler *Handler
	// histories are what the packer found on disk.
	histories []pack.History
	stop      context.CancelFunc
	done      chan struct{}
}

type directory struct{}

func (directory) StreamOf(_ context.Context, id string) (string, error) {
	if id == playbackID {
		return streamID, nil
	}
	return "", fault.New(fault.NotFound, "play", id, "there is no such playback id", "")
}

func newRig(t testing.TB, cfg Config) *rig { return newRigOf(t, cfg, pack.DefaultConfig()) }

func newRigOf(t testing.TB, cfg Config, pc pack.Config) *rig {
	log := slog.New(slog.DiscardHandler)
	h := hub.New(hub.DefaultConfig(), event.NewBus(), log, prometheus.NewRegistry())
	r := &rig{t: t, hub: h, packer: pack.New(pc, h, log, prometheus.NewRegistry()), done: make(chan struct{})}
	r.handler = NewHandler(cfg, r.packer, directory{}, nil, audience.New(cfg.Audience()), log, prometheus.NewRegistry())
	r.histories = r.packer.Histories()
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.done)
		if err := r.packer.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	return r
}

func (r *rig) close() {
	r.stop()
	<-r.done
	r.hub.Close(io.EOF)
}

func (r *rig) publish(mode media.LatencyMode, tracks ...*media.Track) {
	r.t.Helper()
	pub, err := r.hub.Publish(streamID, hub.PublishOptions{Session: "s", LatencyMode: mode, Linger: time.Minute, Tracks: tracks})
	if err != nil {
		r.t.Fatal(err)
	}
	r.pub = pub
}

// write writes packets when they are due, and calls each (if set) when each has been
// packaged.
func (r *rig) write(list []*media.Packet, each func()) {
	r.t.Helper()
	for _, p := range list {
		if d := time.Until(p.Arrival); d > 0 {
			time.Sleep(d) // the bubble's time
		}
		if err := r.pub.WritePacket(context.Background(), p); err != nil {
			r.t.Fatalf("WritePacket: %v", err)
		}
		synctest.Wait()
		if each != nil {
			each()
		}
	}
}

func (r *rig) end() {
	r.pub.End(io.EOF)
	synctest.Wait()
}

func (r *rig) stream() *pack.Stream {
	r.t.Helper()
	s, ok := r.packer.Stream(streamID)
	if !ok {
		r.t.Fatal("the packer has no stream")
	}
	return s
}

func (r *rig) rendition(name string) *pack.Rendition {
	r.t.Helper()
	rend, ok := r.stream().Rendition(name)
	if !ok {
		r.t.Fatalf("no rendition %s", name)
	}
	return rend
}

// get asks the handler.
func (r *rig) get(path string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	return w
}

// ask asks the handler in the background.
func (r *rig) ask(path string, header ...string) chan *httptest.ResponseRecorder {
	c := make(chan *httptest.ResponseRecorder, 1)
	go func() { c <- r.get(path, header...) }()
	synctest.Wait()
	return c
}

// answered returns the answer, or nil if there is none yet.
func answered(c chan *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	synctest.Wait()
	select {
	case w := <-c:
		return w
	default:
		return nil
	}
}

const child = "/hls/" + playbackID + "/0123456789abcdef/"

// source makes described packets in portions.
type source struct {
	t   testing.TB
	gen *mediatest.Generator
	end time.Duration
	dup map[*media.Track]*media.Track
}

func newSource(t testing.TB, o mediatest.Options) *source {
	if o.Start.IsZero() {
		o.Start = time.Now()
	}
	return &source{t: t, gen: mediatest.NewGenerator(o), dup: map[*media.Track]*media.Track{}}
}

func describe(t testing.TB, track *media.Track) *media.Track {
	d, err := bitstream.Describe(track)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// take returns the packets of the next stretch of media.
func (s *source) take(d time.Duration) (list []*media.Packet) {
	s.end += d
	var until time.Time
	for {
		p := s.gen.Next()
		if s.dup[p.Track] == nil {
			s.dup[p.Track] = describe(s.t, p.Track)
		}
		p.Track = s.dup[p.Track]
		list = append(list, p)
		if until.IsZero() {
			until = p.Arrival.Add(d)
		}
		if !p.Arrival.Before(until) {
			return list
		}
	}
}

// inEmptyBubble runs a test on a stream that has just been published.
func inEmptyBubble(t *testing.T, mode media.LatencyMode, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, DefaultConfig())
		defer r.close()
		r.publish(mode)
		test(t, r)
	})
}
