package shortcut

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"onair/internal/deliver/hls"
)

const request = plain + "\r\n"

// hello answers everything at once.
var hello = answerFunc(func(context.Context, hls.Request) ([]byte, bool) { return []byte("hello"), true })

// others is what net/http answers in these tests.
var others = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "net/http %s %s %q", r.Method, r.URL.Path, body)
})

// inBubble runs a test on a serving loop.
func inBubble(t *testing.T, a Answerer, test func(t *testing.T, l *pipes, s *serving)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		s := newServing(t, l, a, others)
		test(t, l, s)
		s.close()
		time.Sleep(time.Second) // net/http lingers on connections that it closes
	})
}

func (s *Server) connections() (n int) {
	s.each(func(*conn) { n++ })
	return n
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// response reads one response. What answerFunc makes has no Content-Length: it is hello.
func response(t *testing.T, r *bufio.Reader) (head textproto.MIMEHeader, body string) {
	t.Helper()
	lines := textproto.NewReader(r)
	if status, err := lines.ReadLine(); err != nil || status != "HTTP/1.1 200 OK" {
		t.Fatalf("%q, %v", status, err)
	}
	head, err := lines.ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	length := len("hello")
	if text := head.Get("Content-Length"); text != "" {
		if length, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return head, string(b)
}

// closedAfter returns how long it takes until the other side closes.
func closedAfter(c net.Conn) time.Duration {
	begin := time.Now()
	_, _ = io.Copy(io.Discard, c)
	return time.Since(begin)
}

// H1: heads that never end, and connections that say nothing.
func TestH1SlowHeads(t *testing.T) {
	inBubble(t, hello, func(t *testing.T, l *pipes, s *serving) {
		c := l.dial()
		if d := closedAfter(c); d != testConfig.HeadTime {
			t.Errorf("a silent connection was closed after %v", d)
		}
		for _, already := range []int{0, 1, 3} { // requests before
			c := l.dial()
			r := bufio.NewReader(c)
			for range already {
				write(t, c, request)
				response(t, r)
			}
			begin := time.Now()
			go func() {
				for _, b := range []byte(request) {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(500 * time.Millisecond)
				}
			}()
			_, _ = io.Copy(io.Discard, r)
			if d := time.Since(begin); d != testConfig.HeadTime {
				t.Errorf("after %d requests, a head that trickles was cut off after %v", already, d)
			}
		}
		c = l.dial()
		r := bufio.NewReader(c)
		write(t, c, request)
		response(t, r)
		if d := closedAfter(c); d != testConfig.IdleTime {
			t.Errorf("an idle connection was closed after %v", d)
		}
		if n := testutil.ToFloat64(s.expired); n != 5 {
			t.Errorf("%v connections counted as expired", n)
		}
	})
}

// H1: a viewer who does not read loses its connection after a while, and nobody waits
// for it.
func TestH1SlowReaderIsCutOff(t *testing.T) {
	inBubble(t, answerFunc(func(context.Context, hls.Request) ([]byte, bool) { return make([]byte, 1<<20), true }), func(t *testing.T, l *pipes, s *serving) {
		slow := l.dial()
		write(t, slow, request)
		begin := time.Now()
		if _, err := io.ReadFull(slow, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		c := l.dial()
		write(t, c, request)
		if _, err := io.ReadFull(c, make([]byte, 1<<20)); err != nil || time.Since(begin) > time.Second {
			t.Errorf("another viewer got %v after %v", err, time.Since(begin))
		}
		c.Close()
		time.Sleep(10*time.Second - time.Millisecond)
		synctest.Wait()
		if s.connections() != 1 {
			t.Errorf("%d connections, the slow one should be open", s.connections())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if s.connections() != 0 {
			t.Error("the slow connection is open")
		}
		slow.Close()
	})
}

func TestHandOverIsForGood(t *testing.T) {
	inBubble(t, hello, func(t *testing.T, l *pipes, s *serving) {
		c := l.dial()
		r := bufio.NewReader(c)
		go func() { // a pipe keeps nothing: what is sent is read meanwhile
			write(t, c, request+request)
			write(t, c, "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Le")
			time.Sleep(time.Second)
			write(t, c, "ngth: 6\r\n\r\nabc")
			time.Sleep(6 * time.Second) // longer than a head may take
			write(t, c, "def"+request+request)
		}()
		for i, want := range []string{"hello", "hello", `net/http POST /v1/x "abcdef"`, `net/http GET /hls/a/index.m3u8 ""`, `net/http GET /hls/a/index.m3u8 ""`} {
			if _, body := response(t, r); body != want {
				t.Errorf("answer %d: %s, want %s", i, body, want)
			}
		}
		if d := closedAfter(c); d != testConfig.IdleTime {
			t.Errorf("net/http closed the idle connection after %v", d)
		}
		// A head that began in the loop and is never completed.
		c = l.dial()
		begin := time.Now()
		write(t, c, "POST /")
		if closedAfter(c); time.Since(begin) > testConfig.HeadTime {
			t.Errorf("net/http waited %v for a head", time.Since(begin))
		}
		if n := testutil.ToFloat64(s.handed[strange]); n != 2 {
			t.Errorf("%v connections counted as handed over", n)
		}
		if n := testutil.ToFloat64(s.requests); n != 2 {
			t.Errorf("%v requests counted", n)
		}
		if s.connections() != 0 {
			t.Errorf("%d connections are still the loop's", s.connections())
		}
	})
}

func TestReplay(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	c := &replayed{Conn: server, first: []byte("abcdef")}
	p := make([]byte, 4)
	for _, want := range []string{"abcd", "ef"} {
		if n, err := c.Read(p); err != nil || string(p[:n]) != want {
			t.Errorf("%q, %v, want %q", p[:n], err, want)
		}
	}
	client.Close()
	if _, err := c.Read(p); !errors.Is(err, io.EOF) || c.first != nil {
		t.Errorf("after that: %v", err)
	}
}

// The end: who waits is answered, who is idle is closed, who is slow is cut off.
func TestStop(t *testing.T) {
	defer goleak.VerifyNone(t)
	part := make(chan struct{})
	waits := answerFunc(func(ctx context.Context, r hls.Request) ([]byte, bool) {
		switch r.Path {
		case "/hls/wait":
			<-part
		case "/hls/never":
			<-ctx.Done()
			return nil, false
		}
		return []byte("hello"), true
	})
	synctest.Test(t, func(t *testing.T) {
		part = make(chan struct{})
		l := newPipes()
		s := newServing(t, l, waits, others)
		conns := map[string]net.Conn{}
		for name, text := range map[string]string{
			"new": "", "idle": request, "half": "GET /hls/a", "waiting": "GET /hls/wait HTTP/1.1\r\nHost: x\r\n\r\n",
			"stuck": "GET /hls/never HTTP/1.1\r\nHost: x\r\n\r\n", "elsewhere": "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
		} {
			conns[name] = l.dial()
			write(t, conns[name], text)
		}
		for _, name := range []string{"idle", "elsewhere"} {
			response(t, bufio.NewReader(conns[name]))
		}
		synctest.Wait()
		begin := time.Now()
		s.stop()
		for _, name := range []string{"new", "idle"} {
			if d := closedAfter(conns[name]); d != 0 {
				t.Errorf("%s: closed after %v", name, d)
			}
		}
		close(part)
		r := bufio.NewReader(conns["waiting"])
		if head, body := response(t, r); body != "hello" || head.Get("Connection") != "close" {
			t.Errorf("who waited got %q, %v", body, head)
		}
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) || time.Since(begin) != 0 {
			t.Errorf("who waited was closed with %v after %v", err, time.Since(begin))
		}
		for _, name := range []string{"half", "stuck"} {
			if closedAfter(conns[name]); time.Since(begin) != testConfig.DrainTime {
				t.Errorf("%s: closed after %v", name, time.Since(begin))
			}
		}
		s.wait()
		if s.connections() != 0 {
			t.Errorf("%d connections left", s.connections())
		}
		if d := closedAfter(conns["elsewhere"]); d != 0 {
			t.Errorf("a connection of net/http was closed after %v", d)
		}
	})
}

// Connections that nobody takes over are closed with the rest.
func TestStopWithoutNetHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		s := New(testConfig, l, hello, quiet, nil)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- s.Run(ctx) }()
		c := l.dial()
		write(t, c, "POST / HTTP/1.1\r\n")
		synctest.Wait()
		stop()
		if d := closedAfter(c); d != testConfig.DrainTime {
			t.Errorf("closed after %v", d)
		}
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if _, err := s.Rest().Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
	})
}

// flaky is a listener that has run out of files for a while.
type flaky struct {
	*pipes
	errors int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.errors > 0 {
		f.errors--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.pipes.Accept()
}

func TestAcceptErrorsPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &flaky{newPipes(), 20}
		s := newServing(t, l, hello, others)
		begin := time.Now()
		c := l.dial()
		write(t, c, request)
		if _, body := response(t, bufio.NewReader(c)); body != "hello" {
			t.Error(body)
		}
		if d := time.Since(begin); d < 10*time.Second || d > 20*time.Second {
			t.Errorf("20 errors took %v", d)
		}
		s.close()
	})
}

func TestRunEndsWithItsListener(t *testing.T) {
	l := newPipes()
	l.Close()
	if err := New(testConfig, l, hello, quiet, nil).Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}

func TestPanicEndsOneConnection(t *testing.T) {
	inBubble(t, answerFunc(func(_ context.Context, r hls.Request) ([]byte, bool) {
		if r.Path == "/hls/panic" {
			panic("a bug")
		}
		return []byte("hello"), true
	}), func(t *testing.T, l *pipes, _ *serving) {
		c := l.dial()
		write(t, c, "GET /hls/panic HTTP/1.1\r\nHost: x\r\n\r\n")
		if d := closedAfter(c); d != 0 {
			t.Errorf("closed after %v", d)
		}
		c = l.dial()
		write(t, c, request)
		if _, body := response(t, bufio.NewReader(c)); body != "hello" {
			t.Error(body)
		}
		c.Close()
	})
}

func TestReasonsAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	New(testConfig, newPipes(), hello, quiet, reg)
	n, err := testutil.GatherAndCount(reg, "onair_http_handed_over_total")
	if err != nil || n != int(verdicts-strange) {
		t.Errorf("%d labels, %v", n, err)
	}
	for v := strange; v < verdicts; v++ {
		if reasons[v] == "" || strings.ContainsAny(reasons[v], " _") {
			t.Errorf("verdict %d has the label %q", v, reasons[v])
		}
	}
}

func TestDateIsThatOfTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(testConfig, newPipes(), hello, quiet, nil)
		for range 5 {
			now := time.Now()
			want := "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"
			if got := s.appendDate(nil, now); !bytes.Equal(got, []byte(want)) {
				t.Errorf("%q, want %q", got, want)
			}
			time.Sleep(700 * time.Millisecond)
		}
	})
}

// elsewhere is an Answerer that has an answer for one path only.
type elsewhere struct{ answerFunc }

func (e elsewhere) Answer(ctx context.Context, r hls.Request, a *hls.Answer) bool {
	if a.Elsewhere = strings.HasPrefix(r.Path, "/hls/recording/"); a.Elsewhere {
		return true
	}
	return e.answerFunc.Answer(ctx, r, a)
}

// TestRecordingsAreHandedOver: what is asked for is answered by the handler that has it, and
// what came before it by the loop.
func TestRecordingsAreHandedOver(t *testing.T) {
	inBubble(t, elsewhere{hello}, func(t *testing.T, l *pipes, s *serving) {
		c := l.dial()
		r := bufio.NewReader(c)
		go func() { // a pipe keeps nothing: what is sent is read meanwhile
			write(t, c, request+"GET /hls/recording/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n"+request)
		}()
		for i, want := range []string{"hello", `net/http GET /hls/recording/index.m3u8 ""`, `net/http GET /hls/a/index.m3u8 ""`} {
			if _, body := response(t, r); body != want {
				t.Errorf("answer %d: %s, want %s", i, body, want)
			}
		}
		c.Close()
		if n := testutil.ToFloat64(s.handed[recording]); n != 1 {
			t.Errorf("%v connections counted as handed over", n)
		}
	})
}
