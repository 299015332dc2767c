package record

import (
	"context"
	"io"
	"sync"
)

// Library is all assets of one storage.
type Library struct {
	storage Storage

	mu     sync.Mutex
	assets map[string]*Asset
}

// Asset returns the asset with an id, if there is one.
func (l *Library) Asset(id string) (*Asset, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.assets[id]
	return a, ok
}

// Open reads length bytes of a segment or an initialization section from offset; to its end
// if length is negative. fault.NotFound if there is no such object.
func (l *Library) Open(ctx context.Context, asset, rendition, name string, offset, length int64) (io.ReadCloser, error) {
	return l.storage.Open(ctx, asset+"/"+rendition+"/"+name, offset, length)
}
