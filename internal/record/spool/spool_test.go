package spool_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/record"
	"onair/internal/record/bucket"
	"onair/internal/record/recordtest"
	"onair/internal/record/spool"
)

// On a real S3 server, with objects going there meanwhile and without.
func TestSpoolIsAStorage(t *testing.T) {
	s := recordtest.NewServer(t)
	n := new(atomic.Int64)
	remote := func(t *testing.T) record.Storage {
		cfg := bucket.DefaultConfig()
		cfg.Endpoint, cfg.Bucket, cfg.AccessKey, cfg.SecretKey = s.Endpoint, s.Bucket, s.AccessKey, bucket.Secret(s.SecretKey)
		cfg.Prefix = strconv.FormatInt(n.Add(1), 10)
		b, err := bucket.New(cfg, quiet)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	t.Run("sending", func(t *testing.T) {
		recordtest.Storage(t, func(t *testing.T) record.Storage { return start(t, spool.DefaultConfig(), t.TempDir(), remote(t)) })
	})
	t.Run("waiting", func(t *testing.T) {
		recordtest.Storage(t, func(t *testing.T) record.Storage { return open(t, spool.DefaultConfig(), t.TempDir(), remote(t)) })
	})
	// And once more with everything in the bucket when it is looked at.
	t.Run("sent", func(t *testing.T) {
		recordtest.Storage(t, func(t *testing.T) record.Storage {
			b := remote(t)
			return &sent{start(t, spool.DefaultConfig(), t.TempDir(), b), t}
		})
	})
}

// sent waits after each Put until the folder is empty.
type sent struct {
	*rig
	t testing.TB
}

func (s *sent) Put(ctx context.Context, name string, chunks [][]byte) error {
	err := s.rig.Put(ctx, name, chunks)
	for err == nil && ctx.Err() == nil && strings.Contains(" "+s.waiting(s.t)+" ", " "+name+" ") {
		<-time.After(time.Millisecond)
	}
	return err
}

// What the index does not list yet is not sent, and the index is sent when all it lists is
// there.
func TestIndexComesAfterWhatItLists(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud()
		r := start(t, spool.DefaultConfig(), t.TempDir(), c)
		j, err := r.Append("as_1/index.log")
		if err != nil {
			t.Fatal(err)
		}
		index(t, j, "head")
		put(t, r, segment("as_1", 1), "one")
		synctest.Wait()
		if c.put() != "" {
			t.Errorf("sent before it is in the index: %s", c.put())
		}
		index(t, j, " one")
		synctest.Wait()
		if c.put() != segment("as_1", 1) || r.waiting(t) != "" {
			t.Errorf("sent %q, waiting %q", c.put(), r.waiting(t))
		}
		if got := get(t, r, segment("as_1", 1)); got != "one" {
			t.Errorf("it reads %q", got)
		}
		// While it is away a copy of the index is due, and more segments come.
		c.set(errAway)
		time.Sleep(2 * time.Minute)
		for i := 2; i < 12; i++ {
			put(t, r, segment("as_1", i), "more")
			index(t, j, " more")
		}
		c.set(nil)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		want := ""
		for i := 1; i < 12; i++ {
			want += segment("as_1", i) + " "
		}
		if want += "index/as_1.log"; c.put() != want {
			t.Errorf("sent:\n%s\nwant:\n%s", c.put(), want)
		}
		if got := c.object("index/as_1.log"); got != "head one"+strings.Repeat(" more", 10) {
			t.Errorf("the index is %q", got)
		}
		if r.waiting(t) != "" {
			t.Errorf("waiting: %s", r.waiting(t))
		}
	})
}

// The bucket gets copies of an index that is being written, which list only what is there.
func TestCopiesOfTheIndex(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud()
		r := start(t, spool.DefaultConfig(), t.TempDir(), c)
		j, err := r.Append("as_1/index.log")
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		for i := range 70 {
			put(t, r, segment("as_1", i), "x")
			index(t, j, "x")
			time.Sleep(2 * time.Second)
		}
		if n := len(c.object("index/as_1.log")); n < 55 || n > 65 || strings.Count(c.put(), "index/") != 2 {
			t.Errorf("the copy lists %d segments, and there were %d copies", n, strings.Count(c.put(), "index/"))
		}
	})
}

// Away for a minute in the middle and at the end: nothing is lost, and nobody asks all the time.
func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud()
		r := start(t, spool.DefaultConfig(), t.TempDir(), c)
		begun := time.Now()
		const assets, seconds = 5, 180
		var journals []record.Journal
		for a := range assets {
			j, err := r.Append("as_" + strconv.Itoa(a) + "/index.log")
			if err != nil {
				t.Fatal(err)
			}
			journals = append(journals, j)
		}
		for i := range seconds {
			switch i {
			case 40, 150:
				c.set(errAway)
			case 100:
				if since, err := r.Trouble(); since.Sub(begun).Round(time.Second) != 40*time.Second || !errors.Is(err, errAway) {
					t.Errorf("away since %v: %v", since.Sub(begun), err)
				}
				c.set(nil)
			case 149:
				if w := r.waiting(t); w != "" {
					t.Errorf("waiting after 49 s: %s", w)
				}
			}
			for a, j := range journals {
				put(t, r, segment("as_"+strconv.Itoa(a), i), strconv.Itoa(i))
				index(t, j, strconv.Itoa(i)+" ")
			}
			time.Sleep(time.Second)
		}
		for _, j := range journals {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
		c.mu.Lock()
		tries := c.tries - len(c.order)
		c.mu.Unlock()
		if tries > assets*20 {
			t.Errorf("it was tried %d times in vain in 90 s", tries)
		}
		time.Sleep(30 * time.Second)
		c.set(nil)
		time.Sleep(31 * time.Second)
		if w := r.waiting(t); w != "" {
			t.Errorf("waiting: %s", w)
		}
		for a := range assets {
			next, asset := 0, "as_"+strconv.Itoa(a)
			for name := range strings.SplitSeq(c.put(), " ") {
				if strings.HasPrefix(name, asset+"/") {
					if name != segment(asset, next) {
						t.Fatalf("%s in place of %d", name, next)
					}
					next++
				}
			}
			if next != seconds {
				t.Errorf("%d of %d segments are there", next, seconds)
			}
			if text := c.object("index/" + asset + ".log"); !strings.HasSuffix(text, "178 179 ") {
				t.Errorf("the index ends with %q", text[max(0, len(text)-10):])
			}
		}
		var told []string
		for {
			e, ok := next(r.events)
			if !ok {
				break
			}
			told = append(told, e.Event.Type())
		}
		if got := strings.Join(told, " "); got != "storage.away storage.back storage.away storage.back" {
			t.Errorf("told: %s", got)
		}
		if since, err := r.Trouble(); !since.IsZero() || err != nil {
			t.Errorf("still in trouble: %v %v", since, err)
		}
	})
}

// next returns an event that is there.
func next(l *event.Listener) (event.Envelope, bool) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e, _, err := l.Next(ctx)
	return e, err == nil
}

// What an earlier server left is sent, in order, and an index that was sent is not sent again.
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, dir := newCloud(), t.TempDir()
		c.set(errAway)
		r := start(t, spool.DefaultConfig(), dir, c)
		j, err := r.Append("as_1/index.log")
		if err != nil {
			t.Fatal(err)
		}
		put(t, r, "as_1/v0/ix.0.mp4", "init")
		for _, n := range []int{8, 9, 10, 11} {
			put(t, r, segment("as_1", n), "x")
			index(t, j, "x")
		}
		r.stop()
		c.set(nil)
		r = start(t, spool.DefaultConfig(), dir, c)
		synctest.Wait()
		want := "as_1/v0/ix.0.mp4 " + segment("as_1", 8) + " " + segment("as_1", 9) + " " + segment("as_1", 10) + " " + segment("as_1", 11) + " index/as_1.log"
		if c.put() != want || r.waiting(t) != "" {
			t.Errorf("sent:\n%s\nwant:\n%s\nwaiting: %s", c.put(), want, r.waiting(t))
		}
		r.stop()
		r = start(t, spool.DefaultConfig(), dir, c)
		synctest.Wait()
		if c.put() != want {
			t.Errorf("sent again: %s", c.put())
		}
		if names, err := r.Names(); err != nil || strings.Join(names, " ") != "as_1/index.log" {
			t.Errorf("indexes: %v %v", names, err)
		}
	})
}

// Too much waits: it is said why, and what is there is not lost.
func TestBound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, dir := newCloud(), t.TempDir()
		c.set(errAway)
		cfg := spool.DefaultConfig()
		cfg.MaxBytes = 16 << 20
		r := start(t, cfg, dir, c)
		content := strings.Repeat("x", 1<<20)
		for i := range 16 {
			put(t, r, segment("as_1", i), content)
		}
		time.Sleep(5 * time.Second)
		err := r.Put(context.Background(), segment("as_1", 16), [][]byte{[]byte("x")})
		if !fault.Is(err, fault.TooLarge) || !strings.Contains(err.Error(), "away since 2000-01-01T00:00:00Z") || !strings.Contains(err.Error(), "record-spool-bytes") || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%v", err)
		}
		r.stop()
		r = start(t, cfg, dir, c)
		if err := r.Put(context.Background(), segment("as_1", 16), [][]byte{[]byte("x")}); !fault.Is(err, fault.TooLarge) {
			t.Errorf("after a restart: %v", err)
		}
		c.set(nil)
		time.Sleep(time.Minute)
		put(t, r, segment("as_1", 16), "x")
		synctest.Wait()
		if n := strings.Count(c.put(), " ") + 1; n != 17 || r.waiting(t) != "" {
			t.Errorf("%d objects were sent, waiting %s", n, r.waiting(t))
		}
	})
}

// Where there was no room for a large object small ones wait too, until there is.
func TestBoundIsForAllObjects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud()
		c.set(errAway)
		cfg := spool.DefaultConfig()
		cfg.MaxBytes = 16 << 20
		r := start(t, cfg, t.TempDir(), c)
		put(t, r, segment("as_1", 1), strings.Repeat("x", 14<<20))
		put(t, r, segment("as_1", 2), "small")
		for _, size := range []int{3 << 20, 1, 1 << 20, 40 << 20} {
			if err := r.Put(context.Background(), segment("as_1", 3), [][]byte{make([]byte, size)}); !fault.Is(err, fault.TooLarge) {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
		c.set(nil)
		time.Sleep(time.Minute)
		put(t, r, segment("as_1", 3), "small")
		put(t, r, segment("as_1", 4), strings.Repeat("x", 15<<20))
	})
}

// What is deleted while it is sent does not stay in the bucket.
func TestDeleteWhileSending(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud()
		c.hold, c.holding = make(chan struct{}), make(chan struct{}, 9)
		r := start(t, spool.DefaultConfig(), t.TempDir(), c)
		put(t, r, segment("as_1", 1), "x")
		put(t, r, segment("as_1", 2), "x")
		put(t, r, segment("as_2", 1), "x")
		synctest.Wait() // one of each asset is being sent
		done := make(chan error, 1)
		go func() { done <- r.Delete(context.Background(), "as_1") }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Errorf("it did not wait: %v", err)
		default:
		}
		close(c.hold)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if c.names() != segment("as_2", 1) || r.waiting(t) != "" {
			t.Errorf("in the bucket: %s, waiting: %s", c.names(), r.waiting(t))
		}
		if _, err := r.Open(context.Background(), segment("as_1", 1), 0, -1); !fault.Is(err, fault.NotFound) {
			t.Errorf("it can be read: %v", err)
		}
	})
}

// With the bucket away an asset cannot be deleted, and stays whole; what was never sent can.
func TestDeleteWhileAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud()
		r := open(t, spool.DefaultConfig(), t.TempDir(), c)
		put(t, r, segment("as_1", 1), "x")
		put(t, r, segment("as_1", 2), "x")
		c.set(errAway)
		if err := r.Delete(context.Background(), "as_1"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%v", err)
		}
		if err := r.Delete(context.Background(), segment("as_1", 2)); err != nil {
			t.Errorf("what was never sent: %v", err)
		}
		c.set(nil)
		r.run(t)
		synctest.Wait()
		if c.names() != segment("as_1", 1) || r.waiting(t) != "" {
			t.Errorf("in the bucket: %s, waiting: %s", c.names(), r.waiting(t))
		}
		if err := r.DeleteObjects(context.Background(), []string{segment("as_1", 1), segment("as_1", 7)}); err != nil || c.names() != "" {
			t.Errorf("%v, in the bucket: %s", err, c.names())
		}
	})
}

// An object that is replaced while it is sent is sent again.
func TestReplaceWhileSending(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud()
		c.hold, c.holding = make(chan struct{}), make(chan struct{}, 9)
		r := start(t, spool.DefaultConfig(), t.TempDir(), c)
		put(t, r, segment("as_1", 1), "old")
		<-c.holding
		put(t, r, segment("as_1", 1), "new")
		close(c.hold)
		synctest.Wait()
		if got := c.object(segment("as_1", 1)); got != "new" || r.waiting(t) != "" {
			t.Errorf("in the bucket: %q, waiting: %q", got, r.waiting(t))
		}
	})
}

// A bucket that takes nothing within the time is one that is away.
func TestSlowBucket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud()
		c.hold, c.holding = make(chan struct{}), make(chan struct{}, 99)
		r := start(t, spool.DefaultConfig(), t.TempDir(), c)
		put(t, r, segment("as_1", 1), "x")
		time.Sleep(40 * time.Second)
		if _, err := r.Trouble(); !fault.Is(err, fault.Timeout) {
			t.Errorf("%v", err)
		}
		close(c.hold)
		time.Sleep(40 * time.Second)
		if c.names() != segment("as_1", 1) {
			t.Errorf("in the bucket: %s", c.names())
		}
	})
}
