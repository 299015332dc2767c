package pack

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
)

// batch is what goes to disk before a snapshot is shown.
type batch struct {
	records       []record
	begins, fresh bool  // a new file; and the end of all others
	last          int64 // newest sequence number that it is about
	oldest        int64 // what is older can go
	rendition     *Rendition
	snap          *Snapshot
}

// recordQueue is how many batches of a stream wait for the disk. Twenty renditions' parts
// of a second are fewer.
const recordQueue = 64

// disk is what the recorders of all streams share.
type disk struct {
	dir   string
	limit int64
	used  atomic.Int64
	m     *metrics
	log   *slog.Logger
}

// folder is where a stream's journal is. The name of a stream may be anything.
func (d *disk) folder(stream string) string {
	return filepath.Join(d.dir, "s."+url.PathEscape(stream))
}

// recorder writes the journal of one stream, in a goroutine of its own: neither packaging
// nor viewers wait when the disk does.
type recorder struct {
	disk   *disk
	folder string
	queue  chan batch
	done   chan struct{}
	failed atomic.Bool // something was not written

	files  []journalFile
	number int
	open   *os.File
	buf    []byte
	told   bool
}

// journalFile is a file and the newest sequence number in it.
type journalFile struct {
	name string
	last int64
	size int64
}

func (d *disk) recorder(stream string, files []journalFile, number int) *recorder {
	return &recorder{
		disk: d, folder: d.folder(stream), files: files, number: number,
		queue: make(chan batch, recordQueue), done: make(chan struct{}),
	}
}

// offer queues a batch. It reports false if the queue is full.
func (r *recorder) offer(b batch) bool {
	select {
	case r.queue <- b:
		return true
	default:
		r.disk.m.skipped.WithLabelValues("queue").Inc()
		return false
	}
}

// run writes until the queue is closed, and then removes what was written: a stream that
// ended has no need of it.
func (r *recorder) run() {
	defer close(r.done)
	for b := range r.queue {
		if err := r.write(&b); err != nil {
			r.clear()
			r.failed.Store(true)
			if !r.told {
				r.told = true
				r.disk.log.Error("the last window is not kept on disk: viewers will not outlive a restart of the server", "error", err)
			}
		}
		b.rendition.publish(b.snap)
	}
	r.clear()
}

// stop ends run and waits for it.
func (r *recorder) stop() {
	close(r.queue)
	<-r.done
}

func (r *recorder) write(b *batch) error {
	if b.fresh {
		r.clear()
	}
	if b.begins {
		if err := r.begin(); err != nil {
			r.disk.m.skipped.WithLabelValues("error").Inc()
			return err
		}
	}
	if r.open == nil {
		return nil // until the journal begins anew
	}
	r.buf = r.buf[:0]
	for _, rec := range b.records {
		r.buf = appendRecord(r.buf, rec)
	}
	n := int64(len(r.buf))
	if r.disk.used.Load()+n > r.disk.limit {
		r.disk.m.skipped.WithLabelValues("full").Inc()
		return fmt.Errorf("the windows on disk have reached pack-max-disk-bytes")
	}
	written, err := r.open.Write(r.buf)
	f := &r.files[len(r.files)-1]
	f.size += int64(written)
	f.last = max(f.last, b.last)
	r.grow(int64(written))
	if err != nil {
		r.disk.m.skipped.WithLabelValues("error").Inc()
		return err
	}
	for len(r.files) > 1 && r.files[0].last < b.oldest {
		r.remove(0)
	}
	return nil
}

// begin opens the next file.
func (r *recorder) begin() error {
	r.shut()
	if err := os.MkdirAll(r.folder, 0o700); err != nil {
		return err
	}
	r.number++
	name := filepath.Join(r.folder, fmt.Sprintf("%010d.log", r.number))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	r.open = f
	r.files = append(r.files, journalFile{name: name})
	return nil
}

func (r *recorder) shut() {
	if r.open != nil {
		_ = r.open.Close() // its bytes are the kernel's since Write
		r.open = nil
	}
}

// remove takes a file away.
func (r *recorder) remove(i int) {
	_ = os.Remove(r.files[i].name) // gone already, or gone with the folder later
	r.grow(-r.files[i].size)
	r.files = append(r.files[:i], r.files[i+1:]...)
}

// clear takes all of the stream's files away.
func (r *recorder) clear() {
	r.shut()
	for _, f := range r.files {
		r.grow(-f.size)
	}
	r.files = nil
	_ = os.RemoveAll(r.folder) // what stays is removed at the next start
}

func (r *recorder) grow(n int64) {
	r.disk.used.Add(n)
	r.disk.m.diskBytes.Add(float64(n))
}

// A record on disk is the lengths of its two pieces, their checksum, and the pieces.
const recordHead = 12

func appendRecord(b []byte, rec record) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(rec.meta)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(rec.data)))
	sum := crc32.Update(crc32.ChecksumIEEE(rec.meta), crc32.IEEETable, rec.data)
	b = binary.LittleEndian.AppendUint32(b, sum)
	b = append(b, rec.meta...)
	return append(b, rec.data...)
}

// maxMeta bounds a record's description, and maxPartBytes its media twice over: what holds
// more was not written by appendRecord.
const maxMeta = 1 << 20

// cutRecord takes the first record off b. It reports false where there is no whole one: at
// the end, or where a server that was killed stopped writing.
func cutRecord(b []byte) (rec record, rest []byte, ok bool) {
	if len(b) < recordHead {
		return rec, b, false
	}
	meta, data := int(binary.LittleEndian.Uint32(b)), int(binary.LittleEndian.Uint32(b[4:]))
	if meta > maxMeta || data > 4*maxPartBytes || len(b)-recordHead < meta+data {
		return rec, b, false
	}
	sum := binary.LittleEndian.Uint32(b[8:])
	rest = b[recordHead:]
	rec = record{rest[:meta:meta], rest[meta : meta+data : meta+data]}
	if crc32.ChecksumIEEE(rest[:meta+data]) != sum {
		return rec, b, false
	}
	return rec, rest[meta+data:], true
}
