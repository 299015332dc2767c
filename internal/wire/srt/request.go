package srt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/ts"
)

// request is what requests to publish and to play have in common. Its exported methods
// are promoted to both.
type request struct {
	s         *Server
	who       caller
	entry     *calling
	hs        *handshake
	id        streamID
	timestamp uint32
	arrived   time.Time

	keys    *ciphers
	conn    *conn
	linked  atomic.Pointer[conn] // conn for those who ask from other goroutines
	decided bool                 // under s.mu
	told    bool
}

func (h *handshake) clone() *handshake {
	c := *h
	c.km = bytes.Clone(h.km)
	c.sid = strings.Clone(h.sid)
	return &c
}

// serve decides about the encryption and hands the request on.
func (s *Server) serve(r *request) {
	ctx, cancel := context.WithTimeout(s.ctx, secretTime)
	passphrase, err := s.secrets.Passphrase(ctx, r.id.publish, r.id.name)
	cancel()
	if err != nil {
		r.Reject(err)
		return
	}
	if code := r.unlock(passphrase); code != 0 {
		s.metrics.reject(reasonSecret)
		r.told = true
		s.decided(r)
		s.refuse(r.who.addr, r.hs, code)
		s.passphrases.tell(s.log, time.Now(), r.who.addr, secretText(code, passphrase != ""))
		return
	}
	if r.id.publish {
		p := &PublishRequest{request: r}
		s.handler.ServePublish(s.ctx, p)
		p.Close(nil)
		if fault.Is(p.failed, fault.Timeout) {
			s.metrics.reject(reasonTimeout)
		}
		return
	}
	ctx, stop := context.WithCancelCause(s.ctx)
	p := &PlayRequest{request: r, leave: stop}
	s.handler.ServePlay(ctx, p)
	p.Close(nil)
	stop(nil)
}

// unlock checks the encryption of the handshake against the passphrase that is set for
// the stream. It returns the code of a refusal, 0 if they fit.
func (r *request) unlock(passphrase string) uint32 {
	if (passphrase != "") != (r.hs.km != nil) {
		return rejectUnsecure
	}
	if passphrase == "" {
		return 0
	}
	keys, err := openKeys(r.hs.km, passphrase)
	switch {
	case errors.Is(err, errCipher):
		return rejectCrypto
	case err != nil:
		return rejectBadSecret
	}
	r.keys = keys
	return 0
}

func secretText(code uint32, set bool) string {
	switch {
	case code == rejectUnsecure && set:
		return "the stream has a passphrase and the encoder sends none"
	case code == rejectUnsecure:
		return "the encoder sends a passphrase and the stream has none"
	case code == rejectCrypto:
		return "the encoder uses a cipher other than AES-CTR"
	}
	return "the passphrase is wrong"
}

// Protocol returns "srt".
func (r *request) Protocol() string { return "srt" }

// Peer is the caller's address.
func (r *request) Peer() net.Addr { return net.UDPAddrFromAddrPort(r.who.addr) }

// Query is what came in the stream id beside the name, in the form of a URL's query. It
// may be a secret.
func (r *request) Query() string { return r.id.query }

// Encrypted reports whether the connection is encrypted.
func (r *request) Encrypted() bool { return r.keys != nil }

// Link describes the way to the peer. All is unknown before the connection is accepted.
func (r *request) Link() media.Link {
	if c := r.linked.Load(); c != nil {
		return c.link()
	}
	return media.Link{}
}

// Reject answers the handshake with the rejection code of the error's kind.
func (r *request) Reject(err error) {
	if r.told || r.conn != nil {
		return
	}
	r.told = true
	r.s.decided(r)
	r.s.metrics.reject(reasonDenied)
	code := codeOf(fault.KindOf(err))
	var own *rejection
	if errors.As(err, &own) {
		code = own.code
	}
	r.s.refuse(r.who.addr, r.hs, code)
}

// accept answers the handshake and makes the connection.
func (r *request) accept(ctx context.Context, receives bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.conn != nil || r.told {
		return fault.New(fault.Conflict, "accept an SRT connection", "", "it was decided before", "")
	}
	s, hs := r.s, r.hs
	ms := func(v uint16) time.Duration { return time.Duration(v) * time.Millisecond }
	// 4.4: the longer of what both sides want.
	recv := min(max(s.cfg.Latency, ms(hs.extension.sendDelay)), max(maxPeerLatency, s.cfg.Latency))
	peer := max(s.cfg.Latency, ms(hs.extension.recvDelay))
	unit := int(min(hs.mtu, mtu))
	c := newConn(settings{
		id: s.ep.newID(), peerID: hs.socketID, peer: r.who.addr, isn: hs.isn,
		recvLatency: recv, peerDelay: min(peer, maxPeerLatency), payload: unit - ipHeader - headerSize,
		window: int(min(hs.window, maxWindow)), keys: r.keys,
		peerTimeout: s.cfg.PeerTimeout, mediaLimit: s.cfg.IdleTimeout, receives: receives,
	}, &s.ep.buffers, s.ep.send, time.Now())
	answer := &handshake{version: 5, isn: hs.isn, mtu: uint32(unit), window: maxWindow, typ: hsConclusion, socketID: c.id, peer: r.who.addr.Addr(),
		extension: &hsExtension{version: ourVersion, flags: ourFlags, recvDelay: uint16(recv.Milliseconds()), sendDelay: uint16(peer.Milliseconds())}}
	if r.keys != nil {
		answer.cipher, answer.km = uint16(r.keys.length/8), hs.km
	}
	r.conn = c
	r.linked.Store(c)
	s.ep.add(c) // media may be here before the answer is told to be sent
	b := s.ep.sendHandshake(r.who.addr, hs.socketID, 0, answer, false)
	s.mu.Lock()
	r.entry.answer, r.entry.conn = b, c
	s.mu.Unlock()
	s.decided(r)
	return nil
}

// PublishRequest is an encoder that asks to publish, and the source of its packets once
// it may. It is used by one goroutine, but for Link.
type PublishRequest struct {
	*request
	src    *stream
	ts     *ts.Reader
	failed error
}

// stream is the bytes of a connection as an io.Reader. ctx is that of the read under way.
type stream struct {
	conn *conn
	ctx  context.Context
}

func (s *stream) Read(p []byte) (int, error) { return s.conn.read(s.ctx, p) }

// Key is the stream key in the stream id. It is a secret.
func (r *PublishRequest) Key() string { return r.id.name }

// Backup reports whether the encoder came as the stream's backup.
func (r *PublishRequest) Backup() bool { return r.id.backup }

// Encoder is what is known of the encoder's program: its version of SRT.
func (r *PublishRequest) Encoder() string {
	v := r.hs.extension.version
	return fmt.Sprintf("SRT %d.%d.%d", v>>16&0xFF, v>>8&0xFF, v&0xFF)
}

// Tracks returns the tracks whose parameters came so far. More may come while packets
// are read.
func (r *PublishRequest) Tracks() []*media.Track {
	if r.ts == nil {
		return nil
	}
	return r.ts.Tracks()
}

// Stats returns what of the transport stream could not be used.
func (r *PublishRequest) Stats() ts.Stats {
	if r.ts == nil {
		return ts.Stats{}
	}
	return r.ts.Stats()
}

// Accept tells the encoder that it may publish. ReadPacket may be called afterwards.
func (r *PublishRequest) Accept(ctx context.Context) error {
	if err := r.accept(ctx, true); err != nil {
		return err
	}
	r.src = &stream{conn: r.conn, ctx: ctx}
	r.ts = ts.NewReader(r.src)
	return nil
}

// ReadPacket implements media.Source. The end is io.EOF if the encoder said that it ends,
// and a fault of the kind Timeout if nothing more came of it.
func (r *PublishRequest) ReadPacket(ctx context.Context) (*media.Packet, error) {
	if r.ts == nil {
		return nil, fault.New(fault.Conflict, "receive SRT", "", "the request is not accepted", "")
	}
	r.src.ctx = ctx
	p, err := r.ts.ReadPacket(ctx)
	if err != nil {
		r.failed = err
	}
	return p, err
}

// Close ends what Accept began. SRT has no words for the reason: the encoder sees that
// the connection closes, and most connect again.
func (r *PublishRequest) Close(err error) {
	if r.conn == nil {
		if !r.told {
			r.Reject(orUndecided(err))
		}
		return
	}
	if !r.told {
		r.told = true
		r.conn.close()
	}
}

// orUndecided is the reason of a request that nobody decided about.
func orUndecided(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return fault.New(fault.Unavailable, "decide about an SRT connection", "", "the server took no decision", "")
	}
	return err
}
