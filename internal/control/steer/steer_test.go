package steer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"onair/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is who watches ls_1.
type house struct{ viewers, interactive int }

func (h *house) Viewers(string) int     { return h.viewers }
func (h *house) Interactive(string) int { return h.interactive }

// book tells limits, and counts how often it was asked.
type book struct {
	limit int
	err   error
	asked int
}

func (b *book) RealtimeViewers(context.Context, string) (int, error) {
	b.asked++
	return b.limit, b.err
}

func newTestSteer(h *house, b *book) *Steer {
	return New(DefaultConfig(), h, b, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

func ask(change func(a *Ask)) Ask {
	a := Ask{StreamID: "ls_1", Viewer: "v1", WebRTC: true, Limit: 100, Live: true}
	if change != nil {
		change(&a)
	}
	return a
}

func TestChoices(t *testing.T) {
	for _, tt := range []struct {
		name           string
		house          house
		ask            func(a *Ask)
		protocol, code string
		again          bool
	}{
		{"few watch", house{3, 0}, nil, WebRTC, CodeRoom, true},
		{"it is full", house{100, 0}, nil, HLS, CodeCrowd, true},
		{"those who take part do not count", house{120, 40}, nil, WebRTC, CodeRoom, true},
		{"who takes part comes in", house{200, 10}, func(a *Ask) { a.Interactive = true }, WebRTC, CodeInteractive, true},
		{"but not any number", house{200, 100}, func(a *Ask) { a.Interactive = true }, HLS, CodeCrowd, true},
		{"who takes part stays", house{300, 150}, func(a *Ask) { a.Interactive = true; a.Current = WebRTC }, WebRTC, CodeInteractive, true},
		{"who is there stays", house{100, 0}, func(a *Ask) { a.Current = WebRTC }, WebRTC, CodeRoom, true},
		{"who is on HLS comes when there is room", house{80, 0}, func(a *Ask) { a.Current = HLS }, WebRTC, CodeRoom, true},
		{"and not when there hardly is", house{95, 0}, func(a *Ask) { a.Current = HLS }, HLS, CodeCrowd, true},
		{"the player has none", house{}, func(a *Ask) { a.WebRTC = false }, HLS, CodeNoWebRTC, false},
		{"the stream does without", house{}, func(a *Ask) { a.Limit = 0; a.Interactive = true }, HLS, CodeOff, false},
		{"one viewer", house{}, func(a *Ask) { a.Limit = 1; a.Current = HLS }, WebRTC, CodeRoom, true},
		{"nothing is to be seen", house{}, func(a *Ask) { a.Live = false }, HLS, CodeNotLive, true},
	} {
		h := tt.house
		s := newTestSteer(&h, &book{limit: 100})
		w := s.Choose(ask(tt.ask))
		if w.Protocol != tt.protocol || w.Code != tt.code || w.Reason == "" || tt.again != (w.CheckAfter > 0) || w.CheckAfter > 2*often {
			t.Errorf("%s: %+v", tt.name, w)
		}
		if n := testutil.ToFloat64(s.choices.WithLabelValues(tt.protocol, tt.code)); n != 1 {
			t.Errorf("%s: counted %v times", tt.name, n)
		}
	}
}

// TestAllAtOnce: however many ask in one moment, only as many are sent to WebRTC as may
// come, and those who do not come are forgotten.
func TestAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		s := newTestSteer(h, &book{limit: 100})
		count := func(n int) (got int) {
			for i := range n {
				if s.Choose(ask(func(a *Ask) { a.Viewer = fmt.Sprint(i) })).Protocol == WebRTC {
					got++
				}
			}
			return got
		}
		if n := count(1000); n != 100 {
			t.Errorf("%d of 1000 were sent to WebRTC", n)
		}
		for range 60 { // they come, and are not counted twice
			if err := s.Admit(t.Context(), "ls_1", false); err != nil {
				t.Error(err)
			}
			h.viewers++
		}
		if n := count(100); n != 0 {
			t.Errorf("%d more were sent to WebRTC", n)
		}
		time.Sleep(promised + time.Second)
		if n := count(1000); n != 40 {
			t.Errorf("%d were sent to WebRTC when the rest did not come", n)
		}
	})
}

// TestCrowdIsAskedInParts: when too many watch, about as many are asked to move as are too
// many, the same ones each time; who does not is let go later.
func TestCrowdIsAskedInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, b := &house{viewers: 1000}, &book{limit: 800}
		s := newTestSteer(h, b)
		moved := map[string]bool{}
		for round := range 3 {
			n := 0
			for i := range 1000 {
				v := fmt.Sprint("viewer ", i)
				w := s.Choose(ask(func(a *Ask) { a.Viewer, a.Current, a.Limit = v, WebRTC, 800 }))
				if w.Protocol == HLS {
					n++
				}
				if round > 0 && moved[v] != (w.Protocol == HLS) {
					t.Fatal("it was told something else than before")
				}
				moved[v] = w.Protocol == HLS
			}
			if n < 150 || n > 250 {
				t.Errorf("%d of 1000 were asked to move", n)
			}
		}
		if n := s.Excess(t.Context(), "ls_1"); n != 0 {
			t.Errorf("%d have to go at once", n)
		}
		time.Sleep(grace)
		if n := s.Excess(t.Context(), "ls_1"); n != 200 {
			t.Errorf("%d have to go after a while", n)
		}
		h.viewers = 790
		if n := s.Excess(t.Context(), "ls_1"); n != 0 {
			t.Errorf("%d have to go", n)
		}
	})
}

func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, b := &house{}, &book{limit: 2}
		s := newTestSteer(h, b)
		if err := s.Admit(t.Context(), "ls_1", false); err != nil {
			t.Error(err)
		}
		h.viewers = 2
		if err := s.Admit(t.Context(), "ls_1", false); !fault.Is(err, fault.TooMany) {
			t.Errorf("the third: %v", err)
		}
		if err := s.Admit(t.Context(), "ls_1", true); err != nil {
			t.Errorf("one who takes part: %v", err)
		}
		h.viewers, h.interactive = 102, 100
		if err := s.Admit(t.Context(), "ls_1", true); !fault.Is(err, fault.TooMany) {
			t.Errorf("one of too many who take part: %v", err)
		}
		if b.asked != 1 {
			t.Errorf("the limit was looked up %d times", b.asked)
		}
		time.Sleep(limitAge)
		b.limit = 0
		if err := s.Admit(t.Context(), "ls_1", true); !fault.Is(err, fault.Disabled) {
			t.Errorf("where it is off: %v", err)
		}
		time.Sleep(limitAge)
		b.err = errors.New("no database")
		if err := s.Admit(t.Context(), "ls_1", true); !fault.Is(err, fault.Disabled) {
			t.Errorf("what was known is forgotten: %v", err)
		}
	})
}

// TestLimitIsLookedUpAgain: however often it is asked for, a limit that changed is known
// after limitAge, and one that could not be looked up at first is looked up again.
func TestLimitIsLookedUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{limit: 5, err: errors.New("no database")}
		s := newTestSteer(&house{viewers: 5}, b)
		lookUp := func() int {
			for range limitAge / time.Second {
				s.Excess(t.Context(), "ls_1")
				time.Sleep(time.Second)
			}
			return s.limitOf(t.Context(), "ls_1")
		}
		if got := lookUp(); got != 100 || b.asked != 2 {
			t.Errorf("without a database: limit %d, looked up %d times", got, b.asked)
		}
		b.err = nil
		if got := lookUp(); got != 5 {
			t.Errorf("with one again: limit %d", got)
		}
		b.limit = 0
		if got := lookUp(); got != 0 {
			t.Errorf("changed: limit %d", got)
		}
	})
}

// TestInteractivePromises: who takes part is counted apart, so that those who say so and
// do not come neither take the places of others nor are remembered.
func TestInteractivePromises(t *testing.T) {
	s := newTestSteer(&house{}, &book{limit: 100})
	for range 1000 {
		s.Choose(ask(func(a *Ask) { a.Interactive = true }))
	}
	if n := len(s.streams["ls_1"].pending); n != 0 {
		t.Errorf("%d promises are remembered", n)
	}
	if w := s.Choose(ask(nil)); w.Protocol != WebRTC {
		t.Errorf("who only watches: %+v", w)
	}
	if err := s.Admit(t.Context(), "ls_1", true); err != nil {
		t.Error(err)
	}
	if n := len(s.streams["ls_1"].pending); n != 1 {
		t.Errorf("%d of 1 promises are left after another one came", n)
	}
}

// TestLoad: a busy machine moves viewers away a few at a time, those who take part last,
// and takes them back slowly.
func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{viewers: 50}
		s := newTestSteer(h, &book{limit: 100})
		var load atomic.Int64 // in hundredths
		load.Store(50)
		s.meter = func() (float64, bool) { return float64(load.Load()) / 100, true }
		pressure := func() float64 { s.mu.Lock(); defer s.mu.Unlock(); return s.pressure }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		moved := func(interactive bool) (n int) {
			for i := range 1000 {
				a := ask(func(a *Ask) { a.Viewer, a.Current, a.Interactive = fmt.Sprint(i), WebRTC, interactive })
				if w := s.Choose(a); w.Protocol == HLS {
					if n++; w.Code != CodeLoad {
						t.Fatalf("%+v", w)
					}
				}
			}
			return n
		}
		time.Sleep(time.Minute)
		if moved(false) != 0 {
			t.Error("somebody was moved from a machine that has room")
		}
		load.Store(100)
		time.Sleep(4 * time.Second)
		if moved(false) != 0 {
			t.Error("a short peak moved somebody")
		}
		time.Sleep(18 * time.Second)
		if n := moved(false); n < 50 || n > 350 {
			t.Errorf("%d of 1000 were moved at first", n)
		}
		if w := s.Choose(ask(nil)); w.Code != CodeLoad {
			t.Errorf("who comes: %+v", w)
		}
		if w := s.Choose(ask(func(a *Ask) { a.Interactive = true })); w.Protocol != WebRTC {
			t.Errorf("who comes and takes part: %+v", w)
		}
		time.Sleep(100 * time.Second)
		if n := moved(false); n != 1000 {
			t.Errorf("%d of 1000 were moved in the end", n)
		}
		if n := moved(true); n > 400 {
			t.Errorf("%d of those who take part were moved", n)
		}
		if err := s.Admit(t.Context(), "ls_1", false); !fault.Is(err, fault.TooMany) {
			t.Errorf("it was let in: %v", err)
		}
		s.Excess(t.Context(), "ls_1")
		time.Sleep(grace)
		if n := s.Excess(t.Context(), "ls_1"); n != 50 {
			t.Errorf("%d have to go", n)
		}
		load.Store(75) // not low enough to take anybody back
		time.Sleep(time.Minute)
		before := pressure()
		time.Sleep(time.Minute)
		if now := pressure(); now != before {
			t.Errorf("pressure went from %v to %v", before, now)
		}
		load.Store(20)
		time.Sleep(10 * time.Minute)
		if n := moved(false); n != 0 {
			t.Errorf("%d of 1000 are still moved when there is room", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestMeasuredLoadIsAShare(t *testing.T) {
	meter := newMeter()
	if _, ok := meter(); ok {
		t.Error("the first reading has nothing to compare with")
	}
	for n := range 1_000_000 {
		_ = fmt.Sprint(n)
	}
	if load, ok := meter(); ok && (load < 0 || load > 1) {
		t.Errorf("load %v", load)
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	s := newTestSteer(&house{}, &book{limit: 100})
	for i := range maxLimits + 100 {
		s.Choose(ask(func(a *Ask) { a.StreamID = fmt.Sprint("ls_", i) }))
	}
	if n := len(s.streams); n != maxLimits {
		t.Errorf("%d streams are remembered", n)
	}
}

func TestConfigIsValidated(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("nobody over WebRTC: %v", err)
	}
	err := Config{Viewers: -1, Interactive: -1, MaxLoad: 2}.Validate()
	for _, key := range []string{"realtime-viewers", "realtime-interactive", "realtime-max-load"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not complained of: %v", key, err)
		}
	}
}
