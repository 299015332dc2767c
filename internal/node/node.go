package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"onair/internal/control/api"
	"onair/internal/control/auth"
	"onair/internal/control/store"
	"onair/internal/control/web"
	"onair/internal/deliver/hls"
	"onair/internal/deliver/pack"
	"onair/internal/deliver/play"
	"onair/internal/deliver/shortcut"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/ingest"
	"onair/internal/wire/rtmp"
)

// Node is a whole server, listening but not yet serving.
type Node struct {
	log      *slog.Logger
	store    *store.Store
	auth     *auth.Auth
	bus      *event.Bus
	hub      *hub.Hub
	ingest   *ingest.Ingest
	play     *play.Player
	pack     *pack.Packer
	rtmp     *rtmp.Server
	listener net.Listener
	short    *shortcut.Server // nil: net/http serves all connections
	http     *http.Server
	draining atomic.Bool

	adminToken string
	newToken   bool
}

// New builds the server: it opens the database and the ports, so that what is wrong
// with the configuration or the machine is an error here.
func New(ctx context.Context, cfg Config, version string, log *slog.Logger) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{log: log, bus: event.NewBus()}
	if err := n.build(ctx, cfg, version); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (n *Node) build(ctx context.Context, cfg Config, version string) error {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(version))

	var err error
	if err = os.MkdirAll(cfg.Data, 0o750); err != nil {
		return fault.Wrap(fault.Unavailable, "make the data folder", cfg.Data, err,
			"Give the user that runs onair the right to write there, or choose another folder with --data.")
	}
	if n.store, err = store.Open(ctx, cfg.storeConfig(), n.log); err != nil {
		return err
	}
	if n.auth, err = auth.New(ctx, n.store, n.log, reg); err != nil {
		return err
	}
	if n.adminToken, n.newToken, err = n.auth.EnsureAdminToken(ctx, cfg.AdminToken); err != nil {
		return err
	}
	if n.rtmp, err = rtmp.Listen(cfg.RTMP, n.log, reg); err != nil {
		return err
	}
	if n.listener, err = listenHTTP(ctx, cfg.HTTP); err != nil {
		return err
	}

	gate := gate{n.auth}
	n.hub = hub.New(cfg.Hub, n.bus, n.log, reg)
	n.ingest = ingest.New(cfg.Ingest, gate, n.hub, n.bus, n.log, reg)
	n.play = play.New(cfg.Play, gate, n.hub, n.log, reg)
	n.pack = pack.New(cfg.Pack, n.hub, n.log, reg)
	viewers := hls.NewHandler(cfg.HLS, n.pack, gate, n.log, reg)

	control, err := api.New(api.Deps{
		Store: n.store, Auth: n.auth, Streams: streams{n.hub, viewers}, Bus: n.bus, Log: n.log, Registerer: reg,
		Version: version, PublicURL: cfg.PublicURL, RTMPPort: portOf(n.rtmp.Addr()),
	})
	if err != nil {
		return err
	}
	pages, err := web.New()
	if err != nil {
		return err
	}
	server := newHTTPServer(routes{
		media: viewers, control: control, pages: pages,
		metrics: metricsHandler(reg), health: n.health, ready: n.ready,
	}, n.log)
	server.RegisterOnShutdown(control.Drain)
	n.http = server
	n.listener = limitConnections(n.listener, cfg.HTTPMaxConnections, reg)
	if cfg.HTTPShortLoop {
		n.short = newShortLoop(n.listener, viewers, n.log, reg)
	}
	return nil
}

// AdminToken returns the administrator's token when it was made by this start, and
// false when it is known already: it is shown once.
func (n *Node) AdminToken() (string, bool) { return n.adminToken, n.newToken }

// HTTPAddr is where the pages, the API and HLS are served.
func (n *Node) HTTPAddr() net.Addr { return n.listener.Addr() }

// RTMPAddr is where encoders connect; nil when RTMP is off.
func (n *Node) RTMPAddr() net.Addr { return n.rtmp.Addr() }

// The phases of a stop, which takes less than five seconds in all.
const (
	viewerTime     = 2 * time.Second // for viewers to fetch the end of their playlists
	connectionTime = 1 * time.Second // for connections to end by themselves
)

// Run serves until ctx ends, and then stops in order: publishers are told, the
// streams end, viewers get the end of their playlists, and the rest is closed.
func (n *Node) Run(ctx context.Context) error {
	defer n.Close()
	// Encoders, packagers and HTTP outlive ctx by their phase of the drain.
	publishers, stopPublishers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPublishers()
	packagers, stopPackagers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPackagers()

	viewers, stopViewers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopViewers()
	g, failed := errgroup.WithContext(ctx)
	g.Go(func() error { return n.rtmp.Run(publishers, n) })
	g.Go(func() error { return n.pack.Run(packagers) })
	connections := n.listener
	if n.short != nil {
		connections = n.short.Rest()
		g.Go(func() error { return n.short.Run(viewers) })
	}
	g.Go(func() error {
		if err := n.http.Serve(connections); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve HTTP: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-failed.Done()
		n.drain(stopPublishers, stopViewers, stopPackagers)
		return nil
	})
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (n *Node) drain(stopPublishers, stopViewers, stopPackagers func()) {
	streams := n.hub.Snapshots()
	n.log.Info("stopping", "streams", len(streams))
	n.draining.Store(true)
	bye := fault.New(fault.Unavailable, "publish", "", "the server is stopping", "Connect again in a moment.")
	n.hub.Close(bye)
	stopPublishers()
	if len(streams) > 0 {
		// Players that wait for a part get the end at once; those that poll come for it.
		<-time.After(viewerTime)
	}

	stopViewers() // the short loop takes connectionTime by itself
	ctx, cancel := context.WithTimeout(context.Background(), connectionTime)
	defer cancel()
	if err := n.http.Shutdown(ctx); err != nil {
		// Event feeds and slow readers do not end by themselves.
		n.log.Debug("closing connections that did not end", "error", err)
		n.http.Close()
	}
	stopPackagers()
}

// ServePublish implements rtmp.Handler.
func (n *Node) ServePublish(ctx context.Context, r *rtmp.PublishRequest) {
	if err := n.ingest.Serve(ctx, r); err != nil {
		n.log.Info("publisher left", "protocol", "rtmp", "peer", r.Peer().String(), "reason", err.Error())
	}
}

// ServePlay implements rtmp.Handler.
func (n *Node) ServePlay(ctx context.Context, r *rtmp.PlayRequest) {
	if err := n.play.Serve(ctx, r); err != nil {
		n.log.Info("viewer left", "protocol", "rtmp", "peer", r.Peer().String(), "reason", err.Error())
	}
}

// Close gives back what New took. Run does it too, so only a node that never ran needs it.
func (n *Node) Close() {
	if n.rtmp != nil {
		n.rtmp.Close()
	}
	if n.listener != nil {
		n.listener.Close()
	}
	if n.store != nil {
		n.store.Close()
	}
}

func (n *Node) health(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "ok")
}

func (n *Node) ready(w http.ResponseWriter, r *http.Request) {
	if n.draining.Load() {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return
	}
	if err := n.store.Ping(r.Context()); err != nil {
		n.log.Warn("not ready", "error", err)
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func portOf(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}
