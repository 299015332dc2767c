package rtmp

import (
	"bufio"
	"encoding/binary"
	"io"
)

// chunkWriter writes messages as chunks (5.3). It is not safe for concurrent use.
//
// It tells timestamps as deltas wherever it can: absolute ones need the extended field
// after 4.66 hours, in which implementations differ.
type chunkWriter struct {
	to      io.Writer
	w       *bufio.Writer
	size    int
	streams map[uint32]*sentStream
}

type sentStream struct {
	timestamp uint32
	streamID  uint32
}

func newChunkWriter(w io.Writer) *chunkWriter {
	return &chunkWriter{to: w, w: bufio.NewWriterSize(w, smallBuffer), size: defaultChunkSize, streams: make(map[uint32]*sentStream)}
}

// write writes one message whose body is the parts in a row. csid is 2..63.
func (c *chunkWriter) write(csid uint32, typ uint8, streamID, timestamp uint32, parts ...[]byte) error {
	length := 0
	for _, p := range parts {
		length += len(p)
	}
	s := c.streams[csid]
	value, format := timestamp, byte(0)
	if s != nil && s.streamID == streamID && csid != csidControl && int32(timestamp-s.timestamp) >= 0 {
		value, format = timestamp-s.timestamp, 1
	}
	if s == nil {
		s = &sentStream{}
		c.streams[csid] = s
	}
	s.timestamp, s.streamID = timestamp, streamID

	b := make([]byte, 0, 16)
	b = append(b, format<<6|byte(csid))
	b = put24(b, min(value, extended24))
	b = put24(b, uint32(length))
	b = append(b, typ)
	if format == 0 {
		b = binary.LittleEndian.AppendUint32(b, streamID)
	}
	next := []byte{3<<6 | byte(csid)}
	if value >= extended24 {
		b = binary.BigEndian.AppendUint32(b, value)
		next = binary.BigEndian.AppendUint32(next, value)
	}
	if _, err := c.w.Write(b); err != nil {
		return err
	}
	room := c.size
	for _, p := range parts {
		for len(p) > 0 {
			if room == 0 {
				if _, err := c.w.Write(next); err != nil {
					return err
				}
				room = c.size
			}
			n := min(room, len(p))
			if _, err := c.w.Write(p[:n]); err != nil {
				return err
			}
			p = p[n:]
			room -= n
		}
	}
	return nil
}

// widen makes room for a usual picture, so that it goes out in one call. Nothing may wait
// to be sent.
func (c *chunkWriter) widen() { c.w = bufio.NewWriterSize(c.to, pictureBuffer) }

func (c *chunkWriter) flush() error { return c.w.Flush() }

func put24(b []byte, v uint32) []byte { return append(b, byte(v>>16), byte(v>>8), byte(v)) }
