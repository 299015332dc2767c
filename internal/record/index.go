package record

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"strconv"
	"time"

	"onair/internal/media"
)

// The index of an asset is a journal of records: each an entry in JSON, and bytes that belong
// to it. It is appended to only. A record that is not whole at the end is what a crash left
// half written; one in the middle is damage, and what follows it is still read.

// indexFormat is the version of all this; another one is not read.
const indexFormat = 1

// entry is what a record says: one of its fields is set, beside R.
type entry struct {
	Head    *headEntry    `json:"head,omitempty"`
	Track   *trackEntry   `json:"track,omitempty"`
	Init    *initEntry    `json:"init,omitempty"`
	Segment *segmentEntry `json:"seg,omitempty"`
	End     *endEntry     `json:"end,omitempty"`
	Lost    *lostEntry    `json:"lost,omitempty"`
	// Repaired is what of the index before it was seen to that cannot be read.
	Repaired *repairedEntry `json:"repaired,omitempty"`
	// Part is in the journal of parts only; see openLog.
	Part *partEntry `json:"part,omitempty"`
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

// segmentEntry is a segment, with its sample table in the record's data.
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
func appendEntry(b []byte, e *entry, data []byte) []byte {
	meta, err := json.Marshal(e)
	if err != nil {
		panic(err) // of plain values: cannot happen
	}
	at := len(b)
	b = append(b, recordMark...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(meta)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	sum := crc32.ChecksumIEEE(b[at+4 : at+12])
	sum = crc32.Update(crc32.Update(sum, crc32.IEEETable, meta), crc32.IEEETable, data)
	b = binary.LittleEndian.AppendUint32(b, sum)
	return append(append(b, meta...), data...)
}

var errBroken = errors.New("no whole record")

// readEntry reads the record that r is at, and returns its length. errBroken if there is none.
func readEntry(r io.Reader, left int64) (e entry, data []byte, n int64, err error) {
	return readEntryWith(r, left, "")
}

// readEntryWith is readEntry, and for a rendition that of its tables: of other entries than of
// its segments nothing is returned, and of those their numbers. To understand the JSON of all
// takes ten times as long as to read it.
func readEntryWith(r io.Reader, left int64, rendition string) (e entry, data []byte, n int64, err error) {
	var head [recordHead]byte
	if left < recordHead {
		return e, nil, 0, errBroken
	}
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return e, nil, 0, err
	}
	meta, size := int64(binary.LittleEndian.Uint32(head[4:])), int64(binary.LittleEndian.Uint32(head[8:]))
	n = recordHead + meta + size
	if string(head[:4]) != recordMark || meta > maxMeta || size > maxData || n > left {
		return e, nil, 0, errBroken
	}
	body := make([]byte, meta+size)
	if _, err := io.ReadFull(r, body); err != nil {
		return e, nil, 0, err
	}
	sum := crc32.Update(crc32.ChecksumIEEE(head[4:12]), crc32.IEEETable, body)
	if sum != binary.LittleEndian.Uint32(head[12:]) {
		return e, nil, 0, errBroken
	}
	if rendition != "" {
		var ok bool
		if e, ok = numberOf(body[:meta], rendition); ok {
			return e, body[meta:], n, nil
		}
	}
	if json.Unmarshal(body[:meta], &e) != nil {
		return e, nil, 0, errBroken
	}
	return e, body[meta:], n, nil
}

// numberOf reads of the JSON of a segment's entry, as appendEntry writes it, the number, and
// nothing if the segment is another rendition's. It reports false for what is no such entry.
func numberOf(meta []byte, rendition string) (e entry, ok bool) {
	rest, ok := bytes.CutPrefix(meta, []byte(`{"seg":{"n":`))
	if !ok || bytes.Contains(rest, []byte(`"gap":`)) {
		return e, false
	}
	if r, ok := bytes.CutSuffix(rest, []byte(`"}`)); !ok || !bytes.HasSuffix(r, []byte(`},"r":"`+rendition)) {
		return e, ok
	}
	end := bytes.IndexByte(rest, ',')
	if end < 0 {
		return e, false
	}
	n, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	if err != nil {
		return e, false
	}
	return entry{R: rendition, Segment: &segmentEntry{Sequence: n}}, true
}

// readIndex gives visit the records of a journal in order. good is where the last whole one
// ends, and lost how many bytes before that are of no use. The error is the reader's, or
// visit's.
func readIndex(r io.ReaderAt, size int64, visit func(e *entry, data []byte) error) (good, lost int64, err error) {
	return readIndexWith(r, size, "", visit)
}

// readTables is readIndex for the tables of a rendition: of other entries than of its segments
// visit may get nothing, and of those their numbers only.
func readTables(r io.ReaderAt, size int64, rendition string, visit func(e *entry, data []byte) error) (good, lost int64, err error) {
	return readIndexWith(r, size, rendition, visit)
}

func readIndexWith(r io.ReaderAt, size int64, rendition string, visit func(e *entry, data []byte) error) (good, lost int64, err error) {
	at, marks := int64(0), 0
	buf := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10)
	for at < size {
		e, data, n, err := readEntryWith(buf, size-at, rendition)
		if err == nil {
			at += n
			lost += at - n - good
			good = at
			if err := visit(&e, data); err != nil {
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
		e, _, n, err := readEntry(bytes.NewReader(buf[i:]), int64(len(buf)-i))
		if err == nil && n == int64(len(buf)-i) {
			return e.End, nil
		}
	}
	return nil, nil
}
