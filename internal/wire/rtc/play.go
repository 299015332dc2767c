package rtc

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/wire/rtc/egress"
)

// Estimate is what is known of the way to a viewer.
type Estimate = egress.Estimate

// Fan is one feed's media, packetised once for all of its viewers. It is a media.Sink
// whose WritePacket never waits.
type Fan = egress.Fan

// FanOptions are what a Fan is made with.
type FanOptions = egress.FanOptions

// NewFan returns a fan for one feed: video or audio, one track. Close it when the feed
// ends.
func (s *Server) NewFan(o FanOptions) *Fan { return s.egress.NewFan(o) }

// PlayRequest is a viewer that asks to watch over WHEP, and where its media goes once it
// may. Its methods may be called from any goroutine.
type PlayRequest struct {
	server   *Server
	id       string
	playback string
	token    string
	bearer   bool // the token came as a bearer token
	addr     net.Addr
	agent    string
	offer    *playOffer
	// interactive is what the viewer says of itself.
	interactive bool

	decided chan struct{} // closed when answer and refusal stand
	once    sync.Once
	answer  string
	refusal error

	done chan struct{} // closed when the session is over

	mu      sync.Mutex
	session *egress.Session
	video   *Fan
	audio   *Fan
	err     error
	closed  bool
	wish    string

	// ICE is changed by PATCH.
	iceMu sync.Mutex
	etag  string
	ufrag string
}

func (s *Server) newPlay(playback, token string, bearer bool, addr net.Addr, agent string, o *playOffer) *PlayRequest {
	return &PlayRequest{
		server: s, id: strings.ToLower(rand.Text()), playback: playback, token: token, bearer: bearer, addr: addr, agent: agent,
		offer: o, decided: make(chan struct{}), done: make(chan struct{}), etag: newTag(), ufrag: o.ufrag,
	}
}

// Protocol returns "whep".
func (r *PlayRequest) Protocol() string { return "whep" }

// Peer is the address that the POST came from.
func (r *PlayRequest) Peer() net.Addr { return r.addr }

// PlaybackID is what is to be watched.
func (r *PlayRequest) PlaybackID() string { return r.playback }

// Token is what shows that the viewer may: the bearer token, or the query's token. It is
// a secret, and empty if there is none.
func (r *PlayRequest) Token() string { return r.token }

// Agent is what the player calls itself: its User-Agent.
func (r *PlayRequest) Agent() string { return r.agent }

// Interactive reports whether the viewer said that it takes part in what is shown, with
// interactive=true in the query. Nobody checked that.
func (r *PlayRequest) Interactive() bool { return r.interactive }

// Supports reports whether the viewer offered to take a track: its codec and profile.
func (r *PlayRequest) Supports(t *media.Track) bool {
	pt, _ := r.offer.choose(t)
	return pt != 0
}

// Accepts reports whether the viewer offered to take a codec in some profile.
func (r *PlayRequest) Accepts(c media.Codec) bool { return r.offer.accepts(c) }

// Accept answers the POST, before any media exists. video and audio are the codecs to
// begin with, UnknownCodec for none of that kind; whatever else the viewer Supports may
// follow. It fails if the viewer did not offer them.
func (r *PlayRequest) Accept(ctx context.Context, video, audio media.Codec) error {
	const op = "accept a WebRTC viewer"
	for _, c := range []media.Codec{video, audio} {
		if c != media.UnknownCodec && !r.offer.accepts(c) {
			return r.refuse(fault.New(fault.Unsupported, op, "", "it did not offer to take "+c.String(), "Offer more codecs"))
		}
	}
	if video == media.UnknownCodec && audio == media.UnknownCodec {
		return r.refuse(fault.New(fault.Unsupported, op, "", "it takes neither the picture nor the sound", "Offer H.264 and Opus"))
	}
	cert, err := r.server.certificate()
	if err != nil {
		return r.refuse(fault.Wrap(fault.Internal, op, "", err, ""))
	}
	a := &playAnswer{
		ufrag: strings.ToLower(rand.Text()), pwd: rand.Text(), fingerprint: cert.fingerprint,
		candidates: r.server.hosts.candidates(ctx), cname: strings.ToLower(rand.Text()[:16]), prefer: []media.Codec{video, audio},
	}
	n := numbers()
	if video != media.UnknownCodec {
		a.video = r.offer.media(media.Video, n[0], n[1])
	}
	if audio != media.UnknownCodec {
		a.audio = r.offer.media(media.Audio, n[2], 0)
	}
	session, err := r.server.egress.NewSession(egress.Params{
		Ufrag: a.ufrag, Pwd: a.pwd, Fingerprints: r.offer.prints, Certificate: cert.tls, Video: a.video, Audio: a.audio,
		Choose: r.offer.choose, CNAME: a.cname, ConnectTimeout: r.server.cfg.ConnectTimeout, LossTimeout: r.server.cfg.LossTimeout,
		Logs: loggers{r.server.log},
	})
	if err != nil {
		return r.refuse(err)
	}
	r.mu.Lock()
	if r.closed {
		err = r.err
	} else {
		r.session = session
	}
	r.mu.Unlock()
	if err != nil {
		session.Close()
		_ = session.Run(ctx) // which forgets it
		return r.refuse(err)
	}
	r.answer = a.text(r.offer)
	r.server.registerPlay(r)
	r.server.serving.Go(func() {
		err := session.Run(context.Background()) // Close ends it
		r.server.unregisterPlay(r)
		r.mu.Lock()
		r.closed = true
		if r.err == nil {
			r.err = err
		}
		r.mu.Unlock()
		close(r.done)
	})
	r.once.Do(func() { close(r.decided) })
	return nil
}

// numbers returns three different SSRCs that are not 0.
func numbers() [3]uint32 {
	var b [12]byte
	_, _ = rand.Read(b[:]) // it never fails
	first := binary.BigEndian.Uint32(b[:]) | 1
	second := binary.BigEndian.Uint32(b[4:])&^3 | 2
	third := binary.BigEndian.Uint32(b[8:])&^3 | 4
	return [3]uint32{first, second, third &^ 2}
}

// Watch sets what is sent from now on; nil sends nothing of that kind. A change of the
// video happens at a key frame of the new one, until which the old one goes on.
// Sequence numbers and timestamps continue. It does nothing before Accept.
func (r *PlayRequest) Watch(video, audio *Fan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.video, r.audio = video, audio
	if r.session != nil && !r.closed {
		r.session.Watch(video, audio)
	}
}

// refuse answers the POST with an error.
func (r *PlayRequest) refuse(err error) error {
	r.once.Do(func() {
		r.refusal = err
		close(r.decided)
	})
	return err
}

// Reject tells the viewer why it may not watch.
func (r *PlayRequest) Reject(err error) {
	r.server.metrics.rejected.WithLabelValues(reasonDenied).Inc()
	r.Close(err)
}

// Close ends the session. Before Accept it answers the POST with err. WebRTC has no words
// for why; the player sees that the connection is closed.
func (r *PlayRequest) Close(err error) {
	if err == nil || errors.Is(err, io.EOF) {
		err = fault.New(fault.Unavailable, "watch over WebRTC", "", "the server ended the session", "Try again in a moment")
	}
	r.mu.Lock()
	session, first := r.session, !r.closed
	if first && r.err == nil {
		r.err = err
	}
	if first && session == nil {
		close(r.done)
	}
	r.closed = true
	r.mu.Unlock()
	_ = r.refuse(err) // of use only before Accept
	if session != nil {
		session.Close()
	}
}

// leave ends the session on behalf of the viewer.
func (r *PlayRequest) leave() {
	r.mu.Lock()
	session := r.session
	if r.err == nil {
		r.err = io.EOF
	}
	r.mu.Unlock()
	if session != nil {
		session.Close()
		return
	}
	r.Close(fault.New(fault.Unavailable, "watch over WebRTC", "", "the viewer did not wait", "Try again"))
}

// Done is closed when the session is over.
func (r *PlayRequest) Done() <-chan struct{} { return r.done }

// Err tells why the session is over: io.EOF if the viewer left. It is nil before.
func (r *PlayRequest) Err() error {
	select {
	case <-r.done:
	default:
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *PlayRequest) current() *egress.Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session
}

// Link implements media.Linked.
func (r *PlayRequest) Link() media.Link {
	var link media.Link
	s := r.current()
	if s == nil {
		return link
	}
	e, sent := s.Estimate(), s.Sent()
	link.Packets = &sent
	if e.RTT > 0 {
		link.RTT = &e.RTT
	}
	if e.Bitrate > 0 {
		available := float64(e.Bitrate)
		link.Available = &available
	}
	return link
}

// Estimate is what is known of the way to the viewer.
func (r *PlayRequest) Estimate() Estimate {
	if s := r.current(); s != nil {
		return s.Estimate()
	}
	return Estimate{}
}

// Wish is the layer that the viewer asked for, such as "720p"; empty leaves the choice to
// the server.
func (r *PlayRequest) Wish() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wish
}
