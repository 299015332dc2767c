package ingest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// step is one thing that a scripted publisher does, after a while.
type step struct {
	after    time.Duration
	packet   *media.Packet
	err      error
	announce []*media.Track
}

// request is a scripted publisher. After its last step it says nothing any more.
type request struct {
	key    string
	backup bool
	steps  []step

	announced []*media.Track

	mu       sync.Mutex
	accepted bool
	rejected error
	closed   bool
	reason   error
}

func (r *request) Protocol() string                 { return "rtmp" }
func (r *request) Peer() net.Addr                   { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711} }
func (r *request) Key() string                      { return r.key }
func (r *request) Backup() bool                     { return r.backup }
func (r *request) Encoder() string                  { return "test" }
func (r *request) Tracks() []*media.Track           { return r.announced }
func (r *request) Accept(ctx context.Context) error { r.accepted = true; return ctx.Err() }
func (r *request) Reject(err error)                 { r.rejected = err }

func (r *request) Close(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.reason = true, err
}

func (r *request) ReadPacket(ctx context.Context) (*media.Packet, error) {
	for {
		if len(r.steps) == 0 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s := r.steps[0]
		r.steps = r.steps[1:]
		if s.after > 0 {
			timer := time.NewTimer(s.after)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		r.announced = append(r.announced, s.announce...)
		switch {
		case s.packet != nil:
			p := *s.packet
			p.Arrival = time.Now()
			return &p, nil
		case s.err != nil:
			return nil, s.err
		}
	}
}

// gate admits the key "good", and the key "brief" once. The second time that it is asked
// for the key "shaky", it cannot tell.
type gate struct {
	linger time.Duration
	asked  *atomic.Int32
}

func (g gate) AdmitPublish(_ context.Context, _ string, _ net.Addr, key string) (Grant, error) {
	if key == "shaky" {
		if g.asked.Add(1) == 2 {
			return Grant{}, errors.New("the database at db.internal is away")
		}
		key = "good"
	}
	if key == "brief" && g.asked.Add(1) == 1 {
		key = "good"
	}
	if key != "good" {
		return Grant{}, fault.New(fault.Unauthorized, "publish", "", "the stream key is not known", "Copy the key from the stream's page")
	}
	return Grant{StreamID: "ls_1", Linger: g.linger, LatencyMode: media.LatencyUltra}, nil
}

// station is an Ingest with all around it.
type station struct {
	*Ingest
	t   *testing.T
	hub *hub.Hub
	bus *event.Bus
}

func newStation(t *testing.T, linger time.Duration) *station {
	bus := event.NewBus()
	h := hub.New(hub.DefaultConfig(), bus, nil, nil)
	return &station{New(DefaultConfig(), gate{linger, &atomic.Int32{}}, h, bus, nil, nil), t, h, bus}
}

// serve runs the publisher in the background; the result comes when it is over.
func (s *station) serve(ctx context.Context, r Request) <-chan error {
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, r) }()
	return done
}

// events returns all events so far.
func (s *station) events() (out []event.Event) {
	l := s.bus.ListenAfter(0)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		e, _, err := l.Next(ctx)
		if err != nil {
			return out
		}
		out = append(out, e.Event)
	}
}

func (s *station) eventNames() (out []string) {
	for _, e := range s.events() {
		out = append(out, e.Type())
	}
	return out
}

// readFeed returns what a rendition of the stream keeps.
func (s *station) readFeed(name string) (out []*media.Packet) {
	s.t.Helper()
	st, ok := s.hub.Stream("ls_1")
	if !ok {
		s.t.Fatal("there is no stream")
	}
	for _, f := range st.Feeds() {
		if f.Name() != name {
			continue
		}
		for _, packets := range s.readAll(f) {
			out = append(out, packets...)
		}
	}
	return out
}

func (s *station) readFrom(st *hub.Stream) map[int][]*media.Packet {
	s.t.Helper()
	return s.readAll(st.Feed())
}

func (s *station) readAll(f *hub.Feed) map[int][]*media.Packet {
	s.t.Helper()
	r := f.NewReader(hub.ReaderOptions{From: hub.OldestKept})
	defer r.Close()
	out := map[int][]*media.Packet{}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		p, err := r.ReadPacket(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			s.t.Fatal(err)
		}
		out[p.Track.ID] = append(out[p.Track.ID], p)
	}
}

// live turns a generator's packets into steps at the pace of the clock.
func live(o mediatest.Options) []step {
	o.Timescale, o.Start = 1000, origin
	o.FrameSize, o.AudioSize = 64, 8
	g := mediatest.NewGenerator(o)
	steps := []step{{announce: g.Tracks()}}
	now := origin.Add(o.Offset)
	for {
		p, err := g.ReadPacket(context.Background())
		if err != nil {
			return steps
		}
		s := step{packet: p}
		if p.Arrival.After(now) {
			s.after, now = p.Arrival.Sub(now), p.Arrival
		}
		steps = append(steps, s)
	}
}
