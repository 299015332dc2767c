package spool_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/fault"
	"onair/internal/record"
	"onair/internal/record/spool"
)

// silent is a bucket that takes an answer's time for each question, and answers none while
// that is negative.
type silent struct {
	*cloud
	answer       atomic.Int64 // nanoseconds
	after        atomic.Int64 // questions that are answered before it falls silent
	asked, atall atomic.Int64 // questions: at the same time, and in all
	most         atomic.Int64
}

func newSilent(answer time.Duration) *silent {
	s := &silent{cloud: newCloud()}
	s.answer.Store(int64(answer))
	s.after.Store(1 << 40)
	return s
}

// wait waits for the answer.
func (s *silent) wait(ctx context.Context) error {
	s.most.Store(max(s.most.Load(), s.asked.Add(1)))
	defer s.asked.Add(-1)
	if d := time.Duration(s.answer.Load()); d >= 0 && s.atall.Add(1) <= s.after.Load() {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *silent) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.cloud.Open(ctx, name, offset, length)
}

func (s *silent) List(ctx context.Context, prefix string) ([]record.Object, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.cloud.List(ctx, prefix)
}

func (s *silent) Delete(ctx context.Context, prefix string) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.cloud.Delete(ctx, prefix)
}

// many puts the indexes of assets into a bucket that a library recorded, which are complete.
func many(t *testing.T, c *cloud, assets int) {
	t.Helper()
	r := open(t, spool.DefaultConfig(), t.TempDir(), newCloud())
	l := library(t, r)
	s := newStudio(t, 300)
	s.write(2 * time.Second)
	done, _ := s.record(l)
	s.write(2 * time.Second)
	s.pub.End(io.EOF)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	j, err := r.Read("as_1/index.log")
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	data := make([]byte, j.Size())
	if _, err := j.ReadAt(data, 0); err != nil {
		t.Fatal(err)
	}
	for i := range assets {
		c.objects[fmt.Sprintf("index/as_%d.log", i+1)] = string(data)
	}
}

// A server that stops does not wait for a bucket that is silent.
func TestStopDoesNotWaitForTheBucket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newSilent(-1)
		r := start(t, spool.DefaultConfig(), t.TempDir(), c)
		var wg sync.WaitGroup
		for name, ask := range map[string]func() error{
			"read":   func() error { _, err := r.Read("as_1/index.log"); return err },
			"remove": func() error { return r.Remove("as_2/index.log") },
		} {
			wg.Go(func() {
				began := time.Now()
				if err := ask(); !fault.Is(err, fault.Unavailable) || time.Since(began) != time.Second {
					t.Errorf("%s: after %v: %v", name, time.Since(began), err)
				}
			})
		}
		time.Sleep(time.Second)
		r.stop()
		wg.Wait()
		began := time.Now()
		if _, err := r.Read("as_3/index.log"); !fault.Is(err, fault.Unavailable) || time.Since(began) > 0 {
			t.Errorf("when it has stopped: after %v: %v", time.Since(began), err)
		}
	})
}

// A start with many recordings in a bucket that falls silent takes seconds, and the next
// one, when it is back, finds them all.
func TestStartDoesNotWaitForTheBucket(t *testing.T) {
	const assets = 200
	for name, answered := range map[string]int64{"at once": 0, "when it has listed": 1, "when it has sent some": 50} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newSilent(0)
				many(t, c.cloud, assets)
				c.after.Store(answered)
				dir := t.TempDir()
				r := open(t, spool.DefaultConfig(), dir, c)
				began := time.Now()
				l := library(t, r)
				if d := time.Since(began); d > 7*time.Second {
					t.Errorf("the start takes %v", d)
				}
				if n := len(l.Assets()); n > assets || answered == 50 && n == 0 {
					t.Errorf("%d assets", n)
				}
				_ = r.folder.Close() // its lock only
				c.after.Store(1 << 40)
				if n := len(library(t, open(t, spool.DefaultConfig(), dir, c)).Assets()); n != assets {
					t.Errorf("%d assets when the bucket is back", n)
				}
			})
		})
	}
}

// Many recordings in a bucket that is far: several are asked for at a time, but not all.
func TestStartAsksForSeveral(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newSilent(100 * time.Millisecond)
		many(t, c.cloud, 200)
		r := open(t, spool.DefaultConfig(), t.TempDir(), c)
		began := time.Now()
		l := library(t, r)
		if d := time.Since(began); d > 7*time.Second || c.most.Load() > 16 {
			t.Errorf("the start takes %v, with %d questions at a time", d, c.most.Load())
		}
		if n := len(l.Assets()); n != 200 {
			t.Errorf("%d assets", n)
		}
	})
}

// What an earlier server left half deleted is not asked for one by one while the bucket is silent.
func TestStartDoesNotWaitForDeletions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, dir := newSilent(0), t.TempDir()
		many(t, c.cloud, 200)
		r := open(t, spool.DefaultConfig(), dir, c)
		l := library(t, r)
		c.answer.Store(-1)
		for _, id := range l.Assets() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			if err := l.Delete(ctx, id); err == nil {
				t.Fatal("deleted without the bucket")
			}
			cancel()
		}
		synctest.Wait()
		_ = r.folder.Close() // its lock only
		began := time.Now()
		library(t, open(t, spool.DefaultConfig(), dir, c))
		if d := time.Since(began); d > 7*time.Second {
			t.Errorf("the start takes %v", d)
		}
	})
}
