package node

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"onair/internal/deliver/replay"
	"onair/internal/deliver/shortcut"
	"onair/internal/fault"
)

// Bounds of an HTTP connection. A head must be complete within headTime, however many
// bytes of it trickle in, and an answer be given and taken within answerTime; bodies,
// media and feeds have deadlines of their own where they are served.
const (
	headTime   = 5 * time.Second
	answerTime = 2 * time.Minute
	idleTime   = 90 * time.Second
	headSize   = 16 << 10
)

// routes are the parts behind the one HTTP mux.
type routes struct {
	media, control, pages, metrics http.Handler
	whip, whep, golive             http.Handler
	dash, images, files, chat      http.Handler
	health, ready                  http.HandlerFunc
}

// ServeHTTP hands the request to its part. Media comes first and by prefix alone: it
// is nearly every request.
func (r routes) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	// Not every ResponseWriter has deadlines; those of net/http's server have. They hold
	// for the connection, so that each of its requests sets its own.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
	path := req.URL.Path
	switch {
	case strings.HasPrefix(path, "/hls/"):
		r.media.ServeHTTP(w, req)
	case replay.IsFile(path):
		r.files.ServeHTTP(w, req)
	case path == "/v1" || strings.HasPrefix(path, "/v1/"):
		r.control.ServeHTTP(w, req)
	case path == "/whip" || strings.HasPrefix(path, "/whip/"):
		r.whip.ServeHTTP(w, req)
	case strings.HasPrefix(path, "/dash/"):
		r.dash.ServeHTTP(w, req)
	case strings.HasPrefix(path, "/images/"):
		r.images.ServeHTTP(w, req)
	case strings.HasPrefix(path, "/whep/"):
		r.whep.ServeHTTP(w, req)
	case strings.HasPrefix(path, "/chat/"):
		req.SetPathValue("id", strings.TrimPrefix(path, "/chat/"))
		r.chat.ServeHTTP(w, req)
	case path == "/golive":
		r.golive.ServeHTTP(w, req)
	case path == "/healthz":
		r.health(w, req)
	case path == "/readyz":
		r.ready(w, req)
	case path == "/metrics":
		r.metrics.ServeHTTP(w, req)
	default:
		r.pages.ServeHTTP(w, req)
	}
}

func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headSize,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// newShortLoop returns what answers most requests for media in front of the HTTP server.
// It judges heads and idle connections by the server's times.
func newShortLoop(l net.Listener, a shortcut.Answerer, log *slog.Logger, reg prometheus.Registerer) *shortcut.Server {
	cfg := shortcut.Config{HeadTime: headTime, IdleTime: idleTime, DrainTime: connectionTime}
	return shortcut.New(cfg, l, a, log, reg)
}

func listenHTTP(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		_, port, _ := net.SplitHostPort(address)
		return nil, fault.Wrap(fault.Conflict, "listen for HTTP on", address, err,
			"If port "+port+" is in use, choose another: --http :8081.")
	}
	return l, nil
}

func metricsHandler(reg *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "onair_build_info", Help: "Always 1; its label tells the version.",
	}, []string{"version"})
	g.WithLabelValues(version).Set(1)
	return g
}

// limitedListener closes connections beyond a number of open ones at once, so that a
// flood of them takes no memory and those that are open go on.
type limitedListener struct {
	net.Listener
	slots    chan struct{}
	open     prometheus.Gauge
	rejected prometheus.Counter
}

func limitConnections(l net.Listener, limit int, reg prometheus.Registerer) net.Listener {
	limited := &limitedListener{
		Listener: l,
		slots:    make(chan struct{}, limit),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onair_http_connections", Help: "Open HTTP connections.",
		}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_http_connections_rejected_total", Help: "HTTP connections closed because too many were open.",
		}),
	}
	reg.MustRegister(limited.open, limited.rejected)
	return limited
}

// Accept returns the next connection that has a slot.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			l.open.Inc()
			return &limitedConn{Conn: c, listener: l}, nil
		default:
			l.rejected.Inc()
			c.Close()
		}
	}
}

type limitedConn struct {
	net.Conn
	listener *limitedListener
	release  sync.Once
}

// NetConn returns the connection below, which can do more than a net.Conn.
func (c *limitedConn) NetConn() net.Conn { return c.Conn }

// Close closes the connection and gives its slot back.
func (c *limitedConn) Close() error {
	c.release.Do(func() {
		<-c.listener.slots
		c.listener.open.Dec()
	})
	return c.Conn.Close()
}
