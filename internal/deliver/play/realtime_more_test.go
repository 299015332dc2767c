package play

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/fault"
)

// limits lets in and tells to go as many as it is told.
type limits struct {
	full   atomic.Bool
	excess atomic.Int64
}

var errFull error = fault.New(fault.TooMany, "play", "", "it is full", "")

func (l *limits) Admit(_ context.Context, _ string, interactive bool) error {
	if l.full.Load() && !interactive {
		return errFull
	}
	return nil
}

func (l *limits) Excess(context.Context, string) int { return int(l.excess.Load()) }

// TestLimits: who comes when it is full is turned away, and the newest go when there are
// too many, but not who takes part.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t)
		l := &limits{}
		th.SetLimits(l)
		th.broadcast(t.Context(), camera(time.Minute), nil)
		time.Sleep(time.Second)
		var all []*rtViewer
		var ends []<-chan error
		for i := range 6 {
			v := newRTViewer()
			v.interactive = i == 4
			all, ends = append(all, v), append(ends, th.serve(v))
			time.Sleep(100 * time.Millisecond)
		}
		l.full.Store(true)
		if err := th.Serve(t.Context(), newRTViewer()); !errors.Is(err, errFull) {
			t.Errorf("it was let in: %v", err)
		}
		if th.Viewers("ls_1") != 6 || th.Interactive("ls_1") != 1 {
			t.Errorf("%d viewers, %d take part", th.Viewers("ls_1"), th.Interactive("ls_1"))
		}
		l.excess.Store(2)
		for _, i := range []int{5, 3} {
			if err := <-ends[i]; !fault.Is(err, fault.TooMany) {
				t.Errorf("viewer %d: %v", i, err)
			}
			l.excess.Add(-1)
		}
		time.Sleep(5 * time.Second)
		if th.Viewers("ls_1") != 4 {
			t.Errorf("%d viewers", th.Viewers("ls_1"))
		}
		for _, i := range []int{0, 1, 2, 4} {
			all[i].leave()
			if err := <-ends[i]; err != nil {
				t.Error(err)
			}
		}
		th.finish()
	})
}

type asked struct{ times atomic.Int64 }

func (a *asked) RequestKey(string) { a.times.Add(1) }

func TestKeyFramesAreAskedForOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t)
		a := &asked{}
		th.SetKeyFrames(a)
		th.broadcast(t.Context(), camera(20*time.Second), nil)
		v := newRTViewer()
		end := th.serve(v)
		time.Sleep(time.Second)
		video, _ := v.sees()
		for range 50 {
			video.requestKey()
			time.Sleep(100 * time.Millisecond)
		}
		if n := a.times.Load(); n != 5 {
			t.Errorf("asked %d times in 5 s", n)
		}
		v.leave()
		t.Log(<-end)
		th.finish()
	})
}

func TestRealtimeConfigIsValidated(t *testing.T) {
	if err := DefaultRealtimeConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := RealtimeConfig{}.Validate()
	if err == nil || !strings.Contains(err.Error(), "realtime-max-lag") || !strings.Contains(err.Error(), "realtime-wait") {
		t.Errorf("the zero value: %v", err)
	}
}
