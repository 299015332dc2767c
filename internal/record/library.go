package record

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/media/mp4file"
)

// Library is all assets of one storage. Its methods may be called from several goroutines;
// Load comes before all others.
type Library struct {
	cfg      Config
	storage  Storage
	journals Journals
	events   *event.Bus
	log      *slog.Logger
	m        *metrics

	reading sync.Mutex // one index is read at a time

	mu     sync.Mutex
	known  map[string]struct{} // every asset's id
	active map[string]*writer  // what is being recorded, or was when the server was killed
	cache  []*cached           // of the others, those read last at the end
	cost   int64
	ties   ties
	early  map[*pack.Stream]*earlyLog // of broadcasts that have begun and are not yet recorded
	left   []string                   // early journals of an earlier server
}

// cached is an asset that is not being recorded.
type cached struct {
	asset *Asset
	cost  int64
}

// assetCost is about what an asset takes in memory beside its segments, in bytes.
const assetCost = 1 << 10

// New returns a Library without assets; Load finds them. Its metrics are registered with reg
// (nil for none).
func New(cfg Config, storage Storage, journals Journals, events *event.Bus, log *slog.Logger, reg prometheus.Registerer) *Library {
	if cfg.Scan == nil {
		cfg.Scan = func(chunks [][]byte) ([]byte, error) { return mp4file.Scan(chunks) }
	}
	return &Library{
		cfg: cfg, storage: storage, journals: journals, events: events, log: log, m: newMetrics(reg),
		known: map[string]struct{}{}, active: map[string]*writer{}, ties: newTies(),
		early: map[*pack.Stream]*earlyLog{},
	}
}

func journalName(asset string) string { return asset + "/index" + journalExt }

// Assets returns the ids of all assets, sorted.
func (l *Library) Assets() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]string, 0, len(l.known))
	for id := range l.known {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// Asset returns the asset with an id, if there is one whose index can be read.
func (l *Library) Asset(id string) (*Asset, bool) {
	a, known := l.inMemory(id)
	if a != nil || !known {
		return a, a != nil
	}
	l.reading.Lock()
	defer l.reading.Unlock()
	if a, known = l.inMemory(id); a != nil || !known {
		return a, a != nil
	}
	d, _, _, err := l.read(id)
	if err != nil {
		l.log.Error("the index of an asset cannot be read", "asset", id, "error", err)
		return nil, false
	}
	a = &Asset{id: id}
	s := d.snapshot()
	if s.State == Recording {
		s.State = Ready // it lost its end
	}
	a.show(s)
	l.keep(a)
	return a, true
}

func (l *Library) inMemory(id string) (a *Asset, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w, ok := l.active[id]; ok {
		return w.asset, true
	}
	for i, c := range l.cache {
		if c.asset.id == id {
			l.cache = append(slices.Delete(l.cache, i, i+1), c)
			return c.asset, true
		}
	}
	_, known = l.known[id]
	return nil, known
}

// keep remembers an asset that is complete, and lets go of others for it.
func (l *Library) keep(a *Asset) {
	cost := int64(assetCost)
	for _, r := range a.Snapshot().Renditions {
		cost += r.Segments.cost()
		for _, i := range r.Inits {
			cost += assetCost + int64(len(i.Data))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.known[a.id]; !ok {
		return // deleted a moment ago
	}
	// Somebody may have had its index read since that was complete.
	if i := slices.IndexFunc(l.cache, func(c *cached) bool { return c.asset.id == a.id }); i >= 0 {
		l.forget(i)
	}
	l.cache = append(l.cache, &cached{a, cost})
	l.cost += cost
	for l.cost > l.cfg.MaxIndexBytes && len(l.cache) > 1 {
		l.forget(0)
	}
	l.m.index.Set(float64(l.cost))
}

func (l *Library) forget(i int) {
	l.cost -= l.cache[i].cost
	l.cache = slices.Delete(l.cache, i, i+1)
}

// read makes a draft of an asset's index. good is where its last whole record ends; damaged
// is set if something before that is of no use.
func (l *Library) read(id string) (d *draft, good int64, damaged bool, err error) {
	r, err := l.journals.Read(journalName(id))
	if err != nil {
		return nil, 0, false, err
	}
	defer r.Close()
	d = &draft{}
	good, lost, err := readIndex(r, r.Size(), func(e *entry, data []byte) error {
		if !d.apply(e, data) {
			d.useless.Entries++
		}
		return nil
	})
	if err != nil {
		return nil, 0, false, err
	}
	d.useless.Bytes = lost
	if damaged = d.useless.Bytes > d.repaired.Bytes || d.useless.Entries > d.repaired.Entries; damaged {
		l.m.damaged.Add(float64(lost))
		l.log.Warn("the index of an asset is damaged: what it does not tell any more is missing from the asset", "asset", id, "bytes", lost, "entries", d.useless.Entries)
	}
	if d.head == nil || d.head.Asset != id {
		return nil, good, damaged, fault.New(fault.Invalid, "read the index", journalName(id), "its beginning is missing or another asset's", "The segments are still in the storage; the index can be made anew of them")
	}
	return d, good, damaged, nil
}

// Open reads length bytes of a segment or an initialization section from offset; to its end
// if length is negative. fault.NotFound if there is no such object.
func (l *Library) Open(ctx context.Context, asset, rendition, name string, offset, length int64) (io.ReadCloser, error) {
	return l.storage.Open(ctx, asset+"/"+rendition+"/"+name, offset, length)
}

func notFound(op, subject string) error {
	return fault.New(fault.NotFound, op, subject, "there is no such asset", "")
}

// Delete removes an asset and all its objects, but for those that clips need, which go with
// the last of them. fault.Conflict while it is being recorded, fault.NotFound if there is
// none. An asset is gone with the first write; objects that a failure leaves are removed at
// the next start.
func (l *Library) Delete(ctx context.Context, id string) error {
	l.mu.Lock()
	_, known := l.known[id]
	w := l.active[id]
	if known && (w == nil || !w.busy) {
		delete(l.known, id)
		delete(l.active, id)
		for i, c := range l.cache {
			if c.asset.id == id {
				l.forget(i)
				break
			}
		}
	}
	l.mu.Unlock()
	if !known {
		return notFound("delete", id)
	}
	if w != nil && w.busy {
		return fault.New(fault.Conflict, "delete", id, "it is being recorded", "End the broadcast first")
	}
	if w != nil && w.j != nil {
		_ = w.j.Close() // its bytes are synced
	}
	err := l.mark(id)
	if err == nil {
		err = l.dropOpen(id)
	}
	if err == nil {
		err = l.remove(ctx, id)
	}
	if err != nil {
		l.mu.Lock()
		l.known[id] = struct{}{} // so that it can be deleted again
		l.mu.Unlock()
	}
	return err
}

// mark writes into an asset's index that it is deleted.
func (l *Library) mark(id string) error {
	j, err := l.journals.Append(journalName(id))
	if err != nil {
		return err
	}
	defer j.Close()
	if _, err := j.Write(appendEntry(nil, &entry{End: &endEntry{State: deleted, At: time.Now()}}, nil)); err != nil {
		return err
	}
	return j.Sync()
}

// Load finds the assets of the storage. What a server that was killed did not end is read
// and repaired: the torn end of its index is cut off, segments without an entry get one or
// are removed. It can then be recorded further (Resume), or ended (Finish). An asset that
// cannot be read is told of and left as it is.
func (l *Library) Load(ctx context.Context) error {
	names, err := l.journals.Names()
	if err != nil {
		return err
	}
	unread := l.unknown()
	for _, name := range names {
		id, ok := strings.CutSuffix(name, "/index"+journalExt)
		if !ok || strings.Contains(id, "/") {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.load(ctx, id); err != nil {
			l.log.Error("an asset cannot be read", "asset", id, "error", err)
			unread++
		}
	}
	l.sweep(ctx, unread)
	l.sweepOpen(names)
	l.findEarly(names)
	return nil
}

// load takes in one asset.
func (l *Library) load(ctx context.Context, id string) error {
	r, err := l.journals.Read(journalName(id))
	if err != nil {
		return err
	}
	end, err := readEnd(r, r.Size())
	_ = r.Close() // nothing was written
	switch {
	case err != nil:
		return err
	case end != nil && end.State == deleted:
		l.mu.Lock()
		l.ties.gone[id] = struct{}{} // removed once it is known what clips need of it
		l.mu.Unlock()
		return nil
	case end == nil:
		w, err := l.recover(ctx, id)
		if err != nil {
			return fmt.Errorf("recover what was being recorded: %w", err)
		}
		if w == nil {
			return nil
		}
		l.mu.Lock()
		l.active[id] = w
		l.mu.Unlock()
	}
	l.mu.Lock()
	l.known[id] = struct{}{}
	if end != nil {
		l.ties.add(id, end.Of)
	}
	l.mu.Unlock()
	return nil
}
