package fmp4

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
)

// Bounds on what a Reader accepts and holds.
const (
	// maxTracks is the number of tracks of video and sound in one file.
	maxTracks = 32
	// maxHeader is the size of a moov or moof box in bytes.
	maxHeader = 2 << 20
	// maxSamples is the number of samples in one moof.
	maxSamples = 1 << 16
	// maxData is the size of an mdat box in bytes.
	maxData = 64 << 20
	// dataStep is how much memory is asked for in advance of the data.
	dataStep = 1 << 20
)

// Reader is a media.Source over a fragmented MP4 that arrives on an io.Reader, such as
// ffmpeg writes it with
//
//	-f mp4 -movflags frag_keyframe+empty_moov+default_base_moof
//
// (or frag_every_frame). Its packets have the shape that media.Codec documents, in the
// timescales of the file's tracks; the ID of a track is the file's. Their Arrival is when
// the fragment had been read. Inside a fragment the tracks are interleaved by DTS. Where
// a key is, the payload tells, not the file.
//
// A Reader is not safe for concurrent use. It holds one fragment at a time, of at most
// 64 MiB.
type Reader struct {
	r       *bufio.Reader
	pos     int64 // in the file
	tracks  map[uint32]*readerTrack
	order   []*media.Track
	pending []run // announced by a moof, with no mdat yet
	queue   []*media.Packet
	err     error
	head    [16]byte // of the box being read
}

// NewReader returns a Reader over r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10)}
}

// Tracks returns the tracks of video and sound, each in its newest version, in the order
// of the file. It is empty before the first call of ReadPacket has returned.
func (r *Reader) Tracks() []*media.Track { return append([]*media.Track(nil), r.order...) }

// ReadPacket returns the next packet, and io.EOF when the file ends behind a whole
// fragment. A file that breaks off or is malformed yields a fault.Invalid (with
// io.ErrUnexpectedEOF in its chain in the first case), an unknown codec
// fault.Unsupported, a box over a bound fault.TooLarge; a failure of the underlying
// reader is returned as it is. Every error is final.
//
// ctx is looked at between boxes only, for a read cannot be interrupted from here: who
// must not wait closes the underlying reader.
func (r *Reader) ReadPacket(ctx context.Context) (*media.Packet, error) {
	for len(r.queue) == 0 {
		if r.err != nil {
			return nil, r.err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.err = r.readBox()
	}
	p := r.queue[0]
	r.queue[0] = nil
	r.queue = r.queue[1:]
	return p, nil
}

// readBox takes the next box at the top level.
func (r *Reader) readBox() error {
	start := r.pos
	head := r.head[:]
	if err := r.fill(head[:8]); err != nil {
		if !errors.Is(err, io.EOF) {
			return err
		}
		if r.order == nil {
			return broken(fmt.Errorf("it ends before its header: %w", io.ErrUnexpectedEOF))
		}
		return io.EOF
	}
	size := int64(binary.BigEndian.Uint32(head))
	kind := head[4:8]
	if size == 1 {
		// The type is still needed: the large size goes behind it.
		if err := r.fill(head[8:]); err != nil {
			return cut(err)
		}
		size = int64(min(binary.BigEndian.Uint64(head[8:]), maxTime))
	}
	size -= r.pos - start
	if size < 0 {
		return broken(fmt.Errorf("the size of a box is less than its head"))
	}
	switch string(kind) {
	case "moov":
		return r.header(size)
	case "moof":
		if r.order == nil {
			return broken(fmt.Errorf("a fragment comes before the header"))
		}
		body, err := r.body("moof", size, maxHeader)
		if err != nil {
			return err
		}
		r.pending, err = parseMoof(body, start, r.tracks)
		return err
	case "mdat":
		if r.pending == nil {
			if r.order != nil && size == 0 { // an empty one stands for nothing
				return nil
			}
			return fault.New(fault.Unsupported, "read MP4", "", "it is not fragmented",
				"Write it with -movflags frag_keyframe+empty_moov+default_base_moof.")
		}
		start := r.pos
		body, err := r.body("mdat", size, maxData)
		if err != nil {
			return err
		}
		runs := r.pending
		r.pending = nil
		r.queue, err = r.packets(runs, body, start, time.Now())
		return err
	default:
		return r.skip(size)
	}
}

// header takes a moov. A later one replaces the tracks; those whose parameters changed
// get a new version.
func (r *Reader) header(size int64) error {
	body, err := r.body("moov", size, maxHeader)
	if err != nil {
		return err
	}
	tracks, order, err := parseMoov(body)
	if err != nil {
		return err
	}
	for i, t := range order {
		old := r.tracks[uint32(t.ID)]
		if old == nil {
			continue
		}
		if v := old.track; v.Codec == t.Codec && v.Timescale == t.Timescale && bytes.Equal(v.Config, t.Config) {
			tracks[uint32(t.ID)].track, order[i] = v, v
		} else {
			t.Version = v.Version + 1
		}
	}
	r.tracks, r.order, r.pending = tracks, order, nil
	return nil
}

func (r *Reader) replace(old, with *media.Track) {
	for i, t := range r.order {
		if t == old {
			r.order[i] = with
		}
	}
}

// body reads the rest of a box. It asks for memory as the data comes, so that a size
// alone costs nothing.
func (r *Reader) body(kind string, size, limit int64) ([]byte, error) {
	if size > limit {
		return nil, fault.New(fault.TooLarge, "read MP4", "", fmt.Sprintf("a %s box of %d bytes is over %d", kind, size, limit), "")
	}
	var b []byte
	for int64(len(b)) < size {
		n := min(size-int64(len(b)), max(dataStep, int64(len(b))))
		grown := make([]byte, int64(len(b))+n)
		copy(grown, b)
		if err := r.fill(grown[len(b):]); err != nil {
			return nil, cut(err)
		}
		b = grown
	}
	return b, nil
}

func (r *Reader) skip(size int64) error {
	for size > 0 {
		n, err := r.r.Discard(int(min(size, dataStep)))
		r.pos += int64(n)
		size -= int64(n)
		if err != nil {
			return cut(err)
		}
	}
	return nil
}

// fill reads all of b; io.EOF only if there is nothing at all.
func (r *Reader) fill(b []byte) error {
	n, err := io.ReadFull(r.r, b)
	r.pos += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return cut(err)
	}
	return err
}

// cut tells an end in the middle of a box from a failure.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return broken(fmt.Errorf("it breaks off: %w", io.ErrUnexpectedEOF))
	}
	return err
}
