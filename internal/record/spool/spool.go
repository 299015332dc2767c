// Package spool keeps recordings in a bucket, by way of a folder: what is stored is durable
// in the folder at once, and is sent to the bucket behind.
package spool

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/record"
)

// Spool is a record.Storage and keeps record.Journals. The objects of an asset are sent in
// the order in which they were stored, each once the index lists it, and the index after
// them: whoever reads the bucket finds whatever an index there lists, and after a crash what
// no index lists is in the folder.
//
// The indexes stay in the folder, where the library reads them; the bucket has copies, from
// which a server with an empty folder gets them.
type Spool struct {
	cfg    Config
	local  *record.Folder
	remote record.Storage
	events *event.Bus
	log    *slog.Logger
	m      *metrics

	wake chan struct{} // there may be something to send

	// life ends with Run: what asks the bucket for somebody who sets no limit ends then.
	life context.Context
	end  context.CancelFunc

	mu     sync.Mutex
	queues map[string]*queue // of the assets that have something waiting, or are being written
	names  map[string]*claim // of the objects that wait or are being stored
	bytes  int64             // of these
	// short is the largest object that there was no room for. Until there is, smaller ones are
	// refused too: a recording that goes on with its sound only has not gone on.
	short   int64
	objects int
	failing int // queues whose last attempt failed
	trouble trouble
	// adopted are assets that another server did not end, and elsewhere those whose index is
	// in the bucket only.
	adopted, elsewhere map[string]bool

	running bool // since Run
	silence silence
	partial bool // there may be indexes in the bucket that Names did not find
}

// claim is the interest in the local copy of an object.
type claim struct {
	count    int           // items that wait, and Puts in progress
	dropping chan struct{} // closed when the copy is gone; nil if it is not going
}

// trouble is what is wrong with the bucket.
type trouble struct {
	since time.Time // zero: nothing
	err   error
}

// New returns a Spool of what a folder and a bucket hold. What an earlier server left in the
// folder is sent too, and counts for the bound. Call Run after the library is loaded. Metrics
// are registered with reg (nil for none).
func New(cfg Config, local *record.Folder, remote record.Storage, events *event.Bus, log *slog.Logger, reg prometheus.Registerer) (*Spool, error) {
	s := &Spool{
		cfg: cfg, local: local, remote: remote, events: events, log: log, wake: make(chan struct{}, 1),
		queues: map[string]*queue{}, names: map[string]*claim{}, adopted: map[string]bool{}, elsewhere: map[string]bool{},
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.m = newMetrics(s, reg)
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return s, s.find()
}

// find takes in what is in the folder.
func (s *Spool) find() error {
	list, err := s.local.List(context.Background(), "")
	if err != nil {
		return err
	}
	slices.SortStableFunc(list, func(a, b record.Object) int {
		return cmp.Or(strings.Compare(assetOf(a.Name), assetOf(b.Name)), cmp.Compare(number(a.Name), number(b.Name)))
	})
	for _, o := range list {
		s.claim(o.Name).count++
		s.bytes += o.Size
		s.add(o.Name, o.Size)
	}
	for _, q := range s.queues {
		q.settled = q.last
	}
	journals, err := s.local.Names()
	if err != nil {
		return err
	}
	for _, name := range journals {
		if !isIndex(name) {
			continue
		}
		size, err := s.indexSize(name)
		if err != nil {
			return err
		}
		if s.sentSize(assetOf(name)) != size {
			s.queue(assetOf(name)).addIndex(name, size, true)
		}
	}
	if len(list) > 0 {
		s.log.Info("recordings of an earlier server wait to be sent to the bucket", "objects", len(list), "bytes", s.bytes)
	}
	return nil
}

// assetOf is the first element of a name.
func assetOf(name string) string {
	asset, _, _ := strings.Cut(name, "/")
	return asset
}

// number is what pack counts in an object's name: initialization sections come first, and
// segments in the order of their numbers.
func number(name string) int64 {
	_, rest, _ := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ".")
	digits, _, _ := strings.Cut(rest, ".")
	n, _ := strconv.ParseInt(digits, 10, 64) // 0 for other names
	return n
}

// Put stores an object in the folder, and sees to it that it is sent; see record.Storage.
// fault.TooLarge if too much waits already.
func (s *Spool) Put(ctx context.Context, name string, chunks [][]byte) error {
	size := int64(0)
	for _, c := range chunks {
		size += int64(len(c))
	}
	if err := s.reserve(ctx, name, size); err != nil {
		return err
	}
	err := s.local.Put(ctx, name, chunks)
	s.mu.Lock()
	if err != nil {
		s.bytes -= size
		s.disclaim(name)
	} else {
		s.add(name, size)
	}
	s.mu.Unlock()
	s.poke()
	return err
}

// reserve takes room for an object, and sees to it that its local copy does not go.
func (s *Spool) reserve(ctx context.Context, name string, size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+max(size, s.short) > s.cfg.MaxBytes {
		s.short = min(max(size, s.short), s.cfg.MaxBytes) // all of it is room enough to go on with
		s.m.refused.Inc()
		return s.full(name)
	}
	s.short = 0
	for {
		c := s.claim(name)
		if c.dropping == nil {
			c.count++
			s.bytes += size
			return nil
		}
		gone := c.dropping
		s.mu.Unlock()
		select {
		case <-gone:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// full is why nothing more is taken.
func (s *Spool) full(name string) error {
	why := fmt.Sprintf("%d MiB wait to be sent to the bucket, which takes less than is recorded", s.bytes>>20)
	if !s.trouble.since.IsZero() {
		why = fmt.Sprintf("%d MiB wait to be sent to the bucket, which has been away since %s (%v)", s.bytes>>20, s.trouble.since.UTC().Format(time.RFC3339), s.trouble.err)
	}
	return fault.New(fault.TooLarge, "store", name, why, "Bring the bucket back, or let more wait (record-spool-bytes)")
}

// claim returns the claim on an object's local copy; s.mu is held.
func (s *Spool) claim(name string) *claim {
	c := s.names[name]
	if c == nil {
		c = &claim{}
		s.names[name] = c
	}
	return c
}

// disclaim ends an interest in a local copy; s.mu is held.
func (s *Spool) disclaim(name string) {
	c := s.names[name]
	if c.count--; c.count == 0 && c.dropping == nil {
		delete(s.names, name)
	}
}

// Open reads an object from where it is; see record.Storage.
func (s *Spool) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := s.local.Open(ctx, name, offset, length)
	if !fault.Is(err, fault.NotFound) {
		return r, err
	}
	err = s.ask(ctx, func() error {
		r, err = s.remote.Open(ctx, name, offset, length)
		return err
	})
	return r, err
}

// List returns the objects of both; see record.Storage.
func (s *Spool) List(ctx context.Context, prefix string) ([]record.Object, error) {
	here, err := s.local.List(ctx, prefix) // first: objects go from here to there
	if err != nil {
		return nil, err
	}
	var there []record.Object
	err = s.ask(ctx, func() error {
		there, err = s.remote.List(ctx, prefix)
		return err
	})
	if err != nil {
		return nil, err
	}
	all := here
	known := make(map[string]struct{}, len(here))
	for _, o := range here {
		known[o.Name] = struct{}{}
	}
	for _, o := range there {
		if _, twice := known[o.Name]; !twice && !strings.HasSuffix(o.Name, journalExt) {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b record.Object) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Recent returns the objects that an index may not list; see record.Recent.
func (s *Spool) Recent(ctx context.Context, prefix string) ([]record.Object, error) {
	s.mu.Lock()
	all := s.adopted[assetOf(prefix)]
	s.mu.Unlock()
	if all {
		return s.List(ctx, prefix) // a copy of an index may be older than the objects
	}
	return s.local.List(ctx, prefix)
}

// Delete removes objects from both, those that are being sent too; see record.Storage.
func (s *Spool) Delete(ctx context.Context, prefix string) error {
	within := func(name string) bool { return name == prefix || strings.HasPrefix(name, prefix+"/") }
	return s.remove(ctx, assetOf(prefix), within, func() error {
		if err := s.ask(ctx, func() error { return s.remote.Delete(ctx, prefix) }); err != nil && !s.onlyHere(err, prefix) {
			return err
		}
		if err := s.local.Delete(ctx, prefix); err != nil {
			return err
		}
		if !strings.Contains(prefix, "/") {
			s.local.Tidy(prefix)
		}
		return nil
	})
}

// DeleteObjects removes many objects of one asset after another.
func (s *Spool) DeleteObjects(ctx context.Context, names []string) error {
	for len(names) > 0 {
		asset, n := assetOf(names[0]), 1
		for n < len(names) && assetOf(names[n]) == asset {
			n++
		}
		these := names[:n]
		within := func(name string) bool { return slices.Contains(these, name) }
		err := s.remove(ctx, asset, within, func() error {
			if err := s.ask(ctx, func() error { return s.deleteRemote(ctx, these) }); err != nil {
				return err
			}
			for _, name := range these {
				if err := s.local.Drop(name); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		names = names[n:]
	}
	return nil
}

func (s *Spool) deleteRemote(ctx context.Context, names []string) error {
	if many, ok := s.remote.(interface {
		DeleteObjects(ctx context.Context, names []string) error
	}); ok {
		return many.DeleteObjects(ctx, names)
	}
	for _, name := range names {
		if err := s.remote.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// onlyHere reports whether an object was never sent, so that it does not matter that the
// bucket is away.
func (s *Spool) onlyHere(err error, name string) bool {
	if fault.Is(err, fault.Invalid) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[assetOf(name)]
	if q == nil {
		return false
	}
	found := false
	for _, it := range q.items {
		if it.name == name && it.tried {
			return false
		}
		found = found || it.name == name
	}
	return found
}

// Trouble returns since when the bucket has not taken what is sent, and why; the zero time if
// it does.
func (s *Spool) Trouble() (since time.Time, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble.since, s.trouble.err
}
