package rtmp

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/bluenviron/gortmplib/pkg/amf0"

	"onair/internal/fault"
)

const (
	// The buffers of a connection before it carries media, and of one that does.
	smallBuffer = 4 << 10
	// pictureBuffer is what a player's connection is written through.
	pictureBuffer = 16 << 10
	mediaBuffer   = 64 << 10
)

// conn is a connection after the handshake, of either side: messages in and out, and
// the control messages that nobody else needs to know.
//
// Reading is for one goroutine at a time, writing for any.
type conn struct {
	socket *socket
	in     *chunkReader
	// window and acked are the peer's acknowledgement window and how much of what was
	// received it knows of, in bytes.
	window uint32
	acked  uint64

	writeTimeout time.Duration
	// writing orders the writers of this one connection: media, answers to pings,
	// acknowledgements. Each holds it for one batch of messages, at most writeTimeout.
	writing sync.Mutex
	out     *chunkWriter
}

func newConn(s *socket, writeTimeout time.Duration) *conn {
	return &conn{
		socket:       s,
		in:           newChunkReader(bufio.NewReaderSize(s, smallBuffer)),
		out:          newChunkWriter(s),
		window:       ourWindow,
		acked:        s.received.Load(),
		writeTimeout: writeTimeout,
	}
}

// expectMedia makes the read buffer large and lifts the bounds of strangers.
func (c *conn) expectMedia() {
	c.in.trusted = true
	// The small buffer is read through: what it holds comes first.
	c.in.r = bufio.NewReaderSize(c.in.r, mediaBuffer)
}

// next returns the next message that is not a control message.
func (c *conn) next() (message, error) {
	for {
		m, err := c.in.read()
		if err != nil {
			return m, err
		}
		if err := c.acknowledge(); err != nil {
			return m, err
		}
		switch m.typ {
		case typeAudio, typeVideo, typeAggregate, typeDataAMF0, typeDataAMF3, typeCommandAMF0, typeCommandAMF3:
			return m, nil
		}
		if err := c.control(m); err != nil {
			return m, err
		}
	}
}

// control handles a control message; those that are not known are skipped.
func (c *conn) control(m message) error {
	if len(m.body) < 4 {
		return nil
	}
	v := binary.BigEndian.Uint32(m.body)
	switch m.typ {
	case typeSetChunkSize:
		return c.in.setChunkSize(v)
	case typeAbort:
		c.in.abort(v)
	case typeWindowAckSize:
		c.window = max(v, minWindow)
	case typePeerBandwidth:
		return c.sendControl(typeWindowAckSize, binary.BigEndian.AppendUint32(nil, max(v, minWindow)))
	case typeUserControl:
		if binary.BigEndian.Uint16(m.body) == eventPingRequest && len(m.body) >= 6 {
			return c.event(eventPingResponse, binary.BigEndian.Uint32(m.body[2:]))
		}
	}
	return nil
}

// acknowledge tells the peer what has arrived, once a window (5.4.3).
func (c *conn) acknowledge() error {
	n := c.socket.received.Load()
	if n-c.acked < uint64(c.window) {
		return nil
	}
	c.acked = n
	return c.sendControl(typeAck, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// batch runs f, which writes messages, and sends them together.
func (c *conn) batch(f func(w *chunkWriter) error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.socket.armWrite(c.writeTimeout); err != nil {
		return err
	}
	if err := f(c.out); err != nil {
		return err
	}
	return c.out.flush()
}

func (c *conn) sendControl(typ uint8, body []byte) error {
	return c.batch(func(w *chunkWriter) error { return w.write(csidControl, typ, 0, 0, body) })
}

func (c *conn) event(event uint16, value uint32) error {
	return c.sendControl(typeUserControl, eventBody(event, value))
}

func eventBody(event uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, event), value)
}

// ping asks whether the peer is there.
func (c *conn) ping() error {
	return c.event(eventPingRequest, uint32(time.Now().UnixMilli()))
}

// command sends a command message.
func (c *conn) command(streamID uint32, values ...any) error {
	return c.batch(func(w *chunkWriter) error { return writeValues(w, csidCommand, typeCommandAMF0, streamID, values...) })
}

func writeValues(w *chunkWriter, csid uint32, typ uint8, streamID uint32, values ...any) error {
	b, err := amf0.Data(values).Marshal()
	if err != nil {
		return err
	}
	return w.write(csid, typ, streamID, 0, b)
}

// values returns the AMF0 part of a command or data message: in the AMF3 types a format
// selector comes first.
func (m *message) values() []byte {
	if (m.typ == typeCommandAMF3 || m.typ == typeDataAMF3) && len(m.body) > 0 && m.body[0] == 0 {
		return m.body[1:]
	}
	return m.body
}

func (m *message) command() bool { return m.typ == typeCommandAMF0 || m.typ == typeCommandAMF3 }

// call is a decoded command.
type call struct {
	name string
	// id is the transaction; 0 expects no answer.
	id   float64
	args []any
}

// decodeCall reads the values of a command message.
func decodeCall(m message) (call, error) {
	data, err := decodeAMF(m.values())
	if err != nil {
		return call{}, err
	}
	var c call
	if len(data) < 1 {
		return c, badAMF("the command is empty")
	}
	var ok bool
	if c.name, ok = data[0].(string); !ok {
		return c, badAMF("the command has no name")
	}
	if len(data) > 1 {
		if c.id, ok = data[1].(float64); !ok {
			return c, badAMF("the command's transaction is not a number")
		}
		c.args = data[2:]
	}
	return c, nil
}

// arg returns an argument; nil where there is none.
func (c call) arg(i int) any {
	if i < len(c.args) {
		return c.args[i]
	}
	return nil
}

// broken makes a fault of an error of reading or writing. What the peer sent wrong is
// a fault already.
func broken(op string, err error) error {
	var f *fault.Error
	switch {
	case err == nil, errors.As(err, &f):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Timeout, op, "", "nothing came in time", "Check the network between the two sides")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Unavailable, op, "", "the connection was closed without a goodbye", "")
	default:
		return fault.Wrap(fault.Unavailable, op, "", err, "")
	}
}
