package rtmp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/bluenviron/gortmplib/pkg/amf0"
	"github.com/bluenviron/gortmplib/pkg/handshake"

	"onair/internal/fault"
)

const (
	// dialTimeout is how long a server may take from the connection to the answer to
	// publish or play.
	dialTimeout = 10 * time.Second
	// clientWriteTimeout is how long a server may take nothing.
	clientWriteTimeout = 10 * time.Second
	// clientIdle is how long a server may send nothing to a player.
	clientIdle = 30 * time.Second

	defaultPort    = "1935"
	defaultTLSPort = "443"
	// flashVersion is how librtmp, and with it OBS, introduces itself.
	flashVersion = "FMLE/3.0 (compatible; FMSc/1.0)"
)

// client is a connection to a server, up to its publish or play.
type client struct {
	*conn
	op       string
	host     string
	app      string
	name     string
	tcURL    string
	calls    float64
	streamID uint32
	// capsEx is what we say of ourselves, server what the server said of itself.
	capsEx int
	server capabilities
}

// dial connects to the server of an address of the form rtmp://HOST[:PORT]/APP/NAME and
// creates a message stream. The last element of the path and the query are the name.
// The text of an error never has the name in it, which is a secret for a publisher.
func (d Dialer) dial(ctx context.Context, op, address string, capsEx int) (*client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "rtmp" && u.Scheme != "rtmps" || u.Host == "" {
		return nil, fault.New(fault.Invalid, op, "", "the address is not one of RTMP", "Write rtmp://HOST/live/KEY")
	}
	c := &client{op: op, host: u.Host, capsEx: capsEx}
	path := strings.Trim(u.EscapedPath(), "/")
	i := strings.LastIndexByte(path, '/')
	c.app, c.name = path[:max(i, 0)], path[i+1:]
	if i < 0 && u.RawQuery != "" {
		c.app, c.name = path, "" // the key is in the query
	}
	if u.RawQuery != "" {
		c.name += "?" + u.RawQuery
	}
	if c.app == "" || c.name == "" {
		return nil, fault.New(fault.Invalid, op, u.Host, "the address has no application or no stream", "Write rtmp://HOST/live/KEY")
	}
	c.tcURL = u.Scheme + "://" + u.Host + "/" + c.app

	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := d.connect(ctx, u)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, u.Host, err, "Check the address, and that the server is running")
	}
	sock := &socket{Conn: nc}
	stop := context.AfterFunc(ctx, sock.stop)
	defer stop()
	if err := c.open(ctx, sock); err != nil {
		nc.Close()
		if ctx.Err() != nil {
			return nil, fault.Wrap(fault.Timeout, op, u.Host, ctx.Err(), "Check that the server speaks RTMP on this port")
		}
		return nil, broken(op+" to "+u.Host, err)
	}
	return c, nil
}

// open shakes hands, connects to the application and creates the message stream.
func (c *client) open(ctx context.Context, sock *socket) error {
	if err := sock.armWrite(clientWriteTimeout); err != nil {
		return err
	}
	if _, _, err := handshake.DoClient(sock, false, false); err != nil {
		return err
	}
	c.conn = newConn(sock, clientWriteTimeout)
	// Servers are not strangers, and a player gets media right behind the answer.
	c.expectMedia()
	err := c.batch(func(w *chunkWriter) error {
		err := w.write(csidControl, typeSetChunkSize, 0, 0, binary.BigEndian.AppendUint32(nil, ourChunkSize))
		w.size = ourChunkSize
		return err
	})
	if err != nil {
		return err
	}
	properties := append(amf0.Object{
		{Key: "app", Value: c.app},
		{Key: "type", Value: "nonprivate"},
		{Key: "flashVer", Value: flashVersion},
		{Key: "swfUrl", Value: c.tcURL},
		{Key: "tcUrl", Value: c.tcURL},
	}, ourCapabilities(c.capsEx)...)
	welcome, err := c.call(ctx, "connect", properties)
	if err != nil {
		return err
	}
	c.server = welcomeCapabilities(welcome)
	if c.op == opPublish {
		for _, name := range []string{"releaseStream", "FCPublish"} {
			if err := c.send(name, nil, c.name); err != nil {
				return err
			}
		}
	}
	answer, err := c.call(ctx, "createStream", nil)
	if err != nil {
		return err
	}
	id, ok := answer.arg(1).(float64)
	if !ok || id < 0 || id > 1<<31 {
		return protocol(fault.Invalid, "the server created no message stream")
	}
	c.streamID = uint32(id)
	return nil
}

// welcomeCapabilities are those of a server, which stand in the first object of its answer
// to connect or in the second.
func welcomeCapabilities(welcome call) capabilities {
	out := capabilities{fourCCs: make(map[string]bool)}
	for i := range 2 {
		o, _ := object(welcome.arg(i))
		c := capabilitiesOf(o)
		maps.Copy(out.fourCCs, c.fourCCs)
		out.capsEx |= c.capsEx
	}
	return out
}

// send sends a command and expects no answer.
func (c *client) send(name string, args ...any) error {
	c.calls++
	return c.command(0, append([]any{name, c.calls}, args...)...)
}

// call sends a command and waits for its answer. An answer of _error is an error.
func (c *client) call(ctx context.Context, name string, args ...any) (call, error) {
	if err := c.send(name, args...); err != nil {
		return call{}, err
	}
	id := c.calls
	for {
		answer, err := c.nextCall(ctx)
		if err != nil {
			return answer, err
		}
		switch {
		case answer.id != id:
		case answer.name == "_result":
			return answer, nil
		case answer.name == "_error":
			return answer, c.refusal(answer)
		}
	}
}

// nextCall waits for the next command of the server. A status of level error is one.
func (c *client) nextCall(ctx context.Context) (call, error) {
	for {
		m, err := c.next()
		if err != nil {
			if ctx.Err() != nil {
				return call{}, ctx.Err()
			}
			return call{}, err
		}
		if !m.command() {
			continue
		}
		return c.decode(m)
	}
}

func (c *client) decode(m message) (call, error) {
	got, err := decodeCall(m)
	if err != nil {
		return got, err
	}
	if info, ok := object(got.arg(1)); ok && got.name == "onStatus" {
		if level, _ := info.GetString("level"); level == "error" {
			return got, c.refusal(got)
		}
	}
	return got, nil
}

// start sends publish or play and waits until it began.
func (c *client) start(ctx context.Context, code string, values ...any) error {
	c.calls++
	if err := c.command(c.streamID, append(values[:1:1], append([]any{c.calls, nil}, values[1:]...)...)...); err != nil {
		return err
	}
	id := c.calls
	for {
		got, err := c.nextCall(ctx)
		if err != nil {
			return err
		}
		if got.name == "_error" && got.id == id {
			return c.refusal(got)
		}
		if got.name == "_result" && got.id == id || got.name == "onStatus" && statusCode(got) == code {
			return nil
		}
	}
}

func statusCode(c call) string {
	info, _ := object(c.arg(1))
	code, _ := info.GetString("code")
	return code
}

// refusal makes a fault of what a server says: its code decides the kind, its
// description is the text.
func (c *client) refusal(got call) error {
	info, _ := object(got.arg(1))
	code := statusCode(got)
	text, _ := info.GetString("description")
	text = printable(text, maxDescription)
	kind := fault.Invalid
	switch code {
	case publishDenied, "NetConnection.Connect.Rejected":
		kind = fault.Unauthorized
	case publishBadName:
		kind = fault.Conflict
	case playNotFound:
		kind = fault.NotFound
	case connectionClosed:
		kind = fault.Unavailable
	}
	cause := fmt.Sprintf("the server answered %s", printable(code, 64))
	if text != "" {
		cause = text
	}
	return &serverError{code: code, fault: fault.New(kind, c.op, "to "+c.host, cause, "")}
}

// serverError is a refusal with the code that the server gave it.
type serverError struct {
	code  string
	fault *fault.Error
}

func (e *serverError) Error() string { return e.fault.Error() }
func (e *serverError) Unwrap() error { return e.fault }

// StatusCode returns the status code, such as "NetStream.Publish.Denied", of an error
// that a server answered with; "" of any other.
func StatusCode(err error) string {
	var e *serverError
	if errors.As(err, &e) {
		return e.code
	}
	return ""
}
