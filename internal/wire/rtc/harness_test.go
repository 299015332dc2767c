package rtc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"onair/internal/fault"
	"onair/internal/media"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const goodKey = "key-of-the-stream"

// errKey is what a station says to a wrong key.
var errKey = fault.New(fault.Unauthorized, "publish", "", "the stream key is not known", "Check it")

// station is a handler that admits by key and keeps what it got.
type station struct {
	admit func(r *PublishRequest) error

	mu      sync.Mutex
	packets []*media.Packet
	last    *PublishRequest
	ended   error
	changed chan struct{}
	over    chan struct{} // one value for every request that ended

	// What viewers are shown.
	codec        media.Codec
	video, audio *Fan
	keys         atomic.Int32 // key frames that were asked for
	requests     []*PlayRequest
	watching     chan *PlayRequest // those that were shown the fans
}

func newStation() *station {
	return &station{
		admit: func(r *PublishRequest) error {
			if r.Key() != goodKey {
				return errKey
			}
			return nil
		},
		changed: make(chan struct{}), over: make(chan struct{}, 4096), watching: make(chan *PlayRequest, 4096),
	}
}

func (s *station) ServePublish(ctx context.Context, r *PublishRequest) {
	defer func() { s.over <- struct{}{} }()
	if err := s.admit(r); err != nil {
		r.Reject(err)
		return
	}
	if err := r.Accept(ctx); err != nil {
		r.Close(err)
		return
	}
	s.mu.Lock()
	s.last = r
	s.mu.Unlock()
	for {
		p, err := r.ReadPacket(ctx)
		s.mu.Lock()
		if err != nil {
			s.ended = err
			s.wake()
			s.mu.Unlock()
			r.Close(err)
			return
		}
		s.packets = append(s.packets, p)
		s.wake()
		s.mu.Unlock()
	}
}

func (s *station) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait waits until ok is true of what came.
func (s *station) wait(t *testing.T, what string, ok func(packets []*media.Packet) bool) []*media.Packet {
	t.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		packets, changed, ended := s.packets, s.changed, s.ended
		s.mu.Unlock()
		if ok(packets) {
			return packets
		}
		select {
		case <-changed:
		case <-deadline.C:
			n := map[int]int{}
			for _, p := range packets {
				n[p.Track.ID]++
			}
			t.Fatalf("%s did not happen; packets of the tracks: %v, ended with %v", what, n, ended)
		}
	}
}

func (s *station) waitEnd(t *testing.T) error {
	t.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	select {
	case <-s.over:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.ended
	case <-deadline.C:
		t.Fatal("the session did not end")
		return nil
	}
}

// of returns the packets of a track.
func of(packets []*media.Packet, id int) []*media.Packet {
	var out []*media.Packet
	for _, p := range packets {
		if p.Track.ID == id {
			out = append(out, p)
		}
	}
	return out
}

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	return cfg
}

// host is a running server and the web server before it.
type host struct {
	*Server
	url string
	reg *prometheus.Registry
}

// serve runs a server until the test is over.
func serve(t *testing.T, cfg Config, h Handler) *host {
	t.Helper()
	reg := prometheus.NewRegistry()
	s, err := New(cfg, nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/whep/", s.WHEP())
	mux.Handle("/", s.WHIP())
	web := httptest.NewServer(mux)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx, h); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		web.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	// Run has to have begun.
	for s.running() == nil {
		<-time.NewTimer(time.Millisecond).C
	}
	return &host{Server: s, url: web.URL, reg: reg}
}

func (s *Server) running() Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handler
}

// count reads a counter or gauge with its label, if it has one.
func (h *host) count(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := h.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request; header are pairs.
func (h *host) ask(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: string(b)}
}

// sender is a WebRTC client that publishes.
type sender struct {
	t        *testing.T
	pc       *webrtc.PeerConnection
	location string
	etag     string
	answer   string
	// plis counts the key frames that were asked for.
	mu   sync.Mutex
	plis map[uint32]int
	up   chan struct{}
	// cut lets nothing out any more, as if the network were gone.
	cut atomic.Bool
}

// severed is a network that can be cut.
type severed struct {
	*stdnet.Net
	cut *atomic.Bool
}

func (n severed) ListenUDP(network string, at *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.Net.ListenUDP(network, at)
	if err != nil {
		return nil, err
	}
	return severedConn{UDPConn: c, cut: n.cut}, nil
}

type severedConn struct {
	transport.UDPConn
	cut *atomic.Bool
}

func (c severedConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.cut.Load() {
		return len(b), nil
	}
	return c.UDPConn.WriteTo(b, to)
}

// senderOptions vary a sender.
type senderOptions struct {
	setting func(*webrtc.SettingEngine)
	drop    func(p *rtp.Header) bool // packets that are lost on the way
	codecs  func(*webrtc.MediaEngine) error
	now     func() time.Time // the clock of its reports; nil is the time
}

// lossy drops packets as the network does.
type lossy struct {
	interceptor.NoOp
	drop func(p *rtp.Header) bool
}

func (l *lossy) NewInterceptor(string) (interceptor.Interceptor, error) { return l, nil }

func (l *lossy) BindLocalStream(_ *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		if l.drop(h) {
			return len(payload), nil
		}
		return w.Write(h, payload, a)
	})
}

func newSender(t *testing.T, o senderOptions) *sender {
	t.Helper()
	engine := &webrtc.MediaEngine{}
	codecs := o.codecs
	if codecs == nil {
		codecs = (*webrtc.MediaEngine).RegisterDefaultCodecs
	}
	reg := &interceptor.Registry{}
	if o.drop != nil {
		reg.Add(&lossy{drop: o.drop})
	}
	now := o.now
	if now == nil {
		now = time.Now
	}
	reports, err := report.NewSenderInterceptor(report.SenderInterval(200*time.Millisecond), report.SenderNow(now))
	if err != nil {
		t.Fatal(err)
	}
	reg.Add(reports)
	responder, err := nack.NewResponderInterceptor()
	if err != nil {
		t.Fatal(err)
	}
	reg.Add(responder)
	if err := errors.Join(codecs(engine), webrtc.ConfigureSimulcastExtensionHeaders(engine),
		webrtc.ConfigureTWCCHeaderExtensionSender(engine, reg)); err != nil {
		t.Fatal(err)
	}
	var set webrtc.SettingEngine
	set.SetIncludeLoopbackCandidate(true)
	set.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if o.setting != nil {
		o.setting(&set)
	}
	s := &sender{t: t, plis: map[uint32]int{}, up: make(chan struct{})}
	network, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	set.SetNet(severed{Net: network, cut: &s.cut})
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(reg), webrtc.WithSettingEngine(set)).
		NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	s.pc = pc
	var once sync.Once
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(s.up) })
		}
	})
	t.Cleanup(s.close)
	return s
}

func (s *sender) close() {
	if s.pc == nil {
		return
	}
	defer func() { s.pc = nil }() // the test keeps s to its end
	if err := s.pc.GracefulClose(); err != nil {
		s.t.Error(err)
	}
}

// track adds a track that is written packet by packet.
func (s *sender) track(mime, id string, options ...func(*webrtc.TrackLocalStaticRTP)) *webrtc.TrackLocalStaticRTP {
	s.t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime}, id, "stream", options...)
	if err != nil {
		s.t.Fatal(err)
	}
	rs, err := s.pc.AddTrack(track)
	if err != nil {
		s.t.Fatal(err)
	}
	s.readReports(rs)
	return track
}

// readReports counts what is asked of a sender. It ends with the connection.
func (s *sender) readReports(rs *webrtc.RTPSender) {
	go func() {
		for {
			packets, _, err := rs.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range packets {
				if pli, ok := p.(*rtcp.PictureLossIndication); ok {
					s.mu.Lock()
					s.plis[pli.MediaSSRC]++
					s.mu.Unlock()
				}
			}
		}
	}()
}

func (s *sender) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, v := range s.plis {
		n += v
	}
	return n
}

// offer makes the offer, with all candidates.
func (s *sender) offer() string {
	s.t.Helper()
	offer, err := s.pc.CreateOffer(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(offer); err != nil {
		s.t.Fatal(err)
	}
	<-gathered
	return s.pc.LocalDescription().SDP
}

// publish does what WHIP asks for, and waits for the connection.
func (s *sender) publish(h *host) *sender {
	s.t.Helper()
	s.post(h, s.offer())
	select {
	case <-s.up:
	case <-time.NewTimer(10 * time.Second).C:
		s.t.Fatal("no connection")
	}
	return s
}

func (s *sender) post(h *host, offer string) {
	s.t.Helper()
	a := h.ask(s.t, http.MethodPost, "/whip", offer, "Content-Type", typeSDP, "Authorization", "Bearer "+goodKey)
	if a.status != http.StatusCreated {
		s.t.Fatalf("the POST was answered with %d %s", a.status, a.body)
	}
	s.location, s.etag, s.answer = a.header.Get("Location"), a.header.Get("ETag"), a.body
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.body}); err != nil {
		s.t.Fatalf("the answer is not understood: %v\n%s", err, a.body)
	}
}
