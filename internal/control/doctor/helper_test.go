package doctor

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/event"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// patient is a stream that is watched, in fake time.
type patient struct {
	t   *testing.T
	d   *Doctor
	bus *event.Bus
	tap *Tap
	gen *mediatest.Generator
	// change may replace a packet by others before it is received, each at its Arrival.
	change func(p *media.Packet) []*media.Packet
	begin  time.Time
	events *event.Listener
}

// admit runs f with a doctor that watches one publisher whose encoder makes o.
func admit(t *testing.T, s Session, o mediatest.Options, f func(p *patient)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &patient{t: t, bus: event.NewBus(), begin: time.Now()}
		cfg := DefaultConfig()
		cfg.SampleInterval = 0
		p.d = New(cfg, p.bus, nil, nil)
		p.d.cfg.SampleInterval = 15 * time.Second
		p.events = p.bus.Listen()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := p.d.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		defer wg.Wait()
		defer cancel()
		synctest.Wait()
		if s.StreamID == "" {
			s.StreamID = "ls_1"
		}
		s.Session, s.Since = "in_1", time.Now()
		if o.Start.IsZero() {
			o.Start = time.Now()
		}
		if o.Width == 0 {
			o.Width, o.Height = 640, 360
		}
		p.gen = mediatest.NewGenerator(o)
		p.tap = p.d.Watch(s)
		f(p)
	})
}

// send lets the encoder send for so long.
func (p *patient) send(d time.Duration) {
	p.t.Helper()
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		next := p.gen.Next()
		packets := []*media.Packet{next}
		if p.change != nil {
			packets = p.change(next)
		}
		for _, q := range packets {
			time.Sleep(time.Until(q.Arrival))
			p.tap.Received(q)
		}
		if len(packets) == 0 {
			time.Sleep(time.Until(next.Arrival))
		}
	}
	synctest.Wait()
}

func (p *patient) report() Report {
	p.t.Helper()
	r, ok := p.d.Health("ls_1")
	if !ok {
		p.t.Fatal("nothing is known of the stream")
	}
	return r
}

// codes are those of the report's findings, sorted.
func (p *patient) codes() []string {
	codes := []string{}
	for _, f := range p.report().Findings {
		codes = append(codes, f.Code)
	}
	slices.Sort(codes)
	return codes
}

// has fails unless exactly these are found.
func (p *patient) has(codes ...string) {
	p.t.Helper()
	slices.Sort(codes)
	if got := p.codes(); !slices.Equal(got, codes) {
		text, err := json.MarshalIndent(p.report().Findings, "", " ")
		p.t.Fatalf("found %v, want %v\n%s %v", got, codes, text, err)
	}
}

// finding is the one with the code.
func (p *patient) finding(code string) Finding {
	p.t.Helper()
	for _, f := range p.report().Findings {
		if f.Code == code {
			return f
		}
	}
	p.t.Fatalf("%s is not found, but %v", code, p.codes())
	return Finding{}
}

// told are the health events since the last call.
func (p *patient) told() []event.StreamHealth {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	cancel()
	var all []event.StreamHealth
	for {
		e, _, err := p.events.Next(ctx)
		if err != nil {
			return all
		}
		if h, ok := e.Event.(event.StreamHealth); ok {
			all = append(all, h)
		}
	}
}

// moved is a packet at another time; its arrival stays.
func moved(p *media.Packet, d time.Duration) *media.Packet {
	q := *p
	q.DTS += p.Track.Ticks(d)
	q.PTS += p.Track.Ticks(d)
	return &q
}

// delayed is a packet that arrives later.
func delayed(p *media.Packet, d time.Duration) *media.Packet {
	q := *p
	q.Arrival = p.Arrival.Add(d)
	return &q
}

func isVideo(p *media.Packet) bool { return p.Track.Kind() == media.Video }

// value is a pointer to v.
func value[T any](v T) *T { return &v }
