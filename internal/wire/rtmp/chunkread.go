package rtmp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"onair/internal/fault"
)

const (
	// maxChunkSize is the largest chunk size that a peer may set: a chunk can be no
	// longer than a message, whose length has 24 bits.
	maxChunkSize = 1 << 24
	// minChunkSize is the smallest one before authorisation. Chunks of a few bytes
	// cost a header each, so that a stranger could buy much work with few bytes.
	minChunkSize = 128
	// maxChunkStreams bounds the chunk streams of a connection.
	maxChunkStreams = 64
	// maxMediaMessage bounds audio, video and aggregate messages, maxOtherMessage all
	// others, and every message before authorisation.
	maxMediaMessage = 10 << 20
	maxOtherMessage = 64 << 10
	// maxPartial bounds the memory of the messages that have begun and not ended.
	maxPartial = 16 << 20
	// firstAlloc is the memory that a message gets when it begins; more comes as bytes
	// do, so that a declared length alone costs nothing.
	firstAlloc = 2 << 10
	// maxImpliedDelta is the largest absolute timestamp that a type 3 chunk may take
	// for a delta, see chunkStream.implied.
	maxImpliedDelta = 1000

	extended24 = 0xffffff
)

// chunkReader reads messages from chunks (5.3). It is not safe for concurrent use.
type chunkReader struct {
	r       *bufio.Reader
	size    uint32
	streams map[uint32]*chunkStream
	// partial is the memory of all partial messages.
	partial int
	// trusted is set after authorisation: larger messages and any chunk size.
	trusted bool
	last    *chunkStream
}

// chunkStream is what the reader remembers of one chunk stream.
type chunkStream struct {
	id        uint32
	known     bool // a header was seen
	typ       uint8
	length    uint32
	streamID  uint32
	timestamp uint32
	delta     uint32
	// implied is set while no delta was told since the last type 0 header. By the
	// letter a type 3 chunk then repeats the absolute timestamp as the delta (5.3.1.2.4),
	// which librtmp and ffmpeg do; others mean "no delta". Both agree for 0, and a small
	// value can only be meant by the letter: the first message at 23 ms, the next 23 ms
	// later.
	implied bool
	// wire is the value of the extended timestamp field, if the last header had one.
	wire    uint32
	hasWire bool
	// body is the message that is being read; begun tells that there is one.
	body  []byte
	begun bool
}

func newChunkReader(r *bufio.Reader) *chunkReader {
	return &chunkReader{r: r, size: defaultChunkSize, streams: make(map[uint32]*chunkStream)}
}

// setChunkSize takes the value of a Set Chunk Size message (5.4.1).
func (c *chunkReader) setChunkSize(v uint32) error {
	if v == 0 || v > maxChunkSize {
		return protocol(fault.Invalid, fmt.Sprintf("chunk size %d is not between 1 and %d", v, maxChunkSize))
	}
	if v < minChunkSize && !c.trusted {
		return protocol(fault.Invalid, fmt.Sprintf("chunk size %d is less than %d", v, minChunkSize))
	}
	c.size = v
	return nil
}

// abort drops the partial message of a chunk stream (5.4.2).
func (c *chunkReader) abort(csid uint32) {
	if s := c.streams[csid]; s != nil && s.begun {
		c.release(s)
	}
}

// release ends the partial message of s and returns its bytes.
func (c *chunkReader) release(s *chunkStream) []byte {
	b := s.body
	c.partial -= cap(b)
	s.body, s.begun = nil, false
	return b
}

// read returns the next whole message. io.EOF tells that the peer ended between two
// chunks; any other error that it broke off or broke a rule.
func (c *chunkReader) read() (message, error) {
	for {
		s, err := c.header()
		if err != nil {
			return message{}, err
		}
		if err := c.payload(s); err != nil {
			return message{}, noEOF(err)
		}
		if len(s.body) == int(s.length) {
			return message{csid: s.id, typ: s.typ, streamID: s.streamID, timestamp: s.timestamp, body: c.release(s)}, nil
		}
	}
}

// header reads the headers of a chunk and brings its stream up to date.
func (c *chunkReader) header() (*chunkStream, error) {
	b, err := c.r.ReadByte()
	if err != nil {
		return nil, err
	}
	format, id := b>>6, uint32(b&0x3f)
	if id < 2 {
		ext := make([]byte, 0, 2)
		for range id + 1 {
			if b, err = c.r.ReadByte(); err != nil {
				return nil, noEOF(err)
			}
			ext = append(ext, b)
		}
		low := uint32(ext[0]) + 64
		if id == 1 {
			low += uint32(ext[1]) << 8
		}
		id = low
	}
	s, err := c.stream(id)
	if err != nil {
		return nil, err
	}
	if format == 3 {
		return s, c.continuation(s)
	}
	return s, noEOF(c.messageHeader(s, format))
}

func (c *chunkReader) stream(id uint32) (*chunkStream, error) {
	if c.last != nil && c.last.id == id {
		return c.last, nil
	}
	s := c.streams[id]
	if s == nil {
		if len(c.streams) == maxChunkStreams {
			return nil, protocol(fault.TooMany, fmt.Sprintf("more than %d chunk streams", maxChunkStreams))
		}
		s = &chunkStream{id: id}
		c.streams[id] = s
	}
	c.last = s
	return s, nil
}

// messageHeader reads a header of type 0, 1 or 2 (5.3.1.2).
func (c *chunkReader) messageHeader(s *chunkStream, format byte) error {
	if s.begun {
		return protocol(fault.Invalid, "a message begins inside another one of its chunk stream")
	}
	if format == 2 && !s.known {
		return protocol(fault.Invalid, "a chunk stream begins without a message length")
	}
	var b [11]byte
	head := b[:[3]int{11, 7, 3}[format]]
	if _, err := io.ReadFull(c.r, head); err != nil {
		return err
	}
	stamp := be24(head)
	s.hasWire = stamp == extended24
	if s.hasWire {
		var ext [4]byte
		if _, err := io.ReadFull(c.r, ext[:]); err != nil {
			return err
		}
		stamp = binary.BigEndian.Uint32(ext[:])
		s.wire = stamp
	}
	if format < 2 {
		s.length, s.typ = be24(head[3:]), head[6]
	}
	if format == 0 {
		s.streamID = binary.LittleEndian.Uint32(head[7:])
		s.timestamp, s.delta, s.implied = stamp, stamp, true
	} else {
		// A first header of type 1 is tolerated: its message stream is 0.
		s.timestamp += stamp
		s.delta, s.implied = stamp, false
	}
	s.known = true
	return c.begin(s)
}

// continuation handles a type 3 chunk: more of a message, or a new one with the same
// header (5.3.1.2.4).
func (c *chunkReader) continuation(s *chunkStream) error {
	if !s.known {
		return protocol(fault.Invalid, "a chunk stream begins without a header")
	}
	fresh := !s.begun
	if s.hasWire {
		// By the letter the extended timestamp is repeated here; older librtmp and others
		// leave it out. It is taken for one if it is the same value, of which some send
		// 31 bits.
		if repeated, err := c.repeatsStamp(s.wire); err != nil {
			return noEOF(err)
		} else if repeated {
			if _, err := c.r.Discard(4); err != nil {
				return noEOF(err)
			}
		}
	}
	if !fresh {
		return nil
	}
	if !s.implied || s.delta <= maxImpliedDelta {
		s.timestamp += s.delta
	}
	return c.begin(s)
}

// repeatsStamp looks whether the next four bytes are the extended timestamp. It looks at
// one after the other, so that it does not wait for bytes that a short message has not.
func (c *chunkReader) repeatsStamp(stamp uint32) (bool, error) {
	var want [4]byte
	binary.BigEndian.PutUint32(want[:], stamp)
	for i := range want {
		b, err := c.r.Peek(i + 1)
		if err != nil {
			return false, err
		}
		diff := b[i] ^ want[i]
		if i == 0 {
			diff &= 0x7f
		}
		if diff != 0 {
			return false, nil
		}
	}
	return true, nil
}

// begin checks the length of a message and gives it its first memory.
func (c *chunkReader) begin(s *chunkStream) error {
	limit := uint32(maxOtherMessage)
	if c.trusted && (s.typ == typeAudio || s.typ == typeVideo || s.typ == typeAggregate) {
		limit = maxMediaMessage
	}
	if s.length > limit {
		return protocol(fault.TooLarge, fmt.Sprintf("a message of type %d has %d bytes, more than %d", s.typ, s.length, limit))
	}
	s.begun = true
	return nil
}

// payload reads the payload of a chunk. Memory grows fourfold as it fills, to the
// declared length at most.
func (c *chunkReader) payload(s *chunkStream) error {
	left := int(min(s.length-uint32(len(s.body)), c.size))
	for left > 0 {
		have := len(s.body)
		if have == cap(s.body) {
			next := min(max(firstAlloc, 4*cap(s.body)), int(s.length))
			if c.partial += next - cap(s.body); c.partial > maxPartial {
				return protocol(fault.TooLarge, fmt.Sprintf("unfinished messages of more than %d bytes", maxPartial))
			}
			grown := make([]byte, have, next)
			copy(grown, s.body)
			s.body = grown
		}
		n := min(left, cap(s.body)-have)
		n, err := io.ReadFull(c.r, s.body[have:have+n])
		s.body = s.body[:have+n]
		left -= n
		if err != nil {
			return err
		}
	}
	return nil
}

// protocol makes the fault of a peer that broke a rule of the chunk protocol.
func protocol(kind fault.Kind, cause string) error {
	return fault.New(kind, "read", "RTMP", cause, "Check the encoder, or what else connected to this port")
}

// noEOF makes an end inside a chunk an unexpected one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func be24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }
