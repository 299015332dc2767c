package doctor

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/event"
)

// TestLateWordOfTheEnd: the end of a broadcast that is heard of when the next one has begun
// says nothing of that one.
func TestLateWordOfTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := event.NewBus()
		cfg := DefaultConfig()
		cfg.SampleInterval = 0
		d := New(cfg, bus, nil, nil)
		l := bus.Listen()
		d.Watch(Session{StreamID: "ls_1", Session: "a", Since: time.Now()})
		time.Sleep(time.Second)
		bus.Publish(event.StreamIdle{StreamID: "ls_1"})
		time.Sleep(time.Second)
		next := d.Watch(Session{StreamID: "ls_1", Session: "b", Since: time.Now()})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go d.follow(ctx, l)
		synctest.Wait()
		d.Watch(Session{StreamID: "ls_1", Session: "c", Backup: true, Since: time.Now()})
		if got := d.find("ls_1").activeTap(); got != next {
			t.Errorf("the main publisher is forgotten when its backup comes: %+v", got.session)
		}
	})
}
