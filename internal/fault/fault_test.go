package fault

import (
	"errors"
	"fmt"
	"testing"
)

func TestErrorNamesEverything(t *testing.T) {
	err := New(Conflict, "listen for RTMP", ":1935", "the port is in use", "Use --rtmp :1936.")
	const want = "listen for RTMP :1935: the port is in use. Use --rtmp :1936."
	if err.Error() != want {
		t.Errorf("Error() = %q, want %q", err, want)
	}
}

func TestKindSurvivesWrapping(t *testing.T) {
	cause := errors.New("gone")
	err := fmt.Errorf("outer: %w", Wrap(NotFound, "look up", "x", cause, ""))
	if KindOf(err) != NotFound || !Is(err, NotFound) || Is(err, Invalid) {
		t.Errorf("kind of %v is %v", err, KindOf(err))
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if KindOf(cause) != Internal || Is(cause, Internal) {
		t.Error("a plain error must count as internal, and not be a fault")
	}
}
