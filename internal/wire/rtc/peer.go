package rtc

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"onair/internal/media"
)

const (
	// receiveMTU is the largest datagram that is taken whole.
	receiveMTU = 1600
	// feedbackInterval is how often transport-wide feedback is sent.
	feedbackInterval = 50 * time.Millisecond
	// reportInterval is how often receiver reports are sent.
	reportInterval = time.Second
	// maxEvents bounds what was received and not yet looked at; the library's buffers of
	// 1 MB a stream hold what follows.
	maxEvents = 512
)

// event is what a stream of the peer brought.
type event struct {
	stream  *stream
	at      time.Time
	packet  *rtp.Packet
	size    int
	reports []*rtcp.SenderReport
}

// stream is one RTP stream of the peer, or the repetitions of one.
type stream struct {
	ssrc  uint32
	rid   string
	codec media.Codec
	nack  bool
	// repeats is set for a stream of repetitions (RFC 4588).
	repeats bool
}

// peer is the connection of a session.
type peer struct {
	pc     *webrtc.PeerConnection
	offer  *offer
	events chan event
	done   chan struct{} // closed when nobody reads events any more
	// connected is closed when media may come, over when the connection ended: lost says how.
	connected chan struct{}
	over      chan struct{}
	lost      bool
	metrics   *metrics
}

// engine makes a media engine for what the offer has, so that every payload type of it
// is answered as it is.
func (o *offer) engine(startBitrate int) (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	for _, s := range o.sections {
		kind := webrtc.RTPCodecTypeVideo
		if s.kind == media.Audio {
			kind = webrtc.RTPCodecTypeAudio
		}
		for _, f := range s.formats {
			c := webrtc.RTPCodecCapability{
				MimeType: mimeOf(f), ClockRate: videoRate, SDPFmtpLine: f.answered(startBitrate), RTCPFeedback: f.feedbackTaken(),
			}
			if s.kind == media.Audio {
				c.ClockRate, c.Channels = audioRate, 2
			}
			if err := m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: c, PayloadType: webrtc.PayloadType(f.pt)}, kind); err != nil {
				return nil, err
			}
		}
		for _, e := range s.exts {
			if e.uri != extTWCC && !o.simulcast() {
				continue
			}
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: e.uri}, kind); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

func mimeOf(f format) string {
	if f.apt != noAPT {
		return webrtc.MimeTypeRTX
	}
	name, _, _ := strings.Cut(f.rtpmap, "/")
	if f.codec == media.Opus {
		return "audio/" + name
	}
	return "video/" + name
}

// interceptors are what the library does with RTP beside handing it on. Requests for
// lost packets are ours: only the jitter buffer knows what is still missing.
func interceptors(m loggers) (*interceptor.Registry, error) {
	reg := &interceptor.Registry{}
	reports, err := report.NewReceiverInterceptor(report.ReceiverInterval(reportInterval), report.WithReceiverLoggerFactory(m))
	if err != nil {
		return nil, err
	}
	feedback, err := twcc.NewSenderInterceptor(twcc.SendInterval(feedbackInterval), twcc.WithLoggerFactory(m))
	if err != nil {
		return nil, err
	}
	reg.Add(reports)
	reg.Add(feedback)
	return reg, nil
}

// connect makes the peer connection for an offer.
func (s *Server) connect(o *offer) (*peer, error) {
	engine, err := o.engine(s.cfg.StartBitrate)
	if err != nil {
		return nil, err
	}
	logs := loggers{s.log}
	reg, err := interceptors(logs)
	if err != nil {
		return nil, err
	}
	cert, err := s.certificate()
	if err != nil {
		return nil, err
	}
	var set webrtc.SettingEngine
	set.LoggerFactory = logs
	set.SetLite(true)
	set.SetICEUDPMux(s.udp)
	set.SetICETCPMux(s.tcp)
	set.SetNetworkTypes([]webrtc.NetworkType{
		webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6,
	})
	set.SetIncludeLoopbackCandidate(true)
	set.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	set.DisableActiveTCP(true)
	set.SetICETimeouts(s.cfg.LossTimeout/2, s.cfg.LossTimeout/2, 2*time.Second)
	set.SetReceiveMTU(receiveMTU)
	set.SetDTLSConnectContextMaker(func() (context.Context, func()) {
		return context.WithTimeout(context.Background(), s.cfg.ConnectTimeout)
	})
	if err := set.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		return nil, err
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(reg), webrtc.WithSettingEngine(set))
	pc, err := api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{cert.webrtc}})
	if err != nil {
		return nil, err
	}
	p := &peer{
		pc: pc, offer: o, metrics: s.metrics,
		events: make(chan event, maxEvents), done: make(chan struct{}),
		connected: make(chan struct{}), over: make(chan struct{}),
	}
	p.watch()
	return p, nil
}

// watch follows the states of the connection and its streams.
func (p *peer) watch() {
	// The library calls from a goroutine of its own for each state.
	var connected, over sync.Once
	p.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			connected.Do(func() { close(p.connected) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			over.Do(func() {
				p.lost = state == webrtc.PeerConnectionStateFailed
				close(p.over)
			})
		}
	})
	p.pc.OnTrack(func(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		s := &stream{ssrc: uint32(t.SSRC()), rid: printable(t.RID(), 16)}
		codec := t.Codec()
		s.repeats = strings.EqualFold(codec.MimeType, webrtc.MimeTypeRTX)
		for _, sec := range p.offer.sections {
			for _, f := range sec.formats {
				if f.pt == uint8(codec.PayloadType) {
					s.codec = f.codec
				}
			}
		}
		for _, fb := range codec.RTCPFeedback {
			s.nack = s.nack || fb.Type == "nack" && fb.Parameter == ""
		}
		if s.codec == media.UnknownCodec && !s.repeats {
			return
		}
		go p.readReports(t, r, s)
		p.readMedia(t, s)
	})
}

// send hands an event on, or tells that nobody takes it.
func (p *peer) send(e event) bool {
	select {
	case p.events <- e:
		return true
	case <-p.done:
		return false
	}
}

// maxErrors in a row end the reading of a stream.
const maxErrors = 100

// failed tells whether reading a stream is over after an error.
func (p *peer) failed(err error, errs *int) bool {
	select {
	case <-p.over:
		return true
	case <-p.done:
		return true
	default:
	}
	if *errs++; *errs > maxErrors || errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		return true
	}
	p.metrics.malformed.Inc()
	return false
}

// readMedia reads a stream until it or the session ends.
func (p *peer) readMedia(t *webrtc.TrackRemote, s *stream) {
	buf := make([]byte, receiveMTU)
	errs := 0
	for {
		n, _, err := t.Read(buf)
		if err == nil {
			packet := &rtp.Packet{}
			// The packet's parts stay in the memory that they are read from.
			if err = packet.Unmarshal(append([]byte(nil), buf[:n]...)); err == nil {
				errs = 0
				if !p.send(event{stream: s, at: time.Now(), packet: packet, size: n}) {
					return
				}
				continue
			}
		}
		if p.failed(err, &errs) {
			return
		}
	}
}

// readReports reads what the sender tells about a stream. The library needs it to be read.
func (p *peer) readReports(t *webrtc.TrackRemote, r *webrtc.RTPReceiver, s *stream) {
	buf := make([]byte, receiveMTU)
	errs := 0
	for {
		var n int
		var err error
		if rid := t.RID(); rid != "" {
			n, _, err = r.ReadSimulcast(buf, rid)
		} else {
			n, _, err = r.Read(buf)
		}
		var packets []rtcp.Packet
		if err == nil {
			packets, err = rtcp.Unmarshal(buf[:n])
		}
		if err != nil {
			if p.failed(err, &errs) {
				return
			}
			continue
		}
		errs = 0
		var reports []*rtcp.SenderReport
		for _, q := range packets {
			if sr, ok := q.(*rtcp.SenderReport); ok {
				reports = append(reports, sr)
			}
		}
		if len(reports) > 0 && !p.send(event{stream: s, at: time.Now(), reports: reports}) {
			return
		}
	}
}

// answer takes the offer and returns the answer without candidates.
func (p *peer) answer(ctx context.Context, offer string) (string, error) {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return p.pc.LocalDescription().SDP, nil
}
