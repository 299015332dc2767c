package record

import (
	"context"
	"sync/atomic"
	"time"
)

// slowStorage takes its time to put.
type slowStorage struct {
	Storage
	delay atomic.Int64
}

func (s *slowStorage) Put(ctx context.Context, name string, chunks [][]byte) error {
	if d := time.Duration(s.delay.Load()); d > 0 {
		time.Sleep(d) // the bubble's time
	}
	return s.Storage.Put(ctx, name, chunks)
}
