package clip

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/record"
)

// tool is a Tool that says what it is told to.
type tool struct {
	err   error
	wait  chan struct{}
	begun chan struct{}
}

func (f *tool) Recode(ctx context.Context, _ *media.Track, _ []*media.Packet, _, _ int64) ([]*media.Packet, error) {
	if f.begun != nil {
		f.begun <- struct{}{}
	}
	if f.wait != nil {
		select {
		case <-f.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, f.err
}

func TestClipsThatCannotBe(t *testing.T) {
	s := recorded(t, made(t, "7", coders[0].args...))
	snap := s.snapshot(sourceID)
	cfg := DefaultConfig()
	cfg.MaxDuration = 6 * time.Second
	m := New(cfg, s, &tool{err: fault.New(fault.Unavailable, "run", "ffmpeg", "it is not there", "")}, nil, nil, quiet, nil)
	at := func(d time.Duration) time.Time { return snap.Began.Add(d) }
	for _, c := range []struct {
		name       string
		asset      string
		start, end time.Time
		kind       fault.Kind
	}{
		{"no such asset", "as_none", at(1), at(time.Second), fault.NotFound},
		{"ends before it begins", sourceID, at(2 * time.Second), at(time.Second), fault.Invalid},
		{"empty", sourceID, at(2 * time.Second), at(2 * time.Second), fault.Invalid},
		{"too long", sourceID, at(0), at(6500 * time.Millisecond), fault.TooLarge},
		{"before the beginning", sourceID, at(-3 * time.Second), at(time.Second), fault.Invalid},
		{"behind the end", sourceID, at(5 * time.Second), at(9 * time.Second), fault.Invalid},
		{"between two pictures", sourceID, at(2*time.Second + 5*time.Millisecond), at(2*time.Second + 10*time.Millisecond), fault.NotFound},
		{"without ffmpeg", sourceID, at(1500 * time.Millisecond), at(4 * time.Second), fault.Unavailable},
	} {
		if err := m.Make(t.Context(), Request{ID: "as_x", Asset: c.asset, Start: c.start, End: c.end}); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// What needs no encoder needs no ffmpeg.
	v := unpacked(mainOf(snap).Segments)
	if err := m.Make(t.Context(), Request{ID: "as_y", Asset: sourceID, Start: v[1].Start, End: v[2].Start.Add(500 * time.Millisecond)}); err != nil {
		t.Error(err)
	}
	if ids := s.Assets(); len(ids) != 2 {
		t.Errorf("%v", ids)
	}
}

// Clips that are submitted are made one after the other; too many are refused, and a stop
// tells those that wait.
func TestSubmit(t *testing.T) {
	s := recorded(t, made(t, "7", coders[0].args...))
	snap := s.snapshot(sourceID)
	cfg := DefaultConfig()
	cfg.Waiting = 2
	f := &tool{wait: make(chan struct{}), begun: make(chan struct{}), err: errors.New("no")}
	var mu sync.Mutex
	told := map[string]error{}
	bus := event.NewBus()
	listener := bus.Listen()
	m := New(cfg, s, f, func(_ context.Context, r Request, err error) {
		mu.Lock()
		defer mu.Unlock()
		told[r.ID] = err
	}, bus, quiet, nil)
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { _ = m.Run(ctx) })
	ask := func(id string) error {
		return m.Submit(Request{ID: id, Asset: sourceID, Start: snap.Began.Add(1500 * time.Millisecond), End: snap.Began.Add(4 * time.Second)})
	}
	if err := ask("as_1"); err != nil {
		t.Fatal(err)
	}
	<-f.begun
	for _, id := range []string{"as_2", "as_3"} {
		if err := ask(id); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask("as_4"); !fault.Is(err, fault.TooMany) {
		t.Errorf("one more than may wait: %v", err)
	}
	f.wait <- struct{}{} // the first one fails
	<-f.begun
	if e, _, err := listener.Next(t.Context()); err != nil || e.Event.Type() != "asset.errored" || e.Event.Stream() != streamID {
		t.Errorf("%v, %v", e, err)
	}
	stop()
	wait.Wait()
	if len(told) != 3 || told["as_1"] == nil || !fault.Is(told["as_2"], fault.Unavailable) || !fault.Is(told["as_3"], fault.Unavailable) {
		t.Errorf("%v", told)
	}
	if ids := s.Assets(); len(ids) != 1 {
		t.Errorf("%v", ids)
	}
}

// A clip whose end is not recorded yet waits for it, but not for what does not come.
func TestClipOfWhatIsStillToCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newGrowing(t)
		defer r.close()
		m := New(DefaultConfig(), r.library, &tool{}, nil, nil, quiet, nil)
		now := time.Now()
		req := Request{ID: "as_x", Asset: sourceID, Start: now.Add(-3 * time.Second), End: now.Add(2 * time.Second)}
		if err := m.check(req); err != nil {
			t.Fatal(err)
		}
		late := req
		late.End = now.Add(time.Minute)
		if err := m.check(late); !fault.Is(err, fault.Invalid) {
			t.Errorf("of a minute to come: %v", err)
		}
		got := make(chan *record.Snapshot, 1)
		go func() {
			s, err := m.await(t.Context(), req)
			if err != nil {
				t.Error(err)
			}
			got <- s
		}()
		r.write(6 * time.Second)
		select {
		case s := <-got:
			if !covers(s, req.End) {
				t.Error("it was not waited for")
			}
		default:
			t.Error("the recording has come further, and is waited for")
		}
		// The encoder stops sending.
		begun := time.Now()
		req.End = begun.Add(5 * time.Second)
		if _, err := m.await(t.Context(), req); !fault.Is(err, fault.Unavailable) || time.Since(begun) > time.Minute {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}
