package rtmp

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/flv"
)

// maxEncoder bounds the name of an encoder, in characters.
const maxEncoder = 128

// PublishRequest is an encoder that asks to publish, and the source of its packets once
// it may. It is used by one goroutine.
type PublishRequest struct {
	receiver
	se       *session
	target   target
	stopping func() bool
	accepted bool
	told     bool
	// refused is set when the request was rejected.
	refused bool
}

func (s *Server) servePublish(ctx context.Context, se *session, t target, h Handler) {
	r := &PublishRequest{se: se, target: t, stopping: func() bool { return ctx.Err() != nil }}
	r.receiver = receiver{conn: se.conn, op: "receive RTMP", idle: s.cfg.IdleTimeout, onCommand: r.command}
	r.demux.Nanoseconds = se.client.capsEx&capsNanosecond != 0
	// The handler decides now, in its own time: the socket is not read meanwhile.
	h.ServePublish(ctx, r)
	if ctx.Err() != nil {
		r.Close(nil)
	} else {
		r.Close(r.failed)
	}
	stats := r.demux.Stats()
	s.metrics.dropped.WithLabelValues("no_header").Add(float64(stats.NoHeader))
	s.metrics.dropped.WithLabelValues("changed").Add(float64(stats.Changed))
	s.metrics.dropped.WithLabelValues("track").Add(float64(stats.Refused))
	switch {
	case r.refused:
		s.metrics.rejected.WithLabelValues(reasonDenied).Inc()
	case fault.Is(r.failed, fault.Timeout):
		s.metrics.rejected.WithLabelValues(reasonTimeout).Inc()
	case r.failed != nil && !errors.Is(r.failed, io.EOF) && !fault.Is(r.failed, fault.Unavailable):
		s.metrics.rejected.WithLabelValues(reasonProtocol).Inc()
	}
}

// Protocol returns "rtmp" or "rtmps".
func (r *PublishRequest) Protocol() string { return r.se.protocol }

// Peer is the encoder's address.
func (r *PublishRequest) Peer() net.Addr { return r.se.peer }

// Key is the stream key as the encoder sent it: the last element of its address, or a
// query parameter key, streamkey or stream_key. It is a secret.
func (r *PublishRequest) Key() string { return r.target.key }

// Query is the query of the encoder's address, not decoded. It may be a secret.
func (r *PublishRequest) Query() string { return r.target.query }

// Backup tells whether the encoder came as its stream's backup: with backup=1 in the
// query of its address.
func (r *PublishRequest) Backup() bool {
	values, _ := url.ParseQuery(r.target.query) // one that is not well formed may hold it too
	on, err := strconv.ParseBool(values.Get("backup"))
	return err == nil && on
}

// Encoder is what the encoder calls itself: in its metadata, or before those came in
// its connect command.
func (r *PublishRequest) Encoder() string {
	return cmp.Or(printable(r.meta.Text("encoder"), maxEncoder), r.se.flashVer)
}

// Metadata returns the values of the last onMetaData message; nil before one came.
func (r *PublishRequest) Metadata() flv.Metadata { return r.meta }

// Tracks returns the tracks whose parameters came so far. More may come while packets
// are read.
func (r *PublishRequest) Tracks() []*media.Track { return r.demux.Tracks() }

// Accept tells the encoder that it may publish. ReadPacket may be called afterwards.
func (r *PublishRequest) Accept(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.expectMedia()
	r.socket.setDeadline(time.Now().Add(r.idle))
	r.socket.onQuiet(pingAfter, r.ping)
	r.accepted = true
	err := r.batch(func(w *chunkWriter) error {
		return errors.Join(
			w.write(csidControl, typeUserControl, 0, 0, eventBody(eventStreamBegin, r.target.streamID)),
			writeValues(w, csidCommand, typeCommandAMF0, r.target.streamID, "onStatus", 0.0, nil,
				status("status", "NetStream.Publish.Start", "Publishing.")))
	})
	return broken("accept an RTMP publisher", err)
}

// Reject tells the encoder why it may not publish. The connection is closed when the
// handler returns.
func (r *PublishRequest) Reject(err error) {
	if r.told {
		return
	}
	r.told = true
	r.refused = true
	r.tell("error", publishCode(fault.KindOf(err)), explain(err))
}

// Close ends what Accept began, and tells the encoder why: a nil err or io.EOF is the
// end that it asked for. What is only a passing trouble of the server is told in a way
// that makes encoders connect again. The connection is closed when the handler returns.
func (r *PublishRequest) Close(err error) {
	if r.told {
		return
	}
	r.told = true
	switch {
	case r.stopping() && !isEOF(err):
		r.comeBack("The server is stopping. Connect again in a moment.")
	case !r.accepted && err == nil:
		r.tell("error", publishRejected, "The server took no decision.")
	case err == nil, isEOF(err):
		r.se.parted = isEOF(r.failed)
		r.tell("status", "NetStream.Unpublish.Success", "Unpublished.")
	case !r.accepted:
		r.tell("error", publishCode(fault.KindOf(err)), explain(err))
	default:
		switch fault.KindOf(err) {
		case fault.Unavailable, fault.Internal:
			r.comeBack(explain(err))
		default:
			r.tell("error", publishCode(fault.KindOf(err)), explain(err))
		}
	}
}

// tell sends a status. An encoder that is gone cannot be told.
func (r *PublishRequest) tell(level, code, description string) {
	_ = r.conn.command(r.target.streamID, "onStatus", 0.0, nil, status(level, code, description))
}

// comeBack tells that the connection ends, and that another may begin.
func (r *PublishRequest) comeBack(description string) {
	if r.accepted && r.se.client.capsEx&capsReconnect != 0 {
		_ = r.se.askToReconnect("", description) // one that is gone cannot be told
	}
	r.tell("status", connectionClosed, description)
}

// command handles a command that comes while media does.
func (r *PublishRequest) command(m message) error {
	name := amfName(m.values())
	switch name {
	case "FCUnpublish", "deleteStream", "closeStream":
		return io.EOF
	case "publish":
		// publish(false) is how Flash ends; a second name is not possible.
		c, err := decodeCall(m)
		if err != nil {
			return err
		}
		if v, ok := c.arg(1).(bool); ok && !v {
			return io.EOF
		}
		return protocol(fault.Conflict, "publish comes twice")
	case "releaseStream", "FCPublish", "_checkbw", "getStreamLength", "createStream":
		c, err := decodeCall(m)
		if err != nil {
			return err
		}
		return broken(r.op, r.se.result(c, 0.0))
	default:
		return nil
	}
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
