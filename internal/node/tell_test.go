package node

import (
	"testing"
	"time"

	"onair/internal/control/store"
	"onair/internal/event"
)

// Whoever hears that an asset is ready finds it so.
func TestReadyIsToldWhenItIsWrittenDown(t *testing.T) {
	b, _ := broadcastsOf(t)
	stream, err := b.store.CreateLiveStream(t.Context(), store.LiveStream{LatencyMode: "low"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, keep := range map[string]func(id string, r store.Recorded){
		"ended":           func(id string, r store.Recorded) { b.keep(t.Context(), id, r) },
		"after a restart": func(id string, r store.Recorded) { b.settled(t.Context(), id, r) },
	} {
		asset, err := b.store.CreateAsset(t.Context(), stream.ID)
		if err != nil {
			t.Fatal(err)
		}
		heard := b.bus.Listen()
		keep(asset.ID, store.Recorded{Status: store.AssetReady, Duration: time.Second, Bytes: 7})
		e, _, err := heard.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := event.AssetReady{StreamID: stream.ID, AssetID: asset.ID, Duration: 1, Bytes: 7}
		if e.Event != want {
			t.Errorf("%s: told %+v", name, e.Event)
		}
		if a, err := b.store.Asset(t.Context(), asset.ID); err != nil || a.Status != store.AssetReady {
			t.Errorf("%s: it is %s when that is told: %v", name, a.Status, err)
		}
	}
}

// The broadcast before is not the past of one of which it is not known yet whether it is
// recorded.
func TestPastOfABroadcastThatBegins(t *testing.T) {
	r := &replays{}
	r.set("ls_1", "as_before", time.Hour)
	r.begin("ls_1")
	if asset, _, ok := r.active("ls_1"); ok {
		t.Errorf("its past is in %s", asset)
	}
	if asset, err := r.last(t.Context(), "ls_1"); err != nil || asset != "as_before" {
		t.Errorf("the last recording is %q: %v", asset, err)
	}
	r.set("ls_1", "as_now", time.Hour)
	if asset, _, ok := r.active("ls_1"); !ok || asset != "as_now" {
		t.Errorf("its past is in %q", asset)
	}
}
