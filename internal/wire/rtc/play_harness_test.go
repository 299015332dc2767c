package rtc

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/mediatest"
)

// ServePlay lets in who knows the playback id, and shows them the station's fans.
func (s *station) ServePlay(ctx context.Context, r *PlayRequest) {
	if r.PlaybackID() != goodPlayback {
		r.Reject(fault.New(fault.NotFound, "watch", r.PlaybackID(), "the playback id is not known", "Check it"))
		return
	}
	s.mu.Lock()
	video, audio := s.video, s.audio
	s.requests = append(s.requests, r)
	s.mu.Unlock()
	v, a := media.UnknownCodec, media.UnknownCodec
	if r.Accepts(s.videoCodec()) {
		v = s.videoCodec()
	}
	if r.Accepts(media.Opus) {
		a = media.Opus
	}
	if r.Accept(ctx, v, a) != nil {
		return
	}
	r.Watch(video, audio)
	s.watching <- r
	select {
	case <-ctx.Done():
	case <-r.Done():
	}
}

func (s *station) videoCodec() media.Codec {
	if s.codec != media.UnknownCodec {
		return s.codec
	}
	return media.H264
}

const goodPlayback = "playback-id"

// show makes fans and plays generated media into them until the test is over.
func show(t *testing.T, h *host, st *station, o mediatest.Options) {
	t.Helper()
	st.mu.Lock()
	st.video = h.NewFan(FanOptions{RequestKey: func() { st.keys.Add(1) }})
	st.audio = h.NewFan(FanOptions{})
	st.mu.Unlock()
	feed(t, st, o, st.video, st.audio)
}

// feed writes generated media to fans, at the pace of the clock.
func feed(t *testing.T, st *station, o mediatest.Options, video, audio *Fan) {
	t.Helper()
	gen := mediatest.NewGenerator(o)
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		start := time.Now()
		var due time.Duration
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			for due < time.Since(start) {
				p := gen.Next()
				p.Arrival = time.Now()
				due = p.Track.Duration(p.DTS)
				fan := audio
				if p.Track.Kind() == media.Video {
					fan = video
				}
				if fan != nil {
					_ = fan.WritePacket(context.Background(), p)
				}
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		done.Wait()
	})
}

// watcher is a WebRTC client that watches.
type watcher struct {
	t        *testing.T
	pc       *webrtc.PeerConnection
	location string
	etag     string
	answer   string
	up       chan struct{}
	closed   chan struct{}
	readers  sync.WaitGroup

	mu      sync.Mutex
	got     map[string][]*rtp.Packet // by kind
	reports map[string][]*rtcp.SenderReport
	tracks  map[string]*webrtc.TrackRemote
	changed chan struct{}
}

// watcherOptions vary a watcher.
type watcherOptions struct {
	setting func(*webrtc.SettingEngine)
	drop    func(b []byte) bool // datagrams that do not come
	codecs  func(*webrtc.MediaEngine) error
}

// deaf is a network that loses what comes.
type deaf struct {
	*stdnet.Net
	drop func(b []byte) bool
}

func (n deaf) ListenUDP(network string, at *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.Net.ListenUDP(network, at)
	if err != nil {
		return nil, err
	}
	return deafConn{UDPConn: c, drop: n.drop}, nil
}

type deafConn struct {
	transport.UDPConn
	drop func(b []byte) bool
}

func (c deafConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.UDPConn.ReadFrom(b)
		if err != nil || !c.drop(b[:n]) {
			return n, from, err
		}
	}
}

func newWatcher(t *testing.T, o watcherOptions) *watcher {
	t.Helper()
	engine, reg := &webrtc.MediaEngine{}, &interceptor.Registry{}
	codecs := o.codecs
	if codecs == nil {
		codecs = (*webrtc.MediaEngine).RegisterDefaultCodecs
	}
	if err := codecs(engine); err != nil {
		t.Fatal(err)
	}
	reports, err := report.NewReceiverInterceptor(report.ReceiverInterval(200 * time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	reg.Add(reports)
	asks, err := nack.NewGeneratorInterceptor(nack.GeneratorInterval(20 * time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	reg.Add(asks)
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		engine.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC}, kind)
		if err := engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: extTWCC}, kind); err != nil {
			t.Fatal(err)
		}
	}
	feedback, err := twcc.NewSenderInterceptor(twcc.SendInterval(50 * time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	reg.Add(feedback)
	var set webrtc.SettingEngine
	set.SetIncludeLoopbackCandidate(true)
	set.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if o.setting != nil {
		o.setting(&set)
	}
	if o.drop != nil {
		network, err := stdnet.NewNet()
		if err != nil {
			t.Fatal(err)
		}
		set.SetNet(deaf{Net: network, drop: o.drop})
	}
	w := &watcher{t: t, up: make(chan struct{}), closed: make(chan struct{}), changed: make(chan struct{}),
		got: map[string][]*rtp.Packet{}, reports: map[string][]*rtcp.SenderReport{}, tracks: map[string]*webrtc.TrackRemote{}}
	w.pc, err = webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(reg), webrtc.WithSettingEngine(set)).
		NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	var up, closed sync.Once
	w.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			up.Do(func() { close(w.up) })
		case webrtc.PeerConnectionStateClosed, webrtc.PeerConnectionStateFailed:
			closed.Do(func() { close(w.closed) })
		}
	})
	w.pc.OnTrack(func(track *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		kind := track.Kind().String()
		w.mu.Lock()
		w.tracks[kind] = track
		w.mu.Unlock()
		w.readers.Go(func() { w.readReports(kind, r) })
		for {
			p, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.got[kind] = append(w.got[kind], p)
			w.wake()
			w.mu.Unlock()
		}
	})
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		if _, err := w.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *watcher) readReports(kind string, r *webrtc.RTPReceiver) {
	for {
		packets, _, err := r.ReadRTCP()
		if err != nil {
			return
		}
		w.mu.Lock()
		for _, p := range packets {
			if sr, ok := p.(*rtcp.SenderReport); ok {
				w.reports[kind] = append(w.reports[kind], sr)
			}
		}
		w.wake()
		w.mu.Unlock()
	}
}

func (w *watcher) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *watcher) close() {
	if w.pc == nil {
		return
	}
	if err := w.pc.GracefulClose(); err != nil {
		w.t.Error(err)
	}
	w.readers.Wait()
	w.pc = nil
}

// offer makes the offer, with all candidates.
func (w *watcher) offer() string {
	w.t.Helper()
	offer, err := w.pc.CreateOffer(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(w.pc)
	if err := w.pc.SetLocalDescription(offer); err != nil {
		w.t.Fatal(err)
	}
	<-gathered
	return w.pc.LocalDescription().SDP
}

// watch does what WHEP asks for, and waits for the connection.
func (w *watcher) watch(h *host) *watcher {
	w.t.Helper()
	w.post(h, w.offer())
	select {
	case <-w.up:
	case <-time.NewTimer(15 * time.Second).C:
		w.t.Fatalf("no connection\n%s", w.answer)
	}
	return w
}

func (w *watcher) post(h *host, offer string) {
	w.t.Helper()
	a := h.ask(w.t, http.MethodPost, "/whep/"+goodPlayback, offer, "Content-Type", typeSDP)
	if a.status != http.StatusCreated {
		w.t.Fatalf("the POST was answered with %d %s", a.status, a.body)
	}
	w.location, w.etag, w.answer = a.header.Get("Location"), a.header.Get("ETag"), a.body
	if err := w.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.body}); err != nil {
		w.t.Fatalf("the answer is not understood: %v\n%s", err, a.body)
	}
}

// request waits for a session as the server sees it, which shows it the station's fans by then.
func (s *station) request(t *testing.T) *PlayRequest {
	t.Helper()
	select {
	case r := <-s.watching:
		return r
	case <-time.NewTimer(15 * time.Second).C:
		t.Fatal("nobody came to watch")
		return nil
	}
}

// wait waits until ok is true of what came.
func (w *watcher) wait(what string, ok func(video, audio []*rtp.Packet) bool) {
	w.t.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	for {
		w.mu.Lock()
		video, audio, changed := w.got["video"], w.got["audio"], w.changed
		w.mu.Unlock()
		if ok(video, audio) {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			w.t.Fatalf("%s did not happen; %d packets of video and %d of audio came", what, len(video), len(audio))
		}
	}
}
