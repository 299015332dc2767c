package record

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Segments are those of a rendition, with sequence numbers in a row. They never change, and
// are packed: a day of segments has tens of thousands, which say nearly the same. Whatever is
// asked for is unpacked at once, without what is before it.
type Segments struct {
	blocks []*block // of blockLength each
	tail   []Segment
	from   int // how many of them are left out
	to     int
}

// blockLength is how many segments are packed together.
const blockLength = 128

// SegmentsOf packs segments. Their sequence numbers are in a row.
func SegmentsOf(list []Segment) Segments {
	var s Segments
	for _, seg := range list {
		s.append(seg)
	}
	return s
}

// Len is how many there are.
func (s *Segments) Len() int { return s.to - s.from }

// At returns the segment with an index.
func (s *Segments) At(i int) Segment {
	seg := s.Unnamed(i)
	seg.Name = s.Name(i)
	return seg
}

// Unnamed returns the segment with an index, without its Name, which takes memory to make.
func (s *Segments) Unnamed(i int) (seg Segment) {
	if b, n := s.place(i); b != nil {
		b.unpack(n, &seg)
	} else {
		seg = s.tail[n]
		seg.Name = ""
	}
	return seg
}

// Name returns the name of the segment with an index.
func (s *Segments) Name(i int) string {
	b, n := s.place(i)
	if b == nil {
		return s.tail[n].Name
	}
	return b.name(n)
}

// AppendName appends the name of the segment with an index to text.
func (s *Segments) AppendName(text []byte, i int) []byte {
	b, n := s.place(i)
	if b == nil {
		return append(text, s.tail[n].Name...)
	}
	return b.appendName(text, n)
}

// place returns the block that has a segment, and its index there; in the tail if it is nil.
func (s *Segments) place(i int) (*block, int) {
	if i < 0 || i >= s.Len() {
		panic("record: there is no segment " + strconv.Itoa(i) + " of " + strconv.Itoa(s.Len()))
	}
	i += s.from
	if i/blockLength < len(s.blocks) {
		return s.blocks[i/blockLength], i % blockLength
	}
	return nil, i - len(s.blocks)*blockLength
}

// Sequence is the media sequence number of the segment with an index.
func (s *Segments) Sequence(i int) int64 {
	b, n := s.place(i)
	if b == nil {
		return s.tail[n].Sequence
	}
	return b.first + int64(n)
}

// Index is that of the segment with a media sequence number; false if there is none.
func (s *Segments) Index(sequence int64) (int, bool) {
	if s.Len() == 0 {
		return 0, false
	}
	first := s.Sequence(0)
	if sequence < first || sequence-first >= int64(s.Len()) {
		return 0, false
	}
	return int(sequence - first), true
}

// Last returns the newest one, where there are some.
func (s *Segments) Last() Segment { return s.At(s.Len() - 1) }

// last is the number of the newest segment; -1 if there is none.
func (r *Rendition) last() int64 {
	if n := r.Segments.Len(); n > 0 {
		return r.Segments.Sequence(n - 1)
	}
	return -1
}

// Slice returns those from an index up to another one, as of a slice.
func (s *Segments) Slice(from, to int) Segments {
	if from < 0 || to < from || to > s.Len() {
		panic("record: there are no segments " + strconv.Itoa(from) + " to " + strconv.Itoa(to))
	}
	return Segments{blocks: s.blocks, tail: s.tail, from: s.from + from, to: s.from + to}
}

// append adds one. Values that were copied of s before share what they have with it; to add to
// them is not possible any more.
func (s *Segments) append(seg Segment) {
	if n := s.Len(); n > 0 && seg.Sequence != s.Sequence(n-1)+1 {
		panic("record: segment " + strconv.FormatInt(seg.Sequence, 10) + " after " + strconv.FormatInt(s.Sequence(n-1), 10))
	}
	seg.Start = seg.Start.Round(0).UTC() // as it is unpacked
	s.tail = append(s.tail, seg)
	s.to++
	if len(s.tail) < blockLength {
		return
	}
	var before []naming
	if n := len(s.blocks); n > 0 {
		before = s.blocks[n-1].names
	}
	s.blocks = append(s.blocks, newBlock(s.tail, before))
	s.tail = nil
}

// set puts one in the place of the one with an index, of which copies made before still have
// what there was.
func (s *Segments) set(i int, seg Segment) {
	seg.Start = seg.Start.Round(0).UTC()
	b, n := s.place(i)
	if b == nil {
		s.tail = slices.Clone(s.tail)
		s.tail[n] = seg
		return
	}
	list := make([]Segment, blockLength)
	for k := range list {
		b.unpack(k, &list[k])
		list[k].Name = b.name(k)
	}
	list[n] = seg
	s.blocks = slices.Clone(s.blocks)
	s.blocks[(s.from+i)/blockLength] = newBlock(list, b.names)
}

// cost is about how much memory they take, in bytes.
func (s *Segments) cost() (bytes int64) {
	const segment, header = 160, 256
	bytes = int64(cap(s.tail)) * segment
	for _, b := range s.blocks {
		bytes += header + int64(cap(b.data)) + int64(len(b.plain))*segment
	}
	return bytes
}

// A block has for each field a column of what each segment differs by from what is expected of
// it, in as many bits as the one that differs the most needs; none where all are as expected.
// What is expected follows from the block's first segment and the index alone.
const (
	columnBase     = iota // as if all were of the same length; there is one more, of the end
	columnTicks           // up to where the next one begins
	columnOffset          // 0
	columnStart           // as far from that of the first as the media is
	columnDuration        // that of the ticks
	columnSize            // 0
	columnKeySize         // 0
	columnKind            // 0; it is flags, and the index of the initialization section above them
	columnName            // 0; an index in block.names
	columns
)

// column says where the numbers of one lie.
type column struct {
	least int64
	at    uint32 // in bits
	width uint8  // of each, in bits
}

// maxWidth is how many bits can be read at once from where a byte begins or within it.
const maxWidth = 57

// block is blockLength segments.
type block struct {
	first int64 // sequence number
	base  int64 // BaseTime of the first
	step  int64 // ticks of each, on average
	start int64 // of the first, in nanoseconds of Unix time
	rate  int64 // ticks in a second; 0 if that is not known
	cols  [columns]column
	data  []byte // with 8 bytes more than there are in it
	names []naming
	plain []Segment // them all, where something is out of all bounds, and there are no columns
}

// naming is how segments are called, and where they lie.
type naming struct {
	head, tail string
	numbered   bool // the sequence number is between the two
	asset      string
}

// namingOf finds the number in a segment's name, as pack makes it.
func namingOf(seg *Segment) naming {
	digits := "." + strconv.FormatInt(seg.Sequence, 10) + "."
	if i := strings.LastIndex(seg.Name, digits); i >= 0 {
		return naming{seg.Name[:i+1], seg.Name[i+len(digits)-1:], true, seg.Asset}
	}
	return naming{head: seg.Name, asset: seg.Asset}
}

// newBlock packs blockLength segments. names are those of another block, which are
// shared if they are the same.
func newBlock(list []Segment, names []naming) *block {
	b := &block{first: list[0].Sequence, base: list[0].BaseTime, start: list[0].Start.UnixNano()}
	last := &list[len(list)-1]
	end := last.BaseTime + last.Ticks
	b.step = (end - b.base) / int64(len(list))
	b.rate = rateOf(list)
	var values [columns][]int64
	for i := range values {
		values[i] = make([]int64, 0, len(list)+1)
	}
	for i := range list {
		seg := &list[i]
		next := end
		if i+1 < len(list) {
			next = list[i+1].BaseTime
		}
		if !time.Unix(0, seg.Start.UnixNano()).Equal(seg.Start) {
			return &block{first: b.first, plain: list}
		}
		name := slices.Index(b.names, namingOf(seg))
		if name < 0 {
			name = len(b.names)
			b.names = append(b.names, namingOf(seg))
		}
		for c, v := range [columns]int64{
			columnBase:     seg.BaseTime - b.base - int64(i)*b.step,
			columnTicks:    seg.Ticks - (next - seg.BaseTime),
			columnOffset:   seg.Offset,
			columnStart:    seg.Start.UnixNano() - b.start - b.nanoseconds(seg.BaseTime-b.base+seg.Offset),
			columnDuration: int64(seg.Duration) - b.nanoseconds(seg.Ticks),
			columnSize:     seg.Size,
			columnKeySize:  seg.KeySize,
			columnKind:     int64(seg.Init)<<flagBits | int64(flags(seg.Discontinuity, seg.Independent, seg.Gap)),
			columnName:     int64(name),
		} {
			values[c] = append(values[c], v)
		}
	}
	values[columnBase] = append(values[columnBase], end-b.base-int64(len(list))*b.step)
	if !b.fill(&values) {
		return &block{first: b.first, plain: list}
	}
	if slices.Equal(names, b.names) {
		b.names = names
		return b
	}
	for i := range b.names {
		n := &b.names[i]
		n.head, n.tail = strings.Clone(n.head), strings.Clone(n.tail) // else they keep all of a name
	}
	return b
}

// rateOf returns how many ticks a second has; 0 if that cannot be told.
func rateOf(list []Segment) int64 {
	for i := range list {
		ticks, d := list[i].Ticks, int64(list[i].Duration)
		const most = 1 << 33 // so that nothing overflows
		if ticks > 0 && ticks < most && d > 0 {
			return (ticks*int64(time.Second) + d/2) / d
		}
	}
	return 0
}

// nanoseconds is how long ticks last.
func (b *block) nanoseconds(ticks int64) int64 {
	if b.rate <= 0 {
		return 0
	}
	return ticks * int64(time.Second) / b.rate
}

// fill writes the columns; false if there is one that is too wide.
func (b *block) fill(values *[columns][]int64) bool {
	at := 0
	for c, list := range values {
		least := slices.Min(list)
		width := 0
		for _, v := range list {
			width = max(width, bits.Len64(uint64(v-least)))
		}
		if width > maxWidth {
			return false
		}
		b.cols[c] = column{least, uint32(at), uint8(width)}
		at += width * len(list)
	}
	b.data = make([]byte, (at+7)/8+8)
	for c, list := range values {
		at, width := int(b.cols[c].at), int(b.cols[c].width)
		for i, v := range list {
			bit := at + i*width
			word := b.data[bit/8:]
			binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)|uint64(v-b.cols[c].least)<<(bit%8))
		}
	}
	return true
}

// value reads a number of a column.
func (b *block) value(c, i int) int64 {
	col := &b.cols[c]
	if col.width == 0 {
		return col.least
	}
	bit := int(col.at) + i*int(col.width)
	word := binary.LittleEndian.Uint64(b.data[bit/8:]) >> (bit % 8)
	return col.least + int64(word&(1<<col.width-1))
}

// unpack makes a segment, but for its name.
func (b *block) unpack(i int, seg *Segment) {
	if b.plain != nil {
		*seg = b.plain[i]
		seg.Name = ""
		return
	}
	base := b.base + int64(i)*b.step + b.value(columnBase, i)
	next := b.base + int64(i+1)*b.step + b.value(columnBase, i+1)
	seg.Sequence = b.first + int64(i)
	seg.BaseTime = base
	seg.Ticks = next - base + b.value(columnTicks, i)
	seg.Offset = b.value(columnOffset, i)
	seg.Start = time.Unix(0, b.start+b.nanoseconds(base-b.base+seg.Offset)+b.value(columnStart, i)).UTC()
	seg.Duration = time.Duration(b.nanoseconds(seg.Ticks) + b.value(columnDuration, i))
	seg.Size = b.value(columnSize, i)
	seg.KeySize = b.value(columnKeySize, i)
	kind := b.value(columnKind, i)
	seg.Init = int32(kind >> flagBits)
	seg.Discontinuity, seg.Independent, seg.Gap = kind&flagDiscontinuity != 0, kind&flagIndependent != 0, kind&flagGap != 0
	seg.Asset = b.names[b.value(columnName, i)].asset
}

// name makes the name of a segment.
func (b *block) name(i int) string {
	if b.plain != nil {
		return b.plain[i].Name
	}
	if n := &b.names[b.value(columnName, i)]; !n.numbered {
		return n.head
	}
	var room [96]byte
	return string(b.appendName(room[:0], i))
}

func (b *block) appendName(text []byte, i int) []byte {
	if b.plain != nil {
		return append(text, b.plain[i].Name...)
	}
	n := &b.names[b.value(columnName, i)]
	text = append(text, n.head...)
	if n.numbered {
		text = append(strconv.AppendInt(text, b.first+int64(i), 10), n.tail...)
	}
	return text
}
