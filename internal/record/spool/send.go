package spool

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"onair/internal/event"
	"onair/internal/fault"
)

const (
	// firstPause is the pause after a failure, which doubles up to maxPause. Half of it is
	// by chance, so that the assets do not all ask at the same time.
	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second
	// An upload may take sendTime, and a second more for each slowRate bytes.
	sendTime = 30 * time.Second
	slowRate = 64 << 10
)

// Run sends what waits until ctx ends. What waits then is sent after the next start.
func (s *Spool) Run(ctx context.Context) error {
	s.mu.Lock()
	s.running, s.silence = true, silence{}
	s.mu.Unlock()
	defer context.AfterFunc(ctx, s.end)()
	defer s.end()
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, s.cfg.Uploads)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		q, it, err := s.wait(ctx)
		if err != nil {
			return nil
		}
		wg.Go(func() {
			s.finish(ctx, q, it, s.send(ctx, it))
			<-slots
			s.poke()
		})
	}
}

// wait waits for something to send.
func (s *Spool) wait(ctx context.Context) (*queue, *item, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		q, it, at := s.next(time.Now())
		if q != nil {
			return q, it, nil
		}
		var due <-chan time.Time
		if !at.IsZero() {
			due = time.After(time.Until(at))
		}
		select {
		case <-s.wake:
		case <-due:
		case <-ctx.Done():
		}
	}
}

// send sends one item and takes the local copy of an object away. It is not an error if that
// is not there: somebody deleted it.
func (s *Spool) send(ctx context.Context, it *item) error {
	limit := sendTime + time.Duration(it.size/slowRate)*time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.sendWhole(ctx, it)
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Timeout, "send to the bucket", it.name, "it took longer than "+limit.String(), "See how fast the bucket can be reached")
	}
	return err
}

func (s *Spool) sendWhole(ctx context.Context, it *item) error {
	if it.index {
		return s.sendIndex(ctx, it)
	}
	r, err := s.local.Open(ctx, it.name, 0, -1)
	if fault.Is(err, fault.NotFound) {
		s.log.Warn("a recorded object is not in the folder any more and was not sent to the bucket", "object", it.name)
		return nil
	}
	if err != nil {
		return err
	}
	data, err := io.ReadAll(r)
	_ = r.Close() // nothing was written
	if err != nil {
		return err
	}
	if err := s.remote.Put(ctx, it.name, [][]byte{data}); err != nil {
		return err
	}
	s.m.sent.Add(float64(len(data)))
	s.drop(it.name)
	return nil
}

// drop takes a local copy away, but if there is another one meanwhile.
func (s *Spool) drop(name string) {
	s.mu.Lock()
	c := s.names[name]
	if c.count > 1 {
		s.mu.Unlock()
		return
	}
	c.dropping = make(chan struct{})
	s.mu.Unlock()
	if err := s.local.Drop(name); err != nil {
		s.log.Warn("an object that the bucket has cannot be removed from the folder: it is sent again after the next start", "object", name, "error", err)
	}
	s.mu.Lock()
	close(c.dropping)
	c.dropping = nil
	s.mu.Unlock()
}

// sendIndex sends a copy of an index.
func (s *Spool) sendIndex(ctx context.Context, it *item) error {
	r, err := s.local.Read(it.name)
	if fault.Is(err, fault.NotFound) {
		return nil // the asset was deleted
	}
	if err != nil {
		return err
	}
	data := make([]byte, min(it.size, r.Size()))
	_, err = r.ReadAt(data, 0)
	_ = r.Close() // nothing was written
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	asset := assetOf(it.name)
	if err := s.remote.Put(ctx, remoteIndex(asset), [][]byte{data}); err != nil || !it.final {
		return err
	}
	return s.local.Put(ctx, sentName(asset), [][]byte{strconv.AppendInt(nil, it.size, 10)})
}

// finish takes note of what came of an item.
func (s *Spool) finish(ctx context.Context, q *queue, it *item, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(q.busy)
	q.busy = nil
	it.tried = true
	switch {
	case err == nil:
		s.m.uploads.WithLabelValues("ok").Inc()
		q.items = q.items[1:]
		s.forget(it)
		if q.failures > 0 {
			q.failures = 0
			s.recovered(true)
		}
	case ctx.Err() != nil: // the server stops
	default:
		s.m.uploads.WithLabelValues("error").Inc()
		if q.failures++; q.failures == 1 {
			s.failing++
		}
		pause := min(firstPause<<min(q.failures-1, 16), maxPause)
		q.after = time.Now().Add(pause/2 + rand.N(pause/2))
		s.fail(it, err)
	}
	s.leave(q)
}

// fail tells that the bucket does not take what is sent, once an outage and kind; s.mu is
// held.
func (s *Spool) fail(it *item, err error) {
	again := !s.trouble.since.IsZero() && fault.KindOf(s.trouble.err) == fault.KindOf(err)
	if s.trouble.since.IsZero() {
		s.trouble.since = time.Now()
	}
	s.trouble.err = err
	if again {
		return
	}
	s.log.Error("the bucket does not take recordings; they wait in the data folder", "object", it.name, "error", err)
	if s.events != nil {
		s.events.Publish(event.StorageAway{Code: string(fault.KindOf(err)), Reason: err.Error(), WaitingBytes: s.bytes, MaxBytes: s.cfg.MaxBytes})
	}
}

// recovered counts a queue as working again. If it was sent something, the others need not
// wait either; s.mu is held.
func (s *Spool) recovered(sent bool) {
	s.failing--
	for _, q := range s.queues {
		if sent {
			q.after = time.Time{}
		}
	}
	if s.failing > 0 {
		return
	}
	away := time.Since(s.trouble.since)
	s.trouble = trouble{}
	if !sent {
		return // what failed was deleted
	}
	s.log.Info("the bucket takes recordings again", "away", away, "waiting", s.objects, "bytes", s.bytes)
	if s.events != nil {
		s.events.Publish(event.StorageBack{AwaySeconds: away.Seconds(), WaitingBytes: s.bytes})
	}
}
