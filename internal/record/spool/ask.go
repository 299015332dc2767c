package spool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"onair/internal/fault"
	"onair/internal/record"
)

const (
	// askTime is how long a start waits for the bucket to answer, or to go on with an answer;
	// if it does not, nothing more is asked for restTime, so that a start with many recordings
	// does not wait for each of them.
	askTime  = 3 * time.Second
	restTime = 10 * time.Second
	// indexTime is how long an index may take that somebody asks for who sets no limit.
	indexTime = time.Minute
	// asks is how many indexes a start asks for at a time; of those it reads in advance none is
	// larger than earlyIndex.
	asks       = 8
	earlyIndex = 16 << 20
)

// silence is that the bucket did not answer during the start. It is guarded by Spool.mu.
type silence struct {
	err   error
	until time.Time
}

// ask asks the bucket for something, unless it was silent a moment ago while the server starts.
func (s *Spool) ask(ctx context.Context, question func() error) error {
	s.mu.Lock()
	silent := s.silence
	s.mu.Unlock()
	if time.Now().Before(silent.until) {
		return silent.err
	}
	err := question()
	if ctx.Err() == nil && unanswered(err) {
		s.mu.Lock()
		if !s.running {
			s.silence = silence{err, time.Now().Add(restTime)}
		}
		s.mu.Unlock()
	}
	return err
}

// unanswered reports whether an error means that the bucket is away, rather than what it said.
func unanswered(err error) bool {
	return fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout)
}

// patience is how long an answer of the bucket may not go on.
func (s *Spool) patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return indexTime
	}
	return askTime
}

// unlimited does something that asks the bucket for somebody who sets no limit: it ends after
// indexTime, and with Run.
func (s *Spool) unlimited(op, subject string, work func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(s.life, indexTime)
	defer cancel()
	err := work(ctx)
	switch {
	case err == nil || ctx.Err() == nil:
		return err
	case s.life.Err() != nil:
		return fault.New(fault.Unavailable, op, subject, "the server is stopping", "Ask again in a moment")
	default:
		return slow(op, subject, indexTime)
	}
}

func slow(op, subject string, after time.Duration) error {
	return fault.New(fault.Timeout, op, subject, "the bucket did not answer for "+after.String(), "See how fast the bucket can be reached")
}

// download reads a part of an object of the bucket.
func (s *Spool) download(ctx context.Context, name string, offset, length int64) (data []byte, err error) {
	err = s.ask(ctx, func() error {
		patience := s.patience()
		reading, cancel := context.WithCancel(ctx)
		defer cancel()
		late := time.AfterFunc(patience, cancel)
		defer late.Stop()
		r, err := s.remote.Open(reading, name, offset, length)
		if err == nil {
			data, err = io.ReadAll(going{r, late, patience})
			err = errors.Join(err, r.Close())
		}
		if err != nil && reading.Err() != nil && ctx.Err() == nil {
			return slow("read from the bucket", name, patience)
		}
		return err
	})
	return data, err
}

// going puts the end of somebody's patience off as long as something comes.
type going struct {
	io.Reader
	late     *time.Timer
	patience time.Duration
}

func (g going) Read(b []byte) (int, error) {
	n, err := g.Reader.Read(b)
	if n > 0 && g.late.Stop() {
		g.late.Reset(g.patience)
	}
	return n, err
}

// listIndexes returns the indexes that the bucket has.
func (s *Spool) listIndexes() (list []record.Object, err error) {
	err = s.ask(s.life, func() error {
		ctx, cancel := context.WithTimeout(s.life, askTime)
		defer cancel()
		list, err = s.remote.List(ctx, indexFolder)
		if err != nil && ctx.Err() != nil && s.life.Err() == nil {
			return slow("list the bucket", indexFolder, askTime)
		}
		return err
	})
	return list, err
}

// found is what a start learned of the indexes that are only in the bucket.
type found struct {
	mu     sync.Mutex
	names  []string // of the journals of those that can be used
	open   int      // others that another server did not end
	unread int
	err    error // why some are unread
}

// findIndexes looks at indexes of the bucket, several at a time, until it does not answer.
// Those that are of use and not long are brought into the folder.
func (s *Spool) findIndexes(list []record.Object) *found {
	f := &found{}
	todo := make(chan record.Object)
	var wg sync.WaitGroup
	for range min(asks, len(list)) {
		wg.Go(func() {
			for o := range todo {
				s.findIndex(f, o)
			}
		})
	}
	for _, o := range list {
		todo <- o
	}
	close(todo)
	wg.Wait()
	slices.Sort(f.names)
	return f
}

func (s *Spool) findIndex(f *found, o record.Object) {
	name := assetOfIndex(o.Name) + indexName
	ended, err := s.endedThere(o)
	if err == nil && (ended || s.cfg.Adopt) && o.Size <= earlyIndex {
		err = s.bring(name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.unread++
		f.err = err
	case ended || s.cfg.Adopt:
		f.names = append(f.names, name)
	default:
		f.open++
	}
}

// bring gets an index from the bucket into the folder. It is not an error if it cannot be kept
// there: it is read again when it is needed.
func (s *Spool) bring(name string) error {
	s.mu.Lock()
	pointless := len(s.elsewhere) > 0
	s.mu.Unlock()
	if pointless {
		return nil
	}
	data, err := s.download(s.life, remoteIndex(assetOf(name)), 0, maxIndex)
	if err == nil {
		s.keep(s.life, name, data)
	}
	return err
}

// assetOfIndex is the asset of an index's name in the bucket; empty if it is none.
func assetOfIndex(name string) string {
	asset, ok := strings.CutSuffix(strings.TrimPrefix(name, indexFolder+"/"), journalExt)
	if !ok {
		return ""
	}
	return asset
}

// endedThere reports whether an index in the bucket is complete.
func (s *Spool) endedThere(o record.Object) (bool, error) {
	tail, err := s.download(s.life, o.Name, max(0, o.Size-tailSize), tailSize)
	if err != nil {
		return false, err
	}
	return record.IndexEnded(bytes.NewReader(tail), int64(len(tail)))
}

// Partial reports whether there may be indexes in the bucket that Names could not tell of; see
// record.Journals.
func (s *Spool) Partial() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.partial
}
