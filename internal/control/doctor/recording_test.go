package doctor

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/event"
	"onair/internal/media/mediatest"
)

// TestRecordingStopped tells while a broadcast is not recorded that should be, and no longer.
func TestRecordingStopped(t *testing.T) {
	failed := event.AssetErrored{StreamID: "ls_1", AssetID: "as_1", Code: "too_large", Reason: "The disk is full."}
	for name, recovery := range map[string]event.Event{
		"it goes on":   event.AssetResumed{StreamID: "ls_1", AssetID: "as_1"},
		"it is over":   event.AssetReady{StreamID: "ls_1", AssetID: "as_1"},
		"idle is said": event.StreamIdle{StreamID: "ls_1"},
	} {
		t.Run(name, func(t *testing.T) {
			admit(t, Session{}, mediatest.Options{}, func(p *patient) {
				p.send(3 * time.Second)
				p.bus.Publish(event.AssetErrored{StreamID: "ls_1", AssetID: "as_9", Reason: "no encoder", Clip: true})
				p.bus.Publish(event.AssetErrored{StreamID: "ls_2", AssetID: "as_8", Reason: "of another stream"})
				synctest.Wait()
				p.send(2 * time.Second)
				p.has()
				p.bus.Publish(failed)
				synctest.Wait()
				p.send(2 * time.Second)
				p.has("recording_stopped")
				if f := p.finding("recording_stopped"); f.Severity != Critical || !strings.Contains(f.Title, "2 s ago: The disk is full") {
					t.Errorf("found %+v", f)
				}
				p.bus.Publish(event.AssetCreated{StreamID: "ls_1", AssetID: "as_9"}) // a clip
				p.bus.Publish(event.AssetReady{StreamID: "ls_1", AssetID: "as_9"})
				synctest.Wait()
				p.send(2 * time.Second)
				p.has("recording_stopped")
				p.bus.Publish(recovery)
				synctest.Wait()
				p.send(2 * time.Second)
				p.has()
			})
		})
	}
}
