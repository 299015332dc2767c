package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"onair/internal/clip"
	"onair/internal/control/auth"
	"onair/internal/control/chat"
	"onair/internal/control/doctor"
	"onair/internal/control/retention"
	"onair/internal/control/steer"
	"onair/internal/control/store"
	"onair/internal/deliver/pack"
	"onair/internal/deliver/play"
	"onair/internal/deliver/shortcut"
	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/ingest"
	"onair/internal/ingest/pull"
	"onair/internal/record"
	"onair/internal/record/bucket"
	"onair/internal/record/spool"
	"onair/internal/transcode"
	"onair/internal/wire/rtc"
	"onair/internal/wire/rtmp"
	"onair/internal/wire/srt"
)

// Node is a whole server, listening but not yet serving.
type Node struct {
	log        *slog.Logger
	store      *store.Store
	auth       *auth.Auth
	bus        *event.Bus
	hub        *hub.Hub
	ingest     *ingest.Ingest
	play       *play.Player
	realtime   *play.Realtime
	steer      *steer.Steer
	tools      *toolbox
	transcode  *transcode.Transcoder
	restream   *play.Restreamer
	pull       *pull.Puller
	pack       *pack.Packer
	folder     *record.Folder
	bucket     *bucket.Bucket // nil: recordings stay in the folder
	spool      *spool.Spool   // nil as bucket
	library    *record.Library
	clips      *clip.Maker
	retention  *retention.Keeper
	chat       *chat.Server // nil: chat is off
	broadcasts *broadcasts
	doctor     *doctor.Doctor
	rtmp       *rtmp.Server
	srt        *srt.Server
	rtc        *rtc.Server
	listener   net.Listener
	short      *shortcut.Server // nil: net/http serves all connections
	http       *http.Server
	draining   atomic.Bool

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

// AdminToken returns the administrator's token when it was made by this start, and
// false when it is known already: it is shown once.
func (n *Node) AdminToken() (string, bool) { return n.adminToken, n.newToken }

// HTTPAddr is where the pages, the API and HLS are served.
func (n *Node) HTTPAddr() net.Addr { return n.listener.Addr() }

// RTMPAddr is where encoders connect; nil when RTMP is off. The same holds for the others.
func (n *Node) RTMPAddr() net.Addr { return n.rtmp.Addr() }

// RTMPSAddr is where encoders connect with TLS.
func (n *Node) RTMPSAddr() net.Addr { return n.rtmp.AddrTLS() }

// SRTAddr is where encoders connect over SRT.
func (n *Node) SRTAddr() net.Addr { return n.srt.Addr() }

// WebRTCAddr is where browsers send their media.
func (n *Node) WebRTCAddr() net.Addr { return n.rtc.Addr() }

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
	g.Go(func() error { return n.rtmp.Run(publishers, rtmpHandler{n}) })
	g.Go(func() error { return n.srt.Run(publishers, srtHandler{n}) })
	g.Go(func() error { return n.rtc.Run(publishers, rtcHandler{n}) })
	g.Go(func() error { return n.ingest.Run(publishers) })
	g.Go(func() error { return n.doctor.Run(publishers) })
	g.Go(func() error { return n.restream.Run(publishers) })
	g.Go(func() error { return n.tools.run(publishers) })
	g.Go(func() error { return n.runTranscoder(publishers) })
	g.Go(func() error { return n.steer.Run(publishers) })
	g.Go(func() error { return n.pull.Run(publishers) })
	g.Go(func() error { return n.pack.Run(packagers) })
	g.Go(func() error { return n.broadcasts.run(packagers) })
	g.Go(func() error { return n.clips.Run(publishers) })
	g.Go(func() error { return n.retention.Run(publishers) })
	if n.chat != nil {
		g.Go(func() error { return n.chat.Run(viewers) })
	}
	if n.spool != nil {
		g.Go(func() error { return n.spool.Run(packagers) })
	}
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

// Close gives back what New took. Run does it too, so only a node that never ran needs it.
func (n *Node) Close() {
	if n.rtmp != nil {
		n.rtmp.Close()
	}
	if n.srt != nil {
		n.srt.Close()
	}
	if n.rtc != nil {
		n.rtc.Close()
	}
	if n.listener != nil {
		n.listener.Close()
	}
	if n.bucket != nil {
		n.bucket.Close()
	}
	if n.folder != nil {
		_ = n.folder.Close() // its files are synced
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
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.Port
	case *net.UDPAddr:
		return a.Port
	default:
		return 0
	}
}

// addressOf is an address for people; a peer may have none.
func addressOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
