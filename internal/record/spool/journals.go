package spool

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"onair/internal/fault"
	"onair/internal/record"
)

// In the bucket the index of an asset is the object index/{asset}.log. In the folder it is
// where the library has it, and beside it is how long it was when it was sent complete.
const (
	journalExt  = ".log"
	indexName   = "/index" + journalExt
	indexFolder = "index"

	// checkEvery is how often a copy of the index goes to the bucket at most while it is
	// written. It has to have grown by a share of copyShare too: all copies of a long index
	// together are a few times as long.
	checkEvery = time.Minute
	copyShare  = 4
	// maxIndex bounds an index that is read from the bucket: far more than of a week.
	maxIndex = 256 << 20
	// tailSize is how much of an index tells whether it is complete; see record.IndexEnded.
	tailSize = 8 << 10
)

func isIndex(name string) bool { return strings.HasSuffix(name, indexName) }

func remoteIndex(asset string) string { return indexFolder + "/" + asset + journalExt }

func sentName(asset string) string { return asset + "/sent" + journalExt }

// sentSize is how long an asset's index was when it was sent complete; -1 if it was not.
func (s *Spool) sentSize(asset string) int64 {
	r, err := s.local.Read(sentName(asset))
	if err != nil {
		return -1
	}
	defer r.Close()
	var buf [32]byte
	n, _ := r.ReadAt(buf[:], 0) // what cannot be read is no number
	size, err := strconv.ParseInt(string(buf[:n]), 10, 64)
	if err != nil {
		return -1
	}
	return size
}

func (s *Spool) indexSize(name string) (int64, error) {
	r, err := s.local.Read(name)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return r.Size(), nil
}

// Append opens a journal in the folder; see record.Journals. fault.Unavailable for an index
// that is in the bucket and could not be kept here: it would begin anew.
func (s *Spool) Append(name string) (record.Journal, error) {
	s.mu.Lock()
	elsewhere := isIndex(name) && s.elsewhere[assetOf(name)]
	s.mu.Unlock()
	if elsewhere {
		return nil, fault.New(fault.Unavailable, "open the index", name, "it is only in the bucket, and could not be kept in the data folder", "See whether the server's user may write there, and start again")
	}
	j, err := s.local.Append(name)
	if err != nil || !isIndex(name) {
		return j, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queue(assetOf(name))
	q.writers++
	return &journal{Journal: j, s: s, q: q, name: name}, nil
}

// Scratch opens a journal in the folder; see record.Journals. It is never sent.
func (s *Spool) Scratch(name string) (record.Scratch, error) { return s.local.Scratch(name) }

// journal is an index that is being written. What was stored before it is synced is listed in
// it, and can go.
type journal struct {
	record.Journal
	s    *Spool
	q    *queue
	name string
}

// Sync makes the index durable, and sends what it lists.
func (j *journal) Sync() error {
	j.s.mu.Lock()
	listed, check := j.q.last, time.Since(j.q.checked) >= checkEvery
	j.s.mu.Unlock()
	if err := j.Journal.Sync(); err != nil {
		return err
	}
	size := int64(0)
	if check {
		var err error
		if size, err = j.s.indexSize(j.name); err != nil {
			return err
		}
	}
	j.s.mu.Lock()
	j.q.settled = max(j.q.settled, listed)
	if check {
		j.q.checked = time.Now()
		if size >= j.q.copied+j.q.copied/copyShare {
			j.q.addIndex(j.name, size, false)
		}
	}
	j.s.mu.Unlock()
	j.s.poke()
	return nil
}

// Close ends the writing, and sends the whole index.
func (j *journal) Close() error {
	err := j.Journal.Close()
	size, sizeErr := j.s.indexSize(j.name)
	j.s.mu.Lock()
	j.q.writers--
	if sizeErr == nil {
		j.q.addIndex(j.name, size, true)
	}
	j.s.leave(j.q)
	j.s.mu.Unlock()
	j.s.poke()
	return err
}

// Read opens a journal, and gets an index from the bucket that is only there; see
// record.Journals.
func (s *Spool) Read(name string) (record.JournalReader, error) {
	r, err := s.local.Read(name)
	if !fault.Is(err, fault.NotFound) || !isIndex(name) {
		return r, err
	}
	var data []byte
	err = s.unlimited("read the index", name, func(ctx context.Context) error {
		if data, err = s.download(ctx, remoteIndex(assetOf(name)), 0, maxIndex); err == nil {
			s.keep(ctx, name, data)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return indexCopy{bytes.NewReader(data)}, nil
}

// indexCopy is an index in memory.
type indexCopy struct{ *bytes.Reader }

func (indexCopy) Close() error { return nil }

// keep puts an index from the bucket into the folder, as a whole or not at all.
func (s *Spool) keep(ctx context.Context, name string, data []byte) {
	asset := assetOf(name)
	ended, err := record.IndexEnded(bytes.NewReader(data), int64(len(data)))
	if err == nil {
		err = s.local.Put(ctx, name, [][]byte{data})
	}
	if err == nil && ended {
		err = s.local.Put(ctx, sentName(asset), [][]byte{strconv.AppendInt(nil, int64(len(data)), 10)})
	}
	if err != nil {
		s.log.Warn("the index of a recording in the bucket cannot be kept in the data folder", "index", name, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.elsewhere[asset] = true
	} else {
		delete(s.elsewhere, asset)
	}
	s.adopted[asset] = !ended
}

// Names returns the journals of the folder, and the indexes that are only in the bucket:
// those that are complete, and with Config.Adopt the others. If the bucket is away, or does not
// answer any more, the others are found at the next start; see Partial.
func (s *Spool) Names() ([]string, error) {
	all, err := s.local.Names()
	if err != nil {
		return nil, err
	}
	here := map[string]bool{}
	all = slices.DeleteFunc(all, func(name string) bool {
		here[name] = true
		return name == sentName(assetOf(name))
	})
	list, away := s.listIndexes()
	if away != nil {
		s.log.Warn("the bucket cannot be asked for recordings that are not in the data folder", "error", away)
	}
	list = slices.DeleteFunc(list, func(o record.Object) bool {
		asset := assetOfIndex(o.Name)
		return asset == "" || here[asset+indexName]
	})
	f := s.findIndexes(list)
	if f.unread > 0 {
		s.log.Warn("recordings in the bucket cannot be read, and are not there until the next start", "recordings", f.unread, "error", f.err)
	}
	if f.open > 0 {
		s.log.Warn("the bucket has recordings that another server did not end; if it is gone for good, take them over with record-s3-adopt", "recordings", f.open)
	}
	s.mu.Lock()
	s.partial = away != nil || f.unread > 0
	s.mu.Unlock()
	all = append(all, f.names...)
	slices.Sort(all)
	return all, nil //nolint:nilerr // a bucket that is away keeps nothing from being started
}

// Remove takes a journal away, an index from the bucket too; see record.Journals.
func (s *Spool) Remove(name string) error {
	if !isIndex(name) {
		return s.local.Remove(name)
	}
	asset := assetOf(name)
	return s.unlimited("remove the index", name, func(ctx context.Context) error {
		return s.remove(ctx, asset, func(n string) bool { return n == name }, func() error {
			if err := s.ask(ctx, func() error { return s.remote.Delete(ctx, remoteIndex(asset)) }); err != nil {
				return err
			}
			if err := s.local.Drop(sentName(asset)); err != nil {
				return err
			}
			s.local.Tidy(asset)
			return s.local.Remove(name)
		})
	})
}
