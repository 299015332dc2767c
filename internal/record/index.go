package record

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"time"

	"onair/internal/media"
)

// The index of an asset is a journal of records: each an entry in JSON, or of a segment as
// appendSegment writes it, and bytes that belong to it. It is appended to only. A record that is not whole at the end is what a crash left
// half written; one in the middle is damage, and what follows it is still read.

// indexFormat is the version of all this; another one is not read.
const indexFormat = 2

// entry is what a record says: one of its fields is set, beside R.
type entry struct {
	Head    *headEntry    `json:"head,omitempty"`
	Track   *trackEntry   `json:"track,omitempty"`
	Init    *initEntry    `json:"init,omitempty"`
	Segment *segmentEntry `json:"-"` // see appendSegment
	End     *endEntry     `json:"end,omitempty"`
	Lost    *lostEntry    `json:"lost,omitempty"`
	// Repaired is what of the index before it was seen to that cannot be read.
	Repaired *repairedEntry `json:"repaired,omitempty"`
	// Part and Turn are in the journal of parts only; see openLog.
	Part *partEntry `json:"part,omitempty"`
	Turn *turnEntry `json:"turn,omitempty"`
	// Early and Packet are in the early journal of a broadcast only; see earlyLog.
	Early  *earlyEntry  `json:"early,omitempty"`
	Packet *packetEntry `json:"packet,omitempty"`
	// R is the name of the rendition that Track, Init, Segment and Lost are about.
	R string `json:"r,omitempty"`
}

// headEntry is the first one.
type headEntry struct {
	Format int       `json:"format"`
	Asset  string    `json:"asset"`
	Stream string    `json:"stream"`
	Target int       `json:"target"`
	Origin time.Time `json:"origin"`
	// Clip is how many segments a clip has: its index is written at once.
	Clip int `json:"clip,omitempty"`
}

// trackEntry begins a rendition.
type trackEntry struct {
	Kind media.Kind `json:"kind"`
}

// initEntry is an initialization section, which is the record's data.
type initEntry struct {
	Name  string       `json:"name"`
	Track *media.Track `json:"track"`
}

// segmentEntry is a segment, with its sample table in the record's data. A partEntry has it in
// JSON.
type segmentEntry struct {
	Sequence      int64         `json:"n"`
	Name          string        `json:"name"`
	Init          string        `json:"init,omitempty"`
	Start         time.Time     `json:"at"`
	Duration      time.Duration `json:"long"`
	Base          int64         `json:"base"`
	Ticks         int64         `json:"ticks"`
	Offset        int64         `json:"offset,omitempty"`
	Size          int64         `json:"size,omitempty"`
	KeySize       int64         `json:"key,omitempty"`
	Discontinuity bool          `json:"disc,omitempty"`
	Independent   bool          `json:"indep,omitempty"`
	Gap           bool          `json:"gap,omitempty"`
	Asset         string        `json:"asset,omitempty"`
}

// lostEntry says of a segment that it is a gap now: its object is missing, or damaged.
type lostEntry struct {
	Sequence int64 `json:"n"`
}

// repairedEntry is how much of the index before it is of no use.
type repairedEntry struct {
	Bytes   int64 `json:"bytes"`
	Entries int   `json:"entries"`
}

// endEntry is the last one.
type endEntry struct {
	State State     `json:"state"`
	Error string    `json:"error,omitempty"`
	At    time.Time `json:"at"`
	// Of are the assets that a clip has segments of.
	Of []string `json:"of,omitempty"`
}

// deleted is the State of an endEntry after which the objects are removed.
const deleted State = "deleted"

// A record is: the mark, the lengths of its two pieces, their checksum (that of the lengths
// too), and the pieces.
const (
	recordMark = "\xf1rec"
	recordHead = 16
	maxMeta    = 64 << 10
	maxData    = 8 << 20
	// maxErrorText bounds what an endEntry says, and tailSize is what surely holds one.
	maxErrorText = 1 << 10
	tailSize     = 8 << 10
	// maxMarks bounds how many places of a damaged journal are tried as the next record's.
	maxMarks = 1024
)

// appendEntry appends a record to b.
func appendEntry(b []byte, e *entry, data []byte) []byte { return appendSeeded(b, 0, e, data) }

// appendSeeded appends a record whose checksum begins with a seed.
func appendSeeded(b []byte, seed uint32, e *entry, data []byte) []byte {
	var meta []byte
	if e.Segment != nil {
		meta = marshalSegment(e.R, e.Segment)
	} else {
		var err error
		if meta, err = json.Marshal(e); err != nil {
			panic(err) // of plain values: cannot happen
		}
	}
	at := len(b)
	b = append(b, recordMark...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(meta)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	sum := crc32.Update(seed, crc32.IEEETable, b[at+4:at+12])
	sum = crc32.Update(crc32.Update(sum, crc32.IEEETable, meta), crc32.IEEETable, data)
	b = binary.LittleEndian.AppendUint32(b, sum)
	return append(append(b, meta...), data...)
}

var errBroken = errors.New("no whole record")

// entryReader understands records.
type entryReader struct {
	seed    uint32 // with which checksums begin
	entry   entry
	segment segmentEntry
	names   names
}

// recordSize is how long the record is that begins so; false if none does, or none that is
// within as many bytes as are left.
func recordSize(head []byte, left int64) (n int64, ok bool) {
	if len(head) < recordHead || string(head[:4]) != recordMark {
		return 0, false
	}
	meta, data := int64(binary.LittleEndian.Uint32(head[4:])), int64(binary.LittleEndian.Uint32(head[8:]))
	n = recordHead + meta + data
	return n, meta <= maxMeta && data <= maxData && n <= left
}

// parse understands a record of its recordSize; false if it is damaged. The entry is valid
// until the next one is parsed, and data is a part of b.
func (p *entryReader) parse(b []byte) (e *entry, data []byte, ok bool) {
	meta, data := b[recordHead:][:binary.LittleEndian.Uint32(b[4:])], b[recordHead+binary.LittleEndian.Uint32(b[4:]):]
	if crc32.Update(crc32.Update(p.seed, crc32.IEEETable, b[4:12]), crc32.IEEETable, b[recordHead:]) != binary.LittleEndian.Uint32(b[12:]) {
		return nil, nil, false
	}
	p.entry = entry{}
	if len(meta) > 0 && meta[0] == segmentMeta {
		r, ok := p.segment.parse(meta, &p.names)
		p.entry.R, p.entry.Segment = r, &p.segment
		return &p.entry, data, ok
	}
	return &p.entry, data, json.Unmarshal(meta, &p.entry) == nil
}

// read reads the record that r is at, and returns its length. errBroken if there is none.
// The entry, and the data of a segment's, are valid until the next one is read.
func (p *entryReader) read(r *bufio.Reader, left int64) (e *entry, data []byte, n int64, err error) {
	head, err := r.Peek(int(min(recordHead, left)))
	if err != nil {
		return nil, nil, 0, err
	}
	n, ok := recordSize(head, left)
	if !ok {
		return nil, nil, 0, errBroken
	}
	var whole []byte
	if n <= int64(r.Size()) {
		if whole, err = r.Peek(int(n)); err == nil {
			_, err = r.Discard(int(n))
		}
	} else {
		whole = make([]byte, n)
		_, err = io.ReadFull(r, whole)
	}
	if err != nil {
		return nil, nil, 0, err
	}
	if e, data, ok = p.parse(whole); !ok {
		return nil, nil, 0, errBroken
	}
	if e.Segment == nil {
		data = bytes.Clone(data)
	}
	return e, data, n, nil
}

// indexBuffer is how much of a journal is read at once.
const indexBuffer = 256 << 10

// readIndex gives visit the records of a journal in order; an entry, and the data of a
// segment's, are visit's until it returns. good is where the last whole one ends, and lost how
// many bytes before that are of no use. The error is the reader's, or visit's.
func readIndex(r io.ReaderAt, size int64, visit func(e *entry, data []byte) error) (good, lost int64, err error) {
	at, marks := int64(0), 0
	buf := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), int(min(size, indexBuffer)))
	var p entryReader
	for at < size {
		e, data, n, err := p.read(buf, size-at)
		if err == nil {
			at += n
			lost += at - n - good
			good = at
			if err := visit(e, data); err != nil {
				return good, lost, err
			}
			continue
		}
		if !errors.Is(err, errBroken) {
			return good, lost, err
		}
		if marks++; marks > maxMarks {
			return good, lost, nil
		}
		next, err := nextMark(r, at+1, size)
		if err != nil || next < 0 {
			return good, lost, err
		}
		at = next
		buf.Reset(io.NewSectionReader(r, at, size-at))
	}
	return good, lost, nil
}

// nextMark finds the next place from at on that may be a record's; -1 if there is none.
func nextMark(r io.ReaderAt, at, size int64) (int64, error) {
	var buf [32 << 10]byte
	for at < size {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return -1, err
		}
		if i := bytes.Index(buf[:n], []byte(recordMark)); i >= 0 {
			return at + int64(i), nil
		}
		if n < len(recordMark) {
			return -1, nil
		}
		at += int64(n - len(recordMark) + 1)
	}
	return -1, nil
}

// readEnd returns the endEntry that a journal ends with; nil if it does not.
func readEnd(r io.ReaderAt, size int64) (*endEntry, error) {
	from := max(0, size-tailSize)
	buf := make([]byte, size-from)
	if _, err := r.ReadAt(buf, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for i := bytes.LastIndex(buf, []byte(recordMark)); i >= 0; i = bytes.LastIndex(buf[:i], []byte(recordMark)) {
		if n, ok := recordSize(buf[i:], int64(len(buf)-i)); !ok || n != int64(len(buf)-i) {
			continue
		}
		var p entryReader
		if e, _, ok := p.parse(buf[i:]); ok {
			return e.End, nil
		}
	}
	return nil, nil
}
