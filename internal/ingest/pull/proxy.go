package pull

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"onair/internal/fault"
)

const (
	// maxProxied is the number of connections that all sources make through the proxy.
	maxProxied = 1024
	// proxyDial and proxyHead bound connecting, and waiting for an answer's head.
	proxyDial = 10 * time.Second
	proxyHead = 30 * time.Second
	// statusForbidden is what the proxy says where the guard forbids; servers hardly ever do,
	// so that it can be told from their own refusals.
	statusForbidden = http.StatusMisdirectedRequest
	// hiddenHost is no host (RFC 2606): sources that the proxy hides are there.
	hiddenHost = "source.invalid"
	// maxExtension is how long the end of a file's name may be to be shown, with its dot.
	maxExtension = 5
)

// proxy is an HTTP proxy on the loopback interface, which connects only where the guard
// allows. Redirects go back to who asked, who asks for them here too.
type proxy struct {
	dialer    net.Dialer
	transport *http.Transport
	address   atomic.Pointer[string]
	slots     chan struct{}

	mu     sync.Mutex
	hidden map[string]string // addresses of sources by what stands for them, one a child
}

func newProxy(g Guard) *proxy {
	p := &proxy{dialer: net.Dialer{Timeout: proxyDial}, slots: make(chan struct{}, maxProxied), hidden: map[string]string{}}
	if g != nil {
		p.dialer.Control = g.Control
	}
	p.transport = &http.Transport{
		DialContext: p.dialer.DialContext, ResponseHeaderTimeout: proxyHead, DisableCompression: true,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: proxyHead,
	}
	return p
}

// url is where the proxy is.
func (p *proxy) url() string {
	if a := p.address.Load(); a != nil {
		return "http://" + *a
	}
	return "http://127.0.0.1:9" // refuses: without the proxy nothing is fetched
}

// hide returns an address that stands for another, whose secrets everybody would see among
// the arguments of ffmpeg. Until it is to forget it the proxy redirects from there to the
// other: ffmpeg asks again when it seeks.
func (p *proxy) hide(u *url.URL) (address string, forget func()) {
	stand := &url.URL{Scheme: "http", Host: hiddenHost, Path: "/" + rand.Text()}
	if ext := path.Ext(u.Path); len(ext) <= maxExtension { // ffmpeg tells formats by it
		stand.Path += ext
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hidden[stand.Path] = u.String()
	return stand.String(), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.hidden, stand.Path)
	}
}

// reveal returns what is hidden behind an address, if anything is.
func (p *proxy) reveal(stand string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	address, ok := p.hidden[stand]
	return address, ok
}

// run serves until ctx ends.
func (p *proxy) run(ctx context.Context, l net.Listener) {
	address := l.Addr().String()
	p.address.Store(&address)
	var tunnels sync.WaitGroup
	s := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(ctx, w, r, &tunnels) }),
		ReadHeaderTimeout: proxyDial, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	_ = s.Serve(l)
	stop()
	tunnels.Wait()
	p.transport.CloseIdleConnections()
}

func (p *proxy) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, tunnels *sync.WaitGroup) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return
	}
	if r.Method == http.MethodConnect {
		tunnels.Add(1)
		defer tunnels.Done()
		p.tunnel(ctx, w, r)
		return
	}
	if r.URL.Scheme != "http" || r.URL.Host == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "not for a proxy", http.StatusBadRequest)
		return
	}
	if r.URL.Hostname() == hiddenHost {
		address, ok := p.reveal(r.URL.Path)
		if !ok {
			http.Error(w, "nothing is hidden here", http.StatusNotFound)
			return
		}
		w.Header().Set("Location", address)
		w.WriteHeader(http.StatusFound)
		return
	}
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.Header.Del("Proxy-Connection")
	out.Header.Del("Proxy-Authorization")
	answer, err := p.transport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	defer func() { _ = answer.Body.Close() }()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

func statusOf(err error) int {
	if fault.Is(err, fault.Forbidden) {
		return statusForbidden
	}
	return http.StatusBadGateway
}

func (p *proxy) tunnel(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	far, err := p.dialer.DialContext(ctx, "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = far.Close()
		return
	}
	if _, err := near.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_, _ = far.Close(), near.Close()
		return
	}
	join(ctx, near, far, buffered, far)
}

// join copies both ways until one end is done, or ctx is, and closes both. What comes from
// near and far is read through the readers.
func join(ctx context.Context, near, far net.Conn, fromNear, fromFar io.Reader) {
	closeBoth := func() { _, _ = near.Close(), far.Close() }
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()
	var other sync.WaitGroup
	other.Add(1)
	go func() {
		defer other.Done()
		_, _ = io.Copy(far, fromNear)
		closeBoth()
	}()
	_, _ = io.Copy(near, fromFar)
	closeBoth()
	other.Wait()
}
