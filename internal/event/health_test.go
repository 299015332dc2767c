package event

import (
	"encoding/json"
	"testing"
)

func TestHealthOfAnUnknownStreamIsNoZero(t *testing.T) {
	e := StreamHealth{StreamID: "s", Status: "no_data", Raised: []string{"key_wrong"}, Cleared: []string{}}
	if e.Type() != "live_stream.health" || e.Stream() != "s" {
		t.Errorf("type %q and stream %q", e.Type(), e.Stream())
	}
	got, err := json.Marshal(e)
	if want := `{"live_stream_id":"s","status":"no_data","score":null,"raised":["key_wrong"],"cleared":[]}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
}
