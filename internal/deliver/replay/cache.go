package replay

import (
	"container/list"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/record"
)

// key names what a cache holds: a form of one thing of an asset.
type key struct{ asset, name, form string }

// stamp tells the states of one asset apart, which only grows: two snapshots that were read
// at different times may be of the same one.
type stamp struct {
	state    record.State
	bytes    int64
	segments int
}

func stampOf(s *record.Snapshot) stamp {
	out := stamp{state: s.State, bytes: s.Bytes}
	for _, r := range s.Renditions {
		out.segments += r.Segments.Len()
	}
	return out
}

// entry is what was made of a state. Whoever asks while it is being made waits for it.
type entry struct {
	key   key
	state any // what it was made of, comparable: another one replaces it
	once  sync.Once
	value any
	err   error
	size  int64
}

// cache keeps what is made of assets, bounded in bytes: what was not asked for the longest
// time is forgotten first.
type cache struct {
	limit   int64
	held    prometheus.Gauge
	evicted prometheus.Counter

	mu      sync.Mutex
	size    int64
	order   *list.List // of *entry, the newest use first
	entries map[key]*list.Element
}

func newCache(limit int64, held prometheus.Gauge, evicted prometheus.Counter) *cache {
	return &cache{limit: limit, held: held, evicted: evicted, order: list.New(), entries: map[key]*list.Element{}}
}

// get returns what there is of a state under a key, and makes it, once for all who ask, if
// there is none. size is in bytes. An error is for those who waited for it, and not kept.
func (c *cache) get(k key, state any, build func() (value any, size int64, err error)) (any, error) {
	e := c.entry(k, state)
	e.once.Do(func() {
		var size int64
		e.value, size, e.err = build()
		c.settle(e, size)
	})
	return e.value, e.err
}

func (c *cache) entry(k key, state any) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.entries[k]; ok {
		if e := at.Value.(*entry); e.state == state {
			c.order.MoveToFront(at)
			return e
		}
		c.remove(at)
	}
	e := &entry{key: k, state: state}
	c.entries[k] = c.order.PushFront(e)
	return e
}

// settle counts what was made, and makes room for it.
func (c *cache) settle(e *entry, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.entries[e.key]
	if !ok || at.Value.(*entry) != e {
		return // replaced or forgotten meanwhile; who waits has it
	}
	if e.err != nil || size > c.limit {
		c.remove(at)
		return
	}
	const overhead = 256 // of an entry beside what it holds
	e.size = size + overhead
	c.size += e.size
	for last := c.order.Back(); c.size > c.limit && last != at; last = c.order.Back() {
		c.remove(last)
		c.evicted.Inc()
	}
	c.held.Set(float64(c.size))
}

func (c *cache) remove(at *list.Element) {
	e := c.order.Remove(at).(*entry)
	delete(c.entries, e.key)
	c.size -= e.size
	c.held.Set(float64(c.size))
}
