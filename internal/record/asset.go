package record

import (
	"sync/atomic"
)

// Asset is a broadcast that is or was recorded. Its methods may be called from several
// goroutines.
type Asset struct {
	id  string
	cur atomic.Pointer[shown]
}

// shown is a snapshot and what closes its Changed.
type shown struct {
	*Snapshot
	changed chan struct{}
}

// ID returns the asset's id.
func (a *Asset) ID() string { return a.id }

// Snapshot returns the asset as it is now.
func (a *Asset) Snapshot() *Snapshot { return a.cur.Load().Snapshot }

// show replaces the snapshot and tells those who wait.
func (a *Asset) show(s *Snapshot) {
	next := &shown{Snapshot: s, changed: make(chan struct{})}
	s.Changed = next.changed
	if old := a.cur.Swap(next); old != nil {
		close(old.changed)
	}
}
