package spool_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/record"
	"onair/internal/record/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// cloud is a bucket in memory that can be away.
type cloud struct {
	mu      sync.Mutex
	objects map[string]string
	order   []string // of what was put
	tries   int
	away    error
	hold    chan struct{} // a Put waits for it, if there is one
	holding chan struct{} // and tells that it does
}

func newCloud() *cloud { return &cloud{objects: map[string]string{}} }

var errAway = fault.New(fault.Unavailable, "store in the bucket", "b", "connection refused", "See whether it runs")

func (c *cloud) set(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = err
}

func (c *cloud) Put(ctx context.Context, name string, chunks [][]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tries++
	if hold := c.hold; hold != nil {
		c.mu.Unlock()
		c.holding <- struct{}{}
		select {
		case <-hold:
		case <-ctx.Done():
		}
		c.mu.Lock()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.away != nil {
		return c.away
	}
	c.objects[name] = string(slices.Concat(chunks...))
	c.order = append(c.order, name)
	return nil
}

func (c *cloud) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away != nil {
		return nil, c.away
	}
	s, ok := c.objects[name]
	if !ok {
		return nil, fault.New(fault.NotFound, "read", name, "there is none", "")
	}
	s = s[min(int(offset), len(s)):]
	if length >= 0 {
		s = s[:min(int(length), len(s))]
	}
	return io.NopCloser(strings.NewReader(s)), nil
}

func (c *cloud) List(ctx context.Context, prefix string) (out []record.Object, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away != nil {
		return nil, c.away
	}
	for name, s := range c.objects {
		if prefix == "" || name == prefix || strings.HasPrefix(name, prefix+"/") {
			out = append(out, record.Object{Name: name, Size: int64(len(s))})
		}
	}
	slices.SortFunc(out, func(a, b record.Object) int { return strings.Compare(a.Name, b.Name) })
	return out, ctx.Err()
}

func (c *cloud) Delete(ctx context.Context, prefix string) error {
	list, err := c.List(ctx, prefix)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range list {
		delete(c.objects, o.Name)
	}
	return err
}

// object returns what the bucket has under a name.
func (c *cloud) object(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.objects[name]
}

// names returns what is in the bucket.
func (c *cloud) names() string {
	list, _ := c.List(context.Background(), "")
	var out []string
	for _, o := range list {
		out = append(out, o.Name)
	}
	return strings.Join(out, " ")
}

func (c *cloud) put() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.order, " ")
}

func folder(t testing.TB, dir string) *record.Folder {
	t.Helper()
	f, err := record.NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // twice in some tests
	return f
}

// rig is a spool that runs.
type rig struct {
	*spool.Spool
	folder *record.Folder
	events *event.Listener
	stop   func()
}

// start runs a spool over a folder. The test's end stops it, or stop.
func start(t testing.TB, cfg spool.Config, dir string, remote record.Storage) *rig {
	t.Helper()
	r := open(t, cfg, dir, remote)
	r.run(t)
	return r
}

// open makes a spool that does not run yet.
func open(t testing.TB, cfg spool.Config, dir string, remote record.Storage) *rig {
	t.Helper()
	f, bus := folder(t, dir), event.NewBus()
	r := &rig{folder: f, events: bus.Listen()}
	var err error
	if r.Spool, err = spool.New(cfg, f, remote, bus, quiet, nil); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		_ = r.folder.Close() // its lock only
	})
	t.Cleanup(r.stop)
}

// bubble runs a test in fake time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func put(t testing.TB, s record.Storage, name, content string) {
	t.Helper()
	if err := s.Put(context.Background(), name, [][]byte{[]byte(content)}); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, s record.Storage, name string) string {
	t.Helper()
	r, err := s.Open(context.Background(), name, 0, -1)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		t.Error(err)
	}
	return b.String()
}

// waiting returns the objects that are in the folder.
func (r *rig) waiting(t testing.TB) string {
	t.Helper()
	list, err := r.folder.List(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, o := range list {
		out = append(out, o.Name)
	}
	return strings.Join(out, " ")
}

func segment(asset string, n int) string { return fmt.Sprintf("%s/v0/sx.%d.m4s", asset, n) }

// index writes to an asset's index.
func index(t testing.TB, j record.Journal, text string) {
	t.Helper()
	if _, err := j.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
}

// unpacked are the segments of a rendition.
func unpacked(s record.Segments) (list []record.Segment) {
	for i := range s.Len() {
		list = append(list, s.At(i))
	}
	return list
}
