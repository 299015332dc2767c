package node

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// oneConnection is a listener with one connection to give.
type oneConnection struct {
	net.Listener
	give chan net.Conn
}

func (l oneConnection) Accept() (net.Conn, error) {
	if c, ok := <-l.give; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l oneConnection) Close() error   { return nil }
func (l oneConnection) Addr() net.Addr { return &net.TCPAddr{} }

// TestSlowReadersAreLetGo: whoever does not take an answer of a page, the API or the
// metrics does not hold its connection for ever.
func TestSlowReadersAreLetGo(t *testing.T) {
	long := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
	for _, path := range []string{"/", "/assets/x.js", "/v1/server", "/metrics", "/golive", "/whip", "/whep/x", "/healthz", "/readyz"} {
		synctest.Test(t, func(t *testing.T) {
			server := newHTTPServer(routes{
				control: long, pages: long, metrics: long, whip: long, whep: long, golive: long, health: long, ready: long,
			}, slog.New(slog.DiscardHandler))
			client, conn := net.Pipe()
			l := oneConnection{give: make(chan net.Conn, 1)}
			l.give <- conn
			done := make(chan error, 1)
			go func() { done <- server.Serve(l) }()
			if _, err := io.WriteString(client, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(answerTime - time.Second)
			synctest.Wait()
			if _, err := client.Read(make([]byte, 1)); err != nil {
				t.Errorf("%s: cut off too early: %v", path, err)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if n, err := io.Copy(io.Discard, client); err != nil || n >= 1<<20 {
				t.Errorf("%s: %d bytes, %v", path, n, err)
			}
			close(l.give)
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
	}
}
