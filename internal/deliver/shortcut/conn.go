package shortcut

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"onair/internal/deliver/hls"
)

// The states of a connection.
const (
	idle    int32 = iota // nothing of a next request has come
	busy                 // a request is being read or answered
	closing              // it was idle when the server stopped
)

// conn is a connection. Its size and that of its goroutine's stack are what a viewer
// who waits costs.
type conn struct {
	net.Conn
	direct net.Conn // what it is below the wrappers of listeners, where writev works
	server *Server
	state  atomic.Int32
	answer hls.Answer
	head   head
}

func newConn(s *Server, c net.Conn) *conn {
	sc := &conn{Conn: c, direct: c, server: s}
	if wrapper, ok := c.(interface{ NetConn() net.Conn }); ok {
		sc.direct = wrapper.NetConn()
	}
	return sc
}

// closeIdle closes the connection if it is between two requests.
func (c *conn) closeIdle() {
	if c.state.CompareAndSwap(idle, closing) {
		c.Close()
	}
}

// serve answers requests until the connection ends or is handed over.
func (c *conn) serve(ctx context.Context) {
	defer func() {
		if v := recover(); v != nil {
			// As in net/http: a request may not end the server.
			c.server.log.Error("panic while answering", "panic", v, "stack", string(debug.Stack()))
			c.server.forget(c)
			c.Close()
		}
	}()
	v := c.requests(ctx)
	c.server.forget(c)
	if v <= complete {
		c.Close()
		return
	}
	c.server.handed[v].Inc()
	_ = c.SetDeadline(time.Time{}) // if it is closed, the next who reads is told
	c.server.rest.put(&replayed{Conn: c.Conn, first: append([]byte(nil), c.head.buf[:c.head.n]...)})
}

// requests answers requests. It returns why the connection is for net/http, or more or
// complete if it is over.
func (c *conn) requests(ctx context.Context) verdict {
	// As long as for a head: who connects has something to say.
	if c.direct.SetReadDeadline(time.Now().Add(c.server.cfg.HeadTime)) != nil {
		return more
	}
	for {
		if v := c.readHead(); v != complete {
			return v
		}
		if !c.server.answerer.Answer(ctx, c.head.parsed(), &c.answer) {
			return complete
		}
		if c.answer.Elsewhere {
			return recording
		}
		c.server.requests.Inc()
		if !c.send() {
			return complete
		}
		c.answer.Reset()
		c.head.consume()
		limit := c.server.cfg.HeadTime
		if c.head.n == 0 {
			limit = c.server.cfg.IdleTime
			c.state.Store(idle)
		}
		if c.server.draining.Load() || c.direct.SetReadDeadline(time.Now().Add(limit)) != nil {
			return complete
		}
	}
}

// readHead reads until a head is complete, and returns complete then. It returns more if
// the connection is over, and else why the head is for net/http.
func (c *conn) readHead() verdict {
	h := &c.head
	if h.n > 0 { // more than one request came at once
		if v := h.next(); v != more {
			return v
		}
	}
	for limited := h.n > 0; ; limited = true {
		n, err := c.direct.Read(h.buf[h.n:])
		if n == 0 && err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.server.expired.Inc()
			}
			return more
		}
		if h.n == 0 && n > 0 && !c.state.CompareAndSwap(idle, busy) {
			return more
		}
		h.n += n
		if v := h.next(); v != more {
			return v
		}
		// One deadline for the whole head, from its first byte.
		if !limited && c.direct.SetReadDeadline(time.Now().Add(c.server.cfg.HeadTime)) != nil {
			return more
		}
	}
}

// output is what sending needs besides: room for heads and small answers, and the list
// of what is sent in one system call.
type output struct {
	head [headSize]byte
	all  net.Buffers
	left net.Buffers // the part of all that is not sent yet
}

// send sends the answer. It reports false if the connection is not to go on.
func (c *conn) send() bool {
	s, a := c.server, &c.answer
	now := time.Now()
	if c.direct.SetWriteDeadline(now.Add(a.Limit)) != nil {
		return false
	}
	last := s.draining.Load()
	out := s.out.Get().(*output)
	defer s.out.Put(out)
	head := s.appendDate(a.AppendHead(out.head[:0]), now)
	if last {
		head = append(head, "Connection: close\r\n"...)
	}
	head = append(head, "\r\n"...)
	if len(head)+a.Size <= cap(head) {
		for _, b := range a.Body {
			head = append(head, b...)
		}
		_, err := c.direct.Write(head)
		return err == nil && !last
	}
	out.all = append(append(out.all[:0], head), a.Body...)
	out.left = out.all
	_, err := out.left.WriteTo(c.direct)
	clear(out.all) // media is not kept for the next answer
	return err == nil && !last
}
