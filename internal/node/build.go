package node

import (
	"context"
	"net/http"
	"net/netip"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"onair/internal/clip"
	"onair/internal/control/api"
	"onair/internal/control/auth"
	"onair/internal/control/chat"
	"onair/internal/control/doctor"
	"onair/internal/control/golive"
	"onair/internal/control/retention"
	"onair/internal/control/steer"
	"onair/internal/control/store"
	"onair/internal/control/web"
	"onair/internal/deliver/audience"
	"onair/internal/deliver/dash"
	"onair/internal/deliver/hls"
	"onair/internal/deliver/images"
	"onair/internal/deliver/pack"
	"onair/internal/deliver/play"
	"onair/internal/deliver/replay"
	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/ingest"
	"onair/internal/ingest/pull"
	"onair/internal/record"
	"onair/internal/record/bucket"
	"onair/internal/record/spool"
	"onair/internal/slate"
	"onair/internal/transcode"
	"onair/internal/wire/guard"
	"onair/internal/wire/rtc"
	"onair/internal/wire/rtmp"
	"onair/internal/wire/srt"
)

// build opens what can be refused first (database, certificate, ports), then makes the
// parts and joins them.
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
	if err = n.listen(ctx, cfg, reg); err != nil {
		return err
	}

	n.hub = hub.New(cfg.Hub, n.bus, n.log, reg)
	gate := gate{n}
	n.doctor = doctor.New(cfg.Doctor, n.bus, n.log, reg)
	n.doctor.SetDecoder(confined(cfg.FFmpeg, cfg.Doctor.FFmpeg, false, n.log))
	n.ingest = ingest.New(cfg.Ingest, gate, n.hub, n.bus, n.log, reg)
	publishers := newPublishers(n.hub, n.doctor)
	n.ingest.SetMonitor(publishers)
	if cfg.Slate.File != "" {
		picture, err := slate.New(ctx, cfg.Slate)
		if err != nil {
			return err
		}
		n.ingest.SetSlate(picture)
	}
	n.tools = newToolbox(cfg.FFmpeg, n.log, reg)
	if cfg.Transcode.Mode != transcode.Off {
		n.tools.want()
	}
	n.transcode = transcode.New(cfg.Transcode, n.hub, nil, ladders{n.store}, n.bus, n.log, reg)
	n.play = play.New(cfg.Play, gate, n.hub, n.log, reg)
	n.realtime = play.NewRealtime(cfg.Realtime, gate, n.hub, n.transcode, fanMaker(n.rtc), n.log, reg)
	n.realtime.SetKeyFrames(n.ingest)
	n.steer = steer.New(cfg.Steer, n.realtime, realtimeLimits{n.store, cfg.Steer.Viewers}, n.log, reg)
	n.realtime.SetLimits(n.steer)
	call := caller{guard.New(cfg.AllowPrivate)}
	n.restream = play.NewRestreamer(cfg.Restream, n.hub, targets{n.store}, call.send, n.log, reg)
	n.pack = pack.New(cfg.packConfig(), n.hub, n.log, reg)
	if err := n.buildRecording(ctx, cfg, reg); err != nil {
		return err
	}
	n.restore(ctx)
	n.broadcasts.settle(ctx)
	crowds := audience.New(cfg.HLS.Audience())
	viewers := hls.NewHandler(cfg.HLS, n.pack, directory{gate}, n.transcode, crowds, n.log, reg)
	manifests := dash.NewHandler(cfg.DASH, n.pack, directory{gate}, n.transcode, crowds, n.log, reg)
	viewers.SetOthers(replay.NewHandler(cfg.Replay, recordings{n.library}, n.assetOf, n.log, reg))
	viewers.SetPast(replay.NewPast(cfg.Replay, recordings{n.library}, n.broadcasts.replays.active, reg))
	viewers.SetRecorded(n.broadcasts.replays.recorded)
	manifests.SetOthers(replay.NewDASH(cfg.Replay, recordings{n.library}, n.assetOf, n.log, reg))
	pictures := images.NewHandler(cfg.Images, n.pack, gate, n.tools, n.log, reg)
	pictures.SetRecordings(recordings{n.library}, n.assetOf, n.broadcasts.replays.active)
	viewers.SetPictures(illustrated{pictures, n.tools})
	manifests.SetPictures(illustrated{pictures, n.tools})

	watched := streams{n.hub, viewers, n.play, n.realtime}
	n.pull = pull.New(cfg.Pull, pull.Deps{
		Sources: sources{n.store}, Serve: n.publish, Guard: call.guard, Hub: n.hub,
		Dial:     map[string]pull.Dial{"rtmp": call.receive, "rtmps": call.receive, "srt": call.receive},
		Watched:  func(id string) bool { return watched.Viewers(id) > 0 },
		Confiner: confined(cfg.FFmpeg, cfg.Pull.FFmpeg, true, n.log),
	}, n.log, reg)

	proxies, err := cfg.API.Proxies()
	if err != nil {
		return err
	}
	encoding := encoding{cfg.Transcode, n.transcode, n.tools}
	kept := assets{n.library, n.broadcasts.replays}
	n.retention = retention.New(retention.Assets{Store: n.store, Recordings: kept, Forget: n.auth.Forget, Bus: n.bus}, n.log, reg)
	deps := api.Deps{
		Store: n.store, Auth: n.auth, Streams: watched, Bus: n.bus, Log: n.log, Registerer: reg,
		Version: version, PublicURL: cfg.PublicURL, TrustedProxies: proxies,
		RTMPPort: portOf(n.rtmp.Addr()), RTMPSPort: portOf(n.rtmp.AddrTLS()), SRTPort: portOf(n.srt.Addr()),
		WHIP: n.rtc.Addr() != nil, GoLive: n.rtmp.Addr() != nil || n.rtmp.AddrTLS() != nil,
		Doctor: n.doctor, Targets: restreams{n.restream}, Pulls: pulls{n.pull}, Ingests: publishers,
		WHEP: n.rtc.Addr() != nil, DASH: true, Images: true, RealtimeViewers: cfg.Steer.Viewers, Steer: steerer{n.steer},
		Assets:      kept,
		Clips:       clips{n.clips, recordings{n.library}},
		Past:        n.broadcasts.replays.active,
		CheckLadder: encoding.check, Ladder: encoding, Encoding: encoding,
	}
	var control *api.API
	talk := http.NotFoundHandler()
	if cfg.Chat.MaxConnections > 0 {
		client := func(r *http.Request) netip.Addr { return control.Client(r) }
		if n.chat, err = chat.New(ctx, cfg.Chat, chat.Deps{Store: n.store, Admit: n.auth.StreamOf, Client: client, Bus: n.bus, Log: n.log, Reg: reg}); err != nil {
			return err
		}
		talk, deps.Chat = n.chat, n.chat
	}
	if control, err = api.New(deps); err != nil {
		return err
	}
	questions, err := golive.New(golive.Deps{Stream: multitrack{n.auth, cfg.PublicURL, portOf(n.rtmp.Addr()), portOf(n.rtmp.AddrTLS())}.stream, Log: n.log, Reg: reg})
	if err != nil {
		return err
	}
	pages, err := web.New()
	if err != nil {
		return err
	}
	files := replay.NewFiles(cfg.Replay, recordings{n.library}, downloads{control, n.store}.admit, n.log, reg)
	server := newHTTPServer(routes{
		media: viewers, control: control, pages: pages, whip: n.rtc.WHIP(), whep: n.rtc.WHEP(), dash: manifests, images: pictures, files: files, golive: questions, chat: talk,
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

// buildRecording opens the folder of recordings, and the bucket behind it, and reads what is
// in them.
func (n *Node) buildRecording(ctx context.Context, cfg Config, reg prometheus.Registerer) (err error) {
	if n.folder, err = record.NewFolder(cfg.recordings()); err != nil {
		return err
	}
	var storage interface {
		record.Storage
		record.Journals
	} = n.folder
	if cfg.Bucket.Enabled() {
		if n.bucket, err = bucket.New(cfg.Bucket, n.log); err != nil {
			return err
		}
		if n.spool, err = spool.New(cfg.Spool, n.folder, n.bucket, n.bus, n.log, reg); err != nil {
			return err
		}
		storage = n.spool
	}
	cfg.Record.ReadyUntold = true // broadcasts tells it
	n.library = record.New(cfg.Record, storage, storage, n.bus, n.log, reg)
	n.broadcasts = &broadcasts{store: n.store, bus: n.bus, library: n.library, pack: n.pack, hub: n.hub, log: n.log, replays: &replays{store: n.store}}
	n.clips = clip.New(cfg.Clip, n.library, n.tools, n.broadcasts.clipped, n.bus, n.log, reg)
	return n.library.Load(ctx)
}

// listen opens every port.
func (n *Node) listen(ctx context.Context, cfg Config, reg prometheus.Registerer) error {
	certificates, err := tlsConfig(cfg.TLS, n.log)
	if err != nil {
		return err
	}
	if n.rtmp, err = rtmp.Listen(cfg.RTMP, certificates, n.log, reg); err != nil {
		return err
	}
	if n.srt, err = srt.Listen(cfg.SRT, n.auth, n.log, reg); err != nil {
		return err
	}
	if n.rtc, err = rtc.New(cfg.RTC, n.log, reg); err != nil {
		return err
	}
	n.listener, err = listenHTTP(ctx, cfg.HTTP)
	return err
}
