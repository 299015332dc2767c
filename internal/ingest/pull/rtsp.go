package pull

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"onair/internal/fault"
)

const (
	// maxRTSPHead and maxRTSPBody bound a message of an RTSP server, in bytes.
	maxRTSPHead = 64 << 10
	maxRTSPBody = 1 << 20
)

// relay stands between ffmpeg and an RTSP server. It makes the one connection where the guard
// allows, and lets no redirect through: ffmpeg would follow it by itself.
type relay struct {
	url  string // what ffmpeg is called with: everybody may see it
	real string // where the relay sends it from there, with what is secret
	done chan struct{}

	mu  sync.Mutex
	err error
}

// startRelay connects to the server and waits for ffmpeg on the loopback interface. It ends
// with ctx.
func (p *Puller) startRelay(ctx context.Context, u *url.URL) (*relay, error) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"rtsp": "554", "rtsps": "322"}[u.Scheme]
	}
	far, err := p.proxy.dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		if fault.Is(err, fault.Forbidden) {
			return nil, err
		}
		return nil, fault.Wrap(fault.Unavailable, "connect to", u.Host, err, "Check the address.")
	}
	if u.Scheme == "rtsps" {
		far = tls.Client(far, &tls.Config{ServerName: u.Hostname()})
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		_ = far.Close()
		return nil, fault.Wrap(fault.Unavailable, "listen for", "an RTSP source", err, "")
	}
	local := *u
	local.Scheme, local.Host = "rtsp", l.Addr().String()
	r := &relay{url: "rtsp://" + local.Host, real: local.String(), done: make(chan struct{})}
	go r.run(ctx, l, far)
	return r, nil
}

func (r *relay) run(ctx context.Context, l net.Listener, far net.Conn) {
	defer close(r.done)
	stop := context.AfterFunc(ctx, func() { _, _ = l.Close(), far.Close() })
	defer stop()
	var near net.Conn
	err := r.introduce(ctx, l)
	if err == nil {
		near, err = l.Accept()
	}
	_ = l.Close() // no further connection is taken
	if err != nil {
		_ = far.Close()
		return
	}
	join(ctx, near, far, near, &rtspFilter{in: bufio.NewReaderSize(far, maxRTSPHead), failed: r.fail})
}

// introduce answers the first request with the address proper (RFC 2326, section 11.2).
func (r *relay) introduce(ctx context.Context, l net.Listener) error {
	near, err := l.Accept()
	if err != nil {
		return err
	}
	closeNear := func() { _ = near.Close() }
	defer closeNear()
	defer context.AfterFunc(ctx, closeNear)()
	in, sequence := bufio.NewReader(io.LimitReader(near, maxRTSPHead)), ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.TrimSpace(line) == "" {
			break
		}
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "cseq") {
			sequence = strings.TrimSpace(value)
		}
	}
	_, err = fmt.Fprintf(near, "RTSP/1.0 302 Found\r\nCSeq: %s\r\nLocation: %s\r\n\r\n", sequence, r.real)
	return err
}

func (r *relay) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// failure is why the relay cut the connection; nil if it did not.
func (r *relay) failure() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// wait returns when the relay is done.
func (r *relay) wait() {
	if r != nil {
		<-r.done
	}
}

// rtspFilter lets the messages of a server through (RFC 2326, sections 6, 7 and 10.12), one
// by one, until one would lead elsewhere.
type rtspFilter struct {
	in     *bufio.Reader
	out    []byte // what was let through and not read yet
	body   int    // how much of the present message follows as it is
	failed func(error)
}

// Read implements io.Reader.
func (f *rtspFilter) Read(b []byte) (int, error) {
	if len(f.out) > 0 {
		n := copy(b, f.out)
		f.out = f.out[n:]
		return n, nil
	}
	if f.body > 0 {
		n, err := f.in.Read(b[:min(len(b), f.body)])
		f.body -= n
		return n, err
	}
	first, err := f.in.Peek(1)
	if err != nil {
		return 0, err
	}
	if first[0] == '$' { // interleaved media
		head := make([]byte, 4)
		if _, err := io.ReadFull(f.in, head); err != nil {
			return 0, err
		}
		f.out, f.body = head, int(binary.BigEndian.Uint16(head[2:]))
		return f.Read(b)
	}
	if err := f.message(); err != nil {
		return 0, err
	}
	return f.Read(b)
}

func (f *rtspFilter) message() error {
	var head []byte
	for {
		line, err := f.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(head)+len(line) > maxRTSPHead {
			return f.refuse(fault.New(fault.TooLarge, "pull", "", "the head of an RTSP message is too large", ""))
		}
		if len(head) == 0 && elsewhere(string(line)) {
			return f.refuse(fault.New(fault.Forbidden, "pull", "", "the RTSP server sends to another address", "Use that address as the source."))
		}
		head = append(head, line...)
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.EqualFold(strings.TrimSpace(name), "content-length") {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil || n < 0 || n > maxRTSPBody {
				return f.refuse(fault.New(fault.TooLarge, "pull", "", fmt.Sprintf("the body of an RTSP message is over %d bytes", maxRTSPBody), ""))
			}
			f.body = n
		}
	}
	f.out = head
	return nil
}

func (f *rtspFilter) refuse(err error) error {
	f.failed(err)
	return err
}

// elsewhere reports whether the first line of a message redirects.
func elsewhere(line string) bool {
	words := strings.Fields(line)
	if len(words) > 1 && strings.HasPrefix(words[0], "RTSP/") {
		return strings.HasPrefix(words[1], "3")
	}
	return len(words) > 0 && words[0] == "REDIRECT"
}
