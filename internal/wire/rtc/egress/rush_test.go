package egress

import (
	"testing"
	"time"
)

func TestSoundInARush(t *testing.T) {
	var r rush
	now := time.Now()
	pts := 5 * time.Second
	var left int
	burst := func(n int) (late int) {
		for range n {
			pts += 20 * time.Millisecond
			if r.see(pts, now) {
				late++
			}
		}
		return late
	}
	pace := func(n int) (late int) {
		for range n {
			now = now.Add(20 * time.Millisecond)
			late += burst(1)
		}
		return late
	}
	burst(100)
	if !r.is {
		t.Error("a beginning of 2 s at once is no rush")
	}
	pace(20)
	if r.is {
		t.Error("sound at its pace is a rush")
	}
	if left = pace(1000); left > 0 || r.is {
		t.Errorf("%d packets at their pace were left out", left)
	}
	now = now.Add(2 * time.Second) // the network stands still
	if left = burst(100); left < 60 || left > 95 {
		t.Errorf("%d of 100 packets that came at once, up to 2 s late, were left out", left)
	}
	if left = pace(100); left > 5 {
		t.Errorf("%d packets were left out afterwards", left)
	}
	// From now on everything is later: that is no reason to leave anything out.
	now = now.Add(time.Second)
	if left = pace(1000); left > 0 {
		t.Errorf("%d packets of a longer way were left out", left)
	}
}

// MPEG-TS brings sound in packets of many frames: that is no rush.
func TestSoundInHeaps(t *testing.T) {
	var r rush
	now, pts := time.Now(), 5*time.Second
	heaps := func(n int) (late int) {
		for range n {
			now = now.Add(360 * time.Millisecond)
			for range 18 {
				if pts += 20 * time.Millisecond; r.see(pts, now) {
					late++
				}
			}
		}
		return late
	}
	heaps(5)
	if late := heaps(100); late > 0 {
		t.Errorf("%d packets of sound that comes in heaps were left out", late)
	}
	// What stands still for longer than that is caught up with as ever.
	now = now.Add(2 * time.Second)
	late := 0
	for range 100 {
		if pts += 20 * time.Millisecond; r.see(pts, now) {
			late++
		}
	}
	if late < 50 || late > 90 {
		t.Errorf("%d of 100 packets that came at once were left out", late)
	}
}
