package dash

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing/synctest"
)

// sink is a response writer that keeps nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) Flush()                      {}

// connection is one to a server in memory, so that the bubble's time applies.
type connection struct {
	r      *rig
	conn   net.Conn
	closed chan struct{}
}

// single is a listener of one connection.
type single struct{ c chan net.Conn }

func (l *single) Accept() (net.Conn, error) {
	c, ok := <-l.c
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l *single) Close() error   { return nil }
func (l *single) Addr() net.Addr { return &net.TCPAddr{} }

func (r *rig) connect() *connection {
	client, server := net.Pipe()
	c := &connection{r: r, conn: client, closed: make(chan struct{})}
	l := &single{make(chan net.Conn, 1)}
	l.c <- server
	srv := &http.Server{Handler: r.handler, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			close(c.closed)
		}
	}}
	go func() { _ = srv.Serve(l) }()
	r.onClose = append(c.r.onClose, func() {
		_ = client.Close()
		close(l.c)
		_ = srv.Close()
	})
	return c
}

func (c *connection) send(path string) {
	if _, err := io.WriteString(c.conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		c.r.t.Fatal(err)
	}
}

// arriving is the body of a response that arrives in chunks.
type arriving struct {
	mu   chan struct{}
	data bytes.Buffer
	err  error
	done chan struct{}
}

// get asks for something and reads the answer in the background.
func (c *connection) get(path string) *arriving {
	c.send(path)
	a := &arriving{mu: make(chan struct{}, 1), done: make(chan struct{})}
	res, err := http.ReadResponse(bufio.NewReader(c.conn), nil)
	if err != nil {
		c.r.t.Fatal(err)
	}
	go func() {
		defer close(a.done)
		buf := make([]byte, 1<<16)
		for {
			n, err := res.Body.Read(buf)
			a.mu <- struct{}{}
			a.data.Write(buf[:n])
			<-a.mu
			if err != nil {
				if err != io.EOF {
					a.err = err
				}
				return
			}
		}
	}()
	return a
}

// parts counts the fragments that have arrived.
func (a *arriving) parts() int {
	synctest.Wait()
	a.mu <- struct{}{}
	defer func() { <-a.mu }()
	return bytes.Count(a.data.Bytes(), []byte("moof"))
}

// rest waits for the end.
func (a *arriving) rest() ([]byte, error) {
	<-a.done
	return a.data.Bytes(), a.err
}
