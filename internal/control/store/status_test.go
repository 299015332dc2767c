package store

import (
	"testing"

	"pgregory.net/rapid"
)

var (
	allStatus  = []Status{Idle, Active, Reconnecting, Disabled}
	allTrigger = []Trigger{OnConnect, OnMedia, OnLost, OnReturned, OnEnded, OnDisable, OnEnable, OnComplete}
)

// TestEveryTransition names the outcome of every pair once more, as a matrix that is
// read by eye; "" is a change that must not be.
func TestEveryTransition(t *testing.T) {
	const i, a, r, d = Idle, Active, Reconnecting, Disabled
	want := map[Status][8]Status{
		//  connect media lost returned ended disable enable complete
		i: {i, a, i, "", i, d, i, i},
		a: {a, "", r, "", i, d, a, i},
		r: {r, "", "", a, i, d, r, i},
		d: {"", "", d, "", d, d, i, ""},
	}
	for _, s := range allStatus {
		for n, tr := range allTrigger {
			got, ok := s.Next(tr)
			if got != want[s][n] || ok != (want[s][n] != "") {
				t.Errorf("%s on %s gives %q, %v; want %q", s, tr, got, ok, want[s][n])
			}
		}
	}
	if len(transitions) != len(allStatus) {
		t.Errorf("the table has %d states, the test %d", len(transitions), len(allStatus))
	}
	for s, row := range transitions {
		for tr := range row {
			if _, ok := s.Next(tr); !ok {
				t.Errorf("%s on %s", s, tr)
			}
		}
	}
	if _, ok := Status("?").Next(OnConnect); ok {
		t.Error("an unknown state moves")
	}
}

// TestDerivedStatusFollowsTheTable plays the life of a stream on what is really kept,
// the stored flag and the hub's two facts, and compares with a walk over the table.
func TestDerivedStatusFollowsTheTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var disabled, live, lingering bool
		status := Idle
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			tr := rapid.SampledFrom(allTrigger).Draw(t, "trigger")
			next, ok := status.Next(tr)
			if !ok {
				continue
			}
			switch tr {
			case OnMedia, OnReturned:
				live, lingering = true, false
			case OnLost:
				live, lingering = false, live
			case OnEnded, OnComplete:
				live, lingering = false, false
			case OnDisable: // the publisher is kicked with it
				disabled, live, lingering = true, false, false
			case OnEnable:
				disabled = false
			case OnConnect: // nothing is known of a publisher before its media
			}
			if got := StatusOf(disabled, live, lingering); got != next {
				t.Fatalf("%s on %s: derived %s, table says %s", status, tr, got, next)
			}
			status = next
		}
	})
}
