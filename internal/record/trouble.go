package record

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"onair/internal/deliver/pack"
	"onair/internal/event"
	"onair/internal/fault"
)

// Trouble is why what should be recorded is not.
type Trouble struct {
	AssetID string
	// Since is when the storage failed first, of the failures that last.
	Since time.Time
	Err   error
}

// Trouble tells what is in the way of the recording of a live stream's broadcast now. It is
// tried again until the broadcast ends, and goes on in the same asset, after a gap.
func (l *Library) Trouble(streamID string) (Trouble, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.active {
		if w.busy && w.trouble.Err != nil && w.draft.head.Stream == streamID {
			return w.trouble, true
		}
	}
	return Trouble{}, false
}

const (
	// retryFirst and retryLast are the least and the greatest pause before a storage that
	// failed is tried again. A short failure leaves no gap: the greatest is less than what pack
	// keeps.
	retryFirst = 500 * time.Millisecond
	retryLast  = 8 * time.Second
	// retryAfter is for how long it is tried when the broadcast has ended.
	retryAfter = time.Minute
)

// record follows a broadcast to its end, and tries again where the storage fails.
func (w *writer) record(ctx context.Context, s *pack.Stream) error {
	open, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	defer func() {
		if w.trouble.Err != nil { // nobody else changes it
			w.l.m.troubled.Dec()
		}
	}()
	var ended time.Time
	begun := false
	for wait := retryFirst; ; wait = min(2*wait, retryLast) {
		err := w.commit()
		if err == nil && !begun {
			begun = true // parts are of use once it is known durably what they are of
			wg.Go(func() { w.keepOpen(open, s) })
		}
		if err == nil {
			err = w.follow(ctx, s)
		}
		if err == nil || ctx.Err() != nil || fault.Is(err, fault.TooMany) || fault.Is(err, fault.Invalid) {
			return err
		}
		if w.failed(err) {
			wait = retryFirst
		}
		if s.Ended() {
			if ended.IsZero() {
				ended = time.Now()
			}
			if time.Since(ended) > retryAfter {
				return err
			}
		}
		select {
		case <-time.After(wait + rand.N(wait/4)): // recordings of one disk not all at once
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failed says what is in the way, and reports whether it is so since now.
func (w *writer) failed(err error) (first bool) {
	if w.j != nil {
		_ = w.j.Close() // what is torn is cut off when it is opened again
		w.j = nil
	}
	w.l.mu.Lock()
	if first = w.trouble.Err == nil; first {
		w.trouble = Trouble{AssetID: w.asset.id, Since: time.Now()}
	}
	w.trouble.Err = err
	w.l.mu.Unlock()
	w.show()
	if first {
		w.l.m.troubled.Inc()
		w.l.tell(w, err)
	}
	return first
}

// recovered says that the storage works.
func (w *writer) recovered() {
	w.l.mu.Lock()
	was := w.trouble
	w.trouble = Trouble{}
	w.l.mu.Unlock()
	if was.Err == nil {
		return
	}
	w.l.m.troubled.Dec()
	after := time.Since(was.Since)
	w.l.log.Info("the recording goes on", "asset", w.asset.id, "stream", w.draft.head.Stream, "after", after)
	w.l.publish(event.AssetResumed{StreamID: w.draft.head.Stream, AssetID: w.asset.id, After: after.Seconds()})
	w.show()
}

// tell says that a recording has stopped.
func (l *Library) tell(w *writer, cause error) {
	l.m.errors.WithLabelValues(string(fault.KindOf(cause))).Inc()
	l.log.Error("the recording stopped; the live stream goes on", "asset", w.asset.id, "stream", w.draft.head.Stream, "error", cause)
	l.publish(event.AssetErrored{
		StreamID: w.draft.head.Stream, AssetID: w.asset.id, Code: string(fault.KindOf(cause)), Reason: cause.Error(),
	})
}
