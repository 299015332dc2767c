package egress

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"

	"onair/internal/fault"
	"onair/internal/media"
)

// Media tells how a viewer gets one kind of media.
type Media struct {
	// SSRC identifies the stream; 0 if the viewer gets none of the kind.
	SSRC uint32
	// RTX identifies the stream of repetitions (RFC 4588); 0 if they come as they were.
	RTX uint32
	// Transport is the id of the header extension for transport-wide feedback; 0 for none.
	Transport uint8
}

// Params are what was negotiated with a viewer.
type Params struct {
	// Ufrag and Pwd are our credentials of ICE.
	Ufrag, Pwd string
	// Fingerprints are those that the offer has of the client's certificate, each as
	// "sha-256 AB:CD:…".
	Fingerprints []string
	Certificate  tls.Certificate
	Video, Audio Media
	// Choose returns the payload types of a track and of its repetitions; 0 if the viewer
	// does not take it. It is called by the loops and must not wait.
	Choose func(t *media.Track) (pt, rtx uint8)
	// CNAME is what the tracks of the session have in common (RFC 3550, section 6.5.1).
	CNAME string
	// ConnectTimeout bounds the time until the handshake is done, LossTimeout how long
	// nothing authentic may come.
	ConnectTimeout, LossTimeout time.Duration
	// Logs takes what the library for DTLS says.
	Logs logging.LoggerFactory
}

func (p *Params) choose(kind media.Kind, t *media.Track) (pt, rtx uint8) {
	if t == nil || t.Kind() != kind {
		return 0, 0
	}
	return p.Choose(t)
}

// Session is one viewer. Its methods may be called from any goroutine.
type Session struct {
	engine *Engine
	loop   *loop
	params Params
	pipe   *pipe

	path      atomic.Pointer[path]
	lastHeard atomic.Int64 // Unix nanoseconds
	unheard   atomic.Int32 // packets that wait to be looked at
	playing   atomic.Bool
	estimate  atomic.Pointer[Estimate]
	sent      atomic.Uint64
	addrs     []netip.AddrPort // guarded by engine.mu

	mu      sync.Mutex
	pwds    map[string]string // passwords of ICE by our user fragments
	reached chan struct{}     // closed by the first authentic check
	video   *Fan
	audio   *Fan
	err     error

	ctx    context.Context // ends when err stands
	cancel context.CancelFunc
}

func (s *Session) forget(at netip.AddrPort) {
	for i, a := range s.addrs {
		if a == at {
			s.addrs = append(s.addrs[:i:i], s.addrs[i+1:]...)
			return
		}
	}
}

// check answers a connectivity check, and learns from it where the viewer is.
func (s *Session) check(m *stun.Message, ufrag string, from netip.AddrPort, over *stream) {
	s.mu.Lock()
	pwd := s.pwds[ufrag]
	s.mu.Unlock()
	if pwd == "" {
		return
	}
	response, nominated := answer(m, pwd, from)
	if response == nil {
		s.engine.metrics.badChecks.Inc()
		return
	}
	s.engine.metrics.checks.Inc()
	s.heard(time.Now())
	current := s.path.Load()
	p := current
	if p == nil || p.addr != from || p.stream != over {
		p = &path{addr: from, stream: over}
		p.resolve(s.engine.v6)
	}
	if over == nil {
		s.engine.locate(s, from)
	}
	p.write(s.engine, response)
	if current == nil || nominated && p != current {
		s.path.Store(p)
		s.loop.do(func(time.Time) {
			if v := s.loop.viewers[s]; v != nil {
				v.path = p
			}
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.reached:
	default:
		close(s.reached)
	}
}

// write sends one packet that is no media.
func (p *path) write(e *Engine, b []byte) {
	if p.stream != nil {
		p.stream.queue(b)
		return
	}
	if _, err := e.conn.WriteToUDPAddrPort(b, p.addr); err != nil {
		e.metrics.dropped.WithLabelValues(dropSend).Inc()
	}
}

// receive takes what came from an address of the session and is no check (RFC 7983).
func (s *Session) receive(b []byte) {
	switch {
	case len(b) < 12:
	case b[0] >= 20 && b[0] <= 63:
		if !s.pipe.put(b) {
			s.engine.metrics.dropped.WithLabelValues(dropHandshake).Inc()
		}
	case b[0] >= 128 && b[0] <= 191 && b[1] >= 192 && b[1] <= 223 && s.playing.Load():
		s.loop.hear(s, b)
	}
}

func (s *Session) heard(now time.Time) { s.lastHeard.Store(now.UnixNano()) }

// silent reports whether nothing came for too long.
func (s *Session) silent(now time.Time) bool {
	return now.UnixNano()-s.lastHeard.Load() > int64(s.params.LossTimeout)
}

func (s *Session) lost() {
	s.end(fault.New(fault.Unavailable, "send WebRTC", s.where(), "the viewer is not there any more", "Check its network"))
}

func (s *Session) where() string {
	if p := s.path.Load(); p != nil {
		return p.addr.String()
	}
	return ""
}

// end makes Run return err; the first one stands.
func (s *Session) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.cancel()
	}
}

// Close ends the session: Run returns io.EOF.
func (s *Session) Close() { s.end(io.EOF) }

// Watch sets what the viewer gets from now on; nil is nothing of that kind.
func (s *Session) Watch(video, audio *Fan) {
	s.mu.Lock()
	s.video, s.audio = video, audio
	s.mu.Unlock()
	s.loop.do(func(now time.Time) { s.loop.watch(s, now) })
}

// watch gives a viewer what it is to watch.
func (l *loop) watch(s *Session, now time.Time) {
	v := l.viewers[s]
	if v == nil {
		return
	}
	s.mu.Lock()
	video, audio := s.video, s.audio
	s.mu.Unlock()
	v.video.watch(video, now)
	v.audio.watch(audio, now)
}

// Restart adds credentials of ICE; the old ones stay good, as long as the viewer's new
// way is not there.
func (s *Session) Restart(ufrag, pwd string) {
	s.engine.mu.Lock()
	s.mu.Lock()
	s.pwds[ufrag] = pwd
	if len(s.pwds) > 3 { // those of the beginning, of now, and one before
		for u := range s.pwds {
			if u != ufrag && u != s.params.Ufrag {
				delete(s.pwds, u)
				delete(s.engine.byUfrag, u)
				break
			}
		}
	}
	s.engine.byUfrag[ufrag] = s
	s.mu.Unlock()
	s.engine.mu.Unlock()
}

// Estimate is what is known of the way to the viewer.
func (s *Session) Estimate() Estimate {
	if e := s.estimate.Load(); e != nil {
		return *e
	}
	return Estimate{}
}

// Sent is the number of packets that were sent.
func (s *Session) Sent() uint64 { return s.sent.Load() }

// Run serves the session until it ends, and returns why: io.EOF if the viewer left or
// Close was called.
func (s *Session) Run(ctx context.Context) error {
	defer s.engine.release(s)
	defer func() { _ = s.pipe.Close() }()
	stop := context.AfterFunc(ctx, func() { s.end(context.Cause(ctx)) })
	defer stop()
	late := time.AfterFunc(s.params.ConnectTimeout, func() {
		s.end(fault.New(fault.Timeout, "connect a WebRTC viewer", s.where(), "its connection did not come about in time",
			"Check that the WebRTC port is reachable over UDP or TCP"))
	})
	defer late.Stop()
	select {
	case <-s.reached:
	case <-s.ctx.Done():
		return s.why()
	}
	conn, err := s.handshake()
	if conn != nil {
		closed := make(chan struct{})
		stop := context.AfterFunc(s.ctx, func() {
			defer close(closed)
			_ = conn.Close()
		})
		defer func() {
			if stop() {
				_ = conn.Close()
			} else {
				<-closed
			}
		}()
	}
	if err != nil {
		s.end(err)
		return s.why()
	}
	late.Stop()
	s.engine.metrics.viewers.Inc()
	defer s.engine.metrics.viewers.Dec()
	defer s.loop.do(func(time.Time) { s.loop.remove(s) })
	defer s.playing.Store(false)
	// The end makes Read return, and a client that closes does too.
	var buf [1500]byte
	for {
		if _, err := conn.Read(buf[:]); err != nil {
			s.end(io.EOF)
			return s.why()
		}
	}
}

func (s *Session) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// handshake agrees on keys and makes the session a viewer of its loop. The connection
// that it returns ends with the session.
func (s *Session) handshake() (*dtls.Conn, error) {
	const op = "agree on keys with a WebRTC viewer"
	conn, err := dtls.ServerWithOptions(s.pipe, net.UDPAddrFromAddrPort(s.path.Load().addr),
		dtls.WithCertificates(s.params.Certificate),
		dtls.WithSRTPProtectionProfiles(profiles[:]...),
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithInsecureSkipVerify(true),      // the fingerprint is compared
		dtls.WithInsecureSkipVerifyHello(true), // ICE has proved the address
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithLoggerFactory(s.params.Logs),
	)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, op, s.where(), err, "")
	}
	if err := conn.HandshakeContext(s.ctx); err != nil {
		return conn, fault.Wrap(fault.Invalid, op, s.where(), err, "Check the client")
	}
	state, ok := conn.ConnectionState()
	if !ok || len(state.PeerCertificates) == 0 || !s.expected(state.PeerCertificates[0]) {
		return conn, fault.New(fault.Forbidden, op, s.where(), "its certificate is not that of its offer", "Offer the fingerprint of the certificate that is used")
	}
	var config srtp.Config
	switch profile, _ := conn.SelectedSRTPProtectionProfile(); profile {
	case dtls.SRTP_AEAD_AES_128_GCM:
		config.Profile = srtp.ProtectionProfileAeadAes128Gcm
	case dtls.SRTP_AEAD_AES_256_GCM:
		config.Profile = srtp.ProtectionProfileAeadAes256Gcm
	case dtls.SRTP_AES128_CM_HMAC_SHA1_80:
		config.Profile = srtp.ProtectionProfileAes128CmHmacSha1_80
	default:
		return conn, fault.New(fault.Unsupported, op, s.where(), "it takes no way to protect media that the server has", "Check the client")
	}
	err = config.ExtractSessionKeysFromDTLS(&state, false)
	var seal *sealer
	var in, out *srtp.Context
	if err == nil {
		seal, err = newSealer(config.Profile, config.Keys.LocalMasterKey, config.Keys.LocalMasterSalt)
	}
	if err == nil {
		out, err = srtp.CreateContext(config.Keys.LocalMasterKey, config.Keys.LocalMasterSalt, config.Profile)
	}
	if err == nil {
		in, err = srtp.CreateContext(config.Keys.RemoteMasterKey, config.Keys.RemoteMasterSalt, config.Profile, srtp.SRTCPReplayProtection(64))
	}
	if err != nil {
		return conn, fault.Wrap(fault.Internal, op, s.where(), err, "")
	}
	s.playing.Store(true)
	s.loop.do(func(now time.Time) {
		s.loop.add(s, seal, in, out)
		s.loop.watch(s, now)
	})
	return conn, nil
}

// expected compares a certificate with the fingerprints of the offer (RFC 8122).
func (s *Session) expected(der []byte) bool {
	if _, err := x509.ParseCertificate(der); err != nil {
		return false
	}
	for _, f := range s.params.Fingerprints {
		name, value, _ := strings.Cut(f, " ")
		var sum []byte
		switch strings.ToLower(name) {
		case "sha-256":
			h := sha256.Sum256(der)
			sum = h[:]
		case "sha-384":
			h := sha512.Sum384(der)
			sum = h[:]
		case "sha-512":
			h := sha512.Sum512(der)
			sum = h[:]
		default:
			continue
		}
		if strings.EqualFold(strings.ReplaceAll(strings.TrimSpace(value), ":", ""), hex.EncodeToString(sum)) {
			return true
		}
	}
	return false
}

var errClosed = errors.New("the session is over")
