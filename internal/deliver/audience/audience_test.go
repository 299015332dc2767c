package audience

import (
	"sync"
	"testing"
	"time"
)

// broadcast is an Attacher.
type broadcast struct{ m sync.Map }

func (b *broadcast) Attach(key any, create func() any) any {
	v, _ := b.m.LoadOrStore(key, create())
	return v
}

func TestViewersAreCountedOnceAndForAWhile(t *testing.T) {
	a := New(Config{MaxSessions: 2 * Shards, MaxWaiters: 1, SessionTimeout: 10 * time.Second})
	b := new(broadcast)
	c := a.Of(b)
	if a.Of(b) != c {
		t.Fatal("a broadcast has two crowds")
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	one, two := NewSession(), NewSession()
	c.See(one, now)
	c.See(one, now.Add(time.Second))
	c.See(two, now.Add(8*time.Second))
	c.See("x", now)
	c.See("zzzzzzzzzzzzzzzz", now)
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{9 * time.Second, 2}, {12 * time.Second, 1}, {19 * time.Second, 0}} {
		if n := c.Viewers(now.Add(step.after)); n != step.want {
			t.Errorf("after %v: %d viewers, want %d", step.after, n, step.want)
		}
	}
}

func TestSessionsAreBounded(t *testing.T) {
	c := New(Config{MaxSessions: 2 * Shards, SessionTimeout: time.Minute}).Of(new(broadcast))
	now := time.Now()
	for _, session := range []string{"0000000000000010", "0000000000000020", "0000000000000010"} {
		if !c.See(session, now) {
			t.Errorf("%s was refused", session)
		}
	}
	if c.See("0000000000000030", now) {
		t.Error("a third session has place in a shard of two")
	}
	if !c.See("0000000000000030", now.Add(2*time.Minute)) {
		t.Error("there is no place although everybody has left")
	}
}

func TestWaitersAreBounded(t *testing.T) {
	c := New(Config{MaxWaiters: 2}).Of(new(broadcast))
	for i, want := range []bool{true, true, false} {
		if c.Hold() != want {
			t.Errorf("place %d of 2: taken is not %v", i+1, want)
		}
	}
	c.Release()
	if !c.Hold() {
		t.Error("a place that was given back is taken")
	}
}
