package hub

import "testing"

func TestLifeOfAStream(t *testing.T) {
	all := []State{Idle, Live, Lingering, Ended}
	want := map[trigger][]State{
		publish: {Live, Live, Live, Ended},
		lose:    {Idle, Lingering, Lingering, Ended},
		stop:    {Ended, Ended, Ended, Ended},
		expire:  {Idle, Live, Ended, Ended},
	}
	if len(want) != triggers || len(all) != states {
		t.Fatal("the test does not cover the whole table")
	}
	for tr, after := range want {
		for i, s := range all {
			if got := s.after(tr); got != after[i] {
				t.Errorf("%v after trigger %d is %v, want %v", s, tr, got, after[i])
			}
		}
	}
	for s, name := range map[State]string{Idle: "idle", Live: "live", Lingering: "lingering", Ended: "ended", 9: "unknown"} {
		if s.String() != name {
			t.Errorf("state %d is called %q, want %q", s, s, name)
		}
	}
}
