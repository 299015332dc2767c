package rtc

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"onair/internal/fault"
	"onair/internal/media"
)

const (
	// tickTime is how often what is due with time is looked at.
	tickTime = 10 * time.Millisecond
	// answerTime bounds making an answer.
	answerTime = 5 * time.Second
)

// PublishRequest is an encoder or browser that asks to publish, and the source of its
// packets once it may. Key, Link, RequestKey and Encoder may be called from any
// goroutine; the other methods belong to one.
type PublishRequest struct {
	server  *Server
	id      string
	key     string
	bearer  bool // the key came as a bearer token
	backup  bool
	addr    net.Addr
	encoder string
	offer   *offer

	decided chan struct{} // closed when answer and refusal stand
	once    sync.Once
	answer  string
	refusal error
	peer    *peer

	// ended is closed by whoever ends the session.
	ended  chan struct{}
	endOne sync.Once

	keyWanted atomic.Bool
	rx        *receiver
	ticker    *time.Ticker
	idleFrom  time.Time
	reached   bool // the connection stood
	streams   int
	failed    error
	closed    bool

	linkMu sync.Mutex
	link   media.Link

	// ICE is changed by PATCH.
	iceMu sync.Mutex
	etag  string
	ufrag string
}

func (s *Server) newRequest(key string, bearer, backup bool, addr net.Addr, encoder string, o *offer) *PublishRequest {
	return &PublishRequest{
		server: s, id: strings.ToLower(rand.Text()), key: key, bearer: bearer, backup: backup, addr: addr, encoder: encoder,
		offer: o, decided: make(chan struct{}), ended: make(chan struct{}),
		etag: newTag(), ufrag: o.ufrag,
	}
}

func newTag() string { return `"` + strings.ToLower(rand.Text()[:16]) + `"` }

// Protocol returns "whip".
func (r *PublishRequest) Protocol() string { return "whip" }

// Peer is the address that the POST came from.
func (r *PublishRequest) Peer() net.Addr { return r.addr }

// Key is the stream key: the bearer token, or the end of the path. It is a secret.
func (r *PublishRequest) Key() string { return r.key }

// Backup reports whether the encoder came as the stream's backup.
func (r *PublishRequest) Backup() bool { return r.backup }

// Encoder is what the encoder calls itself: its User-Agent.
func (r *PublishRequest) Encoder() string { return r.encoder }

// Tracks returns the tracks whose parameters came so far. More may come while packets
// are read. The layers of simulcast are tracks of their own.
func (r *PublishRequest) Tracks() []*media.Track {
	if r.rx == nil {
		return nil
	}
	var out []*media.Track
	for _, l := range r.rx.lanes {
		if l.active && l.track != nil && l.track.CodecString != "" {
			out = append(out, l.track)
		}
	}
	return out
}

// RequestKey asks the encoder for a key frame of every picture, at most once a second.
// Encoders such as OBS do not follow it.
func (r *PublishRequest) RequestKey() { r.keyWanted.Store(true) }

// Accept makes the answer, with which the POST is answered. ReadPacket may be called
// afterwards, and waits for the connection.
func (r *PublishRequest) Accept(ctx context.Context) error {
	const op = "accept a WebRTC publisher"
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	p, err := r.server.connect(r.offer)
	if err != nil {
		return r.refuse(fault.Wrap(fault.Internal, op, "", err, ""))
	}
	r.peer = p
	answer, err := p.answer(ctx, r.offer.text(r.server.cfg.StartBitrate))
	if err != nil {
		if ctx.Err() != nil {
			return r.refuse(fault.Wrap(fault.Unavailable, op, "", err, "Try again"))
		}
		return r.refuse(fault.Wrap(fault.Unsupported, op, "", err, "Offer one video and one audio track as a browser does"))
	}
	r.answer = announce(answer, r.server.hosts.candidates(ctx))
	r.rx = &receiver{cfg: r.server.cfg, dropped: r.dropped, expected: len(r.offer.sections)}
	r.ticker = time.NewTicker(tickTime)
	r.idleFrom = time.Now()
	r.server.register(r)
	r.once.Do(func() { close(r.decided) })
	return nil
}

func (r *PublishRequest) dropped(reason string) {
	r.server.metrics.dropped.WithLabelValues(reason).Inc()
}

// refuse answers the POST with an error.
func (r *PublishRequest) refuse(err error) error {
	r.once.Do(func() {
		r.refusal = err
		close(r.decided)
	})
	return err
}

// Reject tells the encoder why it may not publish.
func (r *PublishRequest) Reject(err error) {
	r.server.metrics.rejected.WithLabelValues(reasonDenied).Inc()
	_ = r.refuse(err) // it is returned to whoever knows it
}

// Close ends the session. WebRTC has no words for why; the encoder sees that the
// connection is closed.
func (r *PublishRequest) Close(err error) {
	if err == nil || errors.Is(err, io.EOF) {
		err = fault.New(fault.Unavailable, "publish over WebRTC", "", "the server took no decision", "Try again in a moment")
	}
	_ = r.refuse(err) // of use only before Accept
	if r.closed {
		return
	}
	r.closed = true
	r.abort()
	r.server.unregister(r)
	if r.ticker != nil {
		r.ticker.Stop()
	}
	if r.peer != nil {
		close(r.peer.done)
		_ = r.peer.pc.GracefulClose() // nothing can be done about a connection that does not close
		r.account()
	}
}

// finish is called when the handler returned.
func (r *PublishRequest) finish() { r.Close(r.failed) }

// abort makes ReadPacket return the end.
func (r *PublishRequest) abort() { r.endOne.Do(func() { close(r.ended) }) }

// ReadPacket implements media.Source. It returns io.EOF when the encoder ended the
// session, by DELETE or by closing the connection, and a fault when it was lost.
func (r *PublishRequest) ReadPacket(ctx context.Context) (*media.Packet, error) {
	if r.rx == nil {
		return nil, fault.New(fault.Internal, "read WebRTC media", "", "the request was not accepted", "")
	}
	for {
		if q := r.rx.queue; len(q) > 0 {
			p := q[0]
			q[0] = nil
			if r.rx.queue = q[1:]; len(r.rx.queue) == 0 {
				r.rx.queue = q[:0]
			}
			return p, nil
		}
		if r.failed != nil {
			return nil, r.failed
		}
		if err := r.step(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			r.failed = err
		}
	}
}

// step waits for the next thing that happens and deals with it.
func (r *PublishRequest) step(ctx context.Context) error {
	select {
	case e := <-r.peer.events:
		return r.take(e)
	case now := <-r.ticker.C:
		return r.tick(now)
	case <-r.ended:
		return r.rest(io.EOF)
	case <-r.peer.over:
		return r.rest(r.end())
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *PublishRequest) end() error {
	if !r.peer.lost {
		return io.EOF
	}
	if !r.reached {
		return r.unreachable()
	}
	return fault.New(fault.Unavailable, "receive WebRTC", r.addr.String(), "the publisher is not there any more", "Check its network")
}

func (r *PublishRequest) unreachable() error {
	return fault.New(fault.Timeout, "connect over WebRTC", r.addr.String(), "the media connection was never made",
		"Let UDP or TCP through to the server's WebRTC port, and set webrtc-hosts to its public address")
}

// rest takes what had come before the end.
func (r *PublishRequest) rest(end error) error {
	for {
		select {
		case e := <-r.peer.events:
			if err := r.take(e); err != nil {
				return err
			}
		default:
			return end
		}
	}
}

// take looks at what a stream brought.
func (r *PublishRequest) take(e event) error {
	r.idleFrom = e.at
	r.reached = true
	for _, sr := range e.reports {
		r.rx.report(sr.SSRC, sr.NTPTime, sr.RTPTime, e.at)
	}
	if e.packet == nil {
		return nil
	}
	p, s := e.packet, e.stream
	if s.repeats {
		return r.repeat(e)
	}
	l := r.rx.lane(s.codec, s.rid)
	if l == nil {
		r.server.metrics.rejected.WithLabelValues(reasonStreams).Inc()
		return fault.New(fault.TooMany, "receive WebRTC", r.addr.String(), "it sends more tracks than are taken", "Send one video and one audio track")
	}
	codec := r.codecOf(p.PayloadType)
	if codec == media.UnknownCodec {
		r.server.metrics.malformed.Inc()
		return nil
	}
	if !l.active || l.ssrc != s.ssrc || l.codec != codec {
		if r.streams++; r.streams > maxStreams {
			r.server.metrics.rejected.WithLabelValues(reasonStreams).Inc()
			return fault.New(fault.TooMany, "receive WebRTC", r.addr.String(), "its streams change all the time", "Check the encoder")
		}
		l.begin(s.ssrc, codec, s.nack, e.at)
	}
	r.rx.push(l, p, e.size, e.at)
	r.feedback(e.at)
	return nil
}

// codecOf tells what a payload type carries; UnknownCodec if it was not offered.
func (r *PublishRequest) codecOf(pt uint8) media.Codec {
	for _, s := range r.offer.sections {
		for _, f := range s.formats {
			if f.pt == pt {
				return f.codec
			}
		}
	}
	return media.UnknownCodec
}

// repeat puts a repeated packet where it was missing (RFC 4588, section 4).
func (r *PublishRequest) repeat(e event) error {
	p := e.packet
	apt := uint8(noAPT)
	for _, s := range r.offer.sections {
		for _, f := range s.formats {
			if f.pt == p.PayloadType {
				apt = f.apt
			}
		}
	}
	if apt == noAPT || len(p.Payload) < 2 {
		return nil // or a probe of the network
	}
	codec := r.codecOf(apt)
	for _, l := range r.rx.lanes {
		if l.active && l.codec == codec && l.rid == e.stream.rid {
			q := &rtp.Packet{Header: p.Header, Payload: p.Payload[2:]}
			q.SequenceNumber = uint16(p.Payload[0])<<8 | uint16(p.Payload[1])
			q.SSRC, q.PayloadType = l.ssrc, apt
			r.rx.push(l, q, e.size, e.at)
			r.feedback(e.at)
		}
	}
	return nil
}

func (r *PublishRequest) tick(now time.Time) error {
	cfg := r.server.cfg
	if !r.reached {
		select {
		case <-r.peer.connected:
			r.reached, r.idleFrom = true, now
		default:
			if now.Sub(r.idleFrom) >= cfg.ConnectTimeout {
				r.server.metrics.rejected.WithLabelValues(reasonConnect).Inc()
				return r.unreachable()
			}
			return nil
		}
	}
	if now.Sub(r.idleFrom) >= cfg.IdleTimeout {
		return fault.New(fault.Timeout, "receive WebRTC", r.addr.String(), "nothing came in time", "Check the encoder's sources")
	}
	r.rx.tick(now)
	r.feedback(now)
	r.measure(now)
	return nil
}

// feedback asks the sender for what is missing.
func (r *PublishRequest) feedback(now time.Time) {
	if r.keyWanted.Load() && r.keyWanted.Swap(false) {
		r.rx.keyWanted = true
	}
	if packets := r.rx.feedback(now); len(packets) > 0 {
		_ = r.peer.pc.WriteRTCP(packets) // a connection that breaks off is noticed where it is read
	}
}
