package srt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/ts"
)

const (
	opPublish = "publish over SRT"
	opPlay    = "play over SRT"
	// dialTimeout is how long a listener may take to answer in all, dialRepeat after how
	// long an unanswered question is asked again (4.3.1).
	dialTimeout = 5 * time.Second
	dialRepeat  = 250 * time.Millisecond
	// clientIdle is how long a listener may send no media to a player.
	clientIdle = 30 * time.Second
	// microseconds is from where on a latency in an address is one of ffmpeg's, which
	// counts them so; other programs write milliseconds.
	microseconds = 10_000
)

// Dialer calls listeners. The zero value is ready to use.
type Dialer struct {
	// Control is that of net.Dialer: it sees the resolved address before anything is sent
	// there, and may refuse it.
	Control func(network, address string, c syscall.RawConn) error
	// Latency is for addresses that name none; 0 is the default of Config.
	Latency time.Duration
}

// DialPublish calls srt://HOST:PORT?streamid=…[&passphrase=…][&pbkeylen=16][&latency=…]
// and publishes. The latency is in milliseconds, or from 10,000 on in microseconds as
// ffmpeg has it. A refusal is a fault of the kind that the listener's code stands for.
func DialPublish(ctx context.Context, address string, tracks []*media.Track) (*Publisher, error) {
	return (&Dialer{}).DialPublish(ctx, address, tracks)
}

// DialPlay calls the same form of address and plays.
func DialPlay(ctx context.Context, address string) (*Player, error) {
	return (&Dialer{}).DialPlay(ctx, address)
}

// DialPublish is like the function of the same name.
func (d *Dialer) DialPublish(ctx context.Context, address string, tracks []*media.Track) (*Publisher, error) {
	c, err := d.dial(ctx, opPublish, address, false)
	if err != nil {
		return nil, err
	}
	out, err := newOutput(ctx, c.conn, tracks)
	if err != nil {
		c.close()
		return nil, err
	}
	return &Publisher{call: c, out: out}, nil
}

// DialPlay is like the function of the same name.
func (d *Dialer) DialPlay(ctx context.Context, address string) (*Player, error) {
	c, err := d.dial(ctx, opPlay, address, true)
	if err != nil {
		return nil, err
	}
	src := &stream{conn: c.conn, ctx: ctx}
	return &Player{call: c, src: src, ts: ts.NewReader(src)}, nil
}

// target is what an address says.
type target struct {
	host       string
	sid        string
	passphrase string
	keyLength  int
	latency    time.Duration
}

func parseTarget(op, address string, latency time.Duration) (target, error) {
	// The text of an error never has the stream id or the passphrase in it.
	bad := func(host, cause string) (target, error) {
		return target{}, fault.New(fault.Invalid, op, host, cause, "Write srt://HOST:PORT?streamid=publish:KEY")
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "srt" || u.Port() == "" || u.Hostname() == "" {
		return bad("", "the address is not one of SRT")
	}
	// "#!::" in an address that was not encoded begins a fragment.
	raw := u.RawQuery
	if u.Fragment != "" && strings.HasPrefix(u.Fragment, "!::") {
		sid, rest, _ := strings.Cut(u.EscapedFragment(), "&")
		raw += "%23" + strings.NewReplacer("=", "%3D", ",", "%2C").Replace(sid) + "&" + rest
	}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return bad(u.Host, "its query is not well formed")
	}
	t := target{host: u.Host, sid: q.Get("streamid"), passphrase: q.Get("passphrase"), keyLength: 16, latency: latency}
	if m := q.Get("mode"); m != "" && m != "caller" {
		return bad(u.Host, "only mode=caller is possible")
	}
	if len(t.sid) > maxStreamID {
		return bad(u.Host, "the stream id is longer than 512 bytes")
	}
	if n := len(t.passphrase); n != 0 && (n < minPassphrase || n > maxPassphrase) {
		return bad(u.Host, "the passphrase has not between 10 and 80 characters")
	}
	if s := q.Get("pbkeylen"); s != "" && s != "0" {
		if t.keyLength, err = strconv.Atoi(s); err != nil || t.keyLength != 16 && t.keyLength != 24 && t.keyLength != 32 {
			return bad(u.Host, "pbkeylen is not 16, 24 or 32")
		}
	}
	if s := q.Get("latency"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return bad(u.Host, "latency is not a number")
		}
		if t.latency = time.Duration(n) * time.Millisecond; n >= microseconds {
			t.latency = time.Duration(n) * time.Microsecond
		}
	}
	t.latency = min(max(t.latency, minLatency), maxPeerLatency)
	return t, nil
}

// call is a connection that we made, with the goroutine that serves its socket.
type call struct {
	op      string
	host    string
	ep      *endpoint
	conn    *conn
	serving sync.WaitGroup
	once    sync.Once
}

// connected makes of a socket that is bound to its peer one that names it in every call.
type connected struct {
	*net.UDPConn
	peer netip.AddrPort
}

func (c connected) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, err := c.Read(b)
	return n, c.peer, err
}

func (c connected) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return c.Write(b) }

func (d *Dialer) dial(ctx context.Context, op, address string, receives bool) (*call, error) {
	latency := d.Latency
	if latency == 0 {
		latency = DefaultConfig().Latency
	}
	t, err := parseTarget(op, address, latency)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nd := net.Dialer{Control: d.Control}
	nc, err := nd.DialContext(ctx, "udp", t.host)
	if err != nil {
		var own *fault.Error
		if errors.As(err, &own) {
			return nil, own
		}
		return nil, fault.Wrap(fault.Unavailable, op, t.host, err, "Check the address")
	}
	udp := nc.(*net.UDPConn)
	peer := udp.RemoteAddr().(*net.UDPAddr).AddrPort()
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	return dialOn(ctx, connected{udp, peer}, peer, op, t, receives)
}

// dialOn shakes hands on a socket. ctx bounds it.
func dialOn(ctx context.Context, pc packetConn, peer netip.AddrPort, op string, t target, receives bool) (*call, error) {
	c := &call{op: op, host: t.host, ep: newEndpoint(pc)}
	answers := make(chan answer, 4)
	c.ep.onHandshake = func(h header, body []byte, _ netip.AddrPort, now time.Time) {
		hs, err := parseHandshake(body)
		if err != nil {
			return
		}
		select {
		case answers <- answer{h.dest, h.timestamp, hs.clone(), now}:
		default: // nobody waits for so many
		}
	}
	c.serving.Go(c.ep.run) // the connection tells how it ended
	if err := c.shake(ctx, peer, t, receives, answers); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

type answer struct {
	dest, timestamp uint32
	hs              *handshake
	now             time.Time
}

// shake does the handshake of a caller (4.3.1). Packets are lost, so that both questions
// are repeated until they are answered.
func (c *call) shake(ctx context.Context, peer netip.AddrPort, t target, receives bool, answers <-chan answer) error {
	start := time.Now()
	id := c.ep.newID()
	ask := &handshake{version: 4, ext: 2, isn: c.ep.newID() & seqMask, mtu: mtu, window: maxWindow, typ: hsInduction, socketID: id, peer: peer.Addr()}
	var keys *ciphers
	send := func() { c.ep.sendHandshake(peer, 0, uint32(time.Since(start).Microseconds()), ask, true) }
	send()
	repeat := time.NewTicker(dialRepeat)
	defer repeat.Stop()
	for {
		var a answer
		select {
		case <-repeat.C:
			send()
			continue
		case <-ctx.Done():
			return fault.New(fault.Timeout, c.op, c.host, "nobody answers", "Check the address, and that the server speaks SRT on this UDP port")
		case a = <-answers:
		}
		if a.dest != id {
			continue
		}
		switch {
		case a.hs.typ == hsInduction && ask.typ == hsInduction:
			if a.hs.version < 5 || a.hs.ext != hsMagic {
				return refuse(c.op, c.host, rejectVersion)
			}
			ask.version, ask.ext, ask.typ, ask.cookie, ask.sid = 5, 0, hsConclusion, a.hs.cookie, t.sid
			ms := uint16(t.latency.Milliseconds())
			ask.extension = &hsExtension{version: ourVersion, flags: ourFlags, recvDelay: ms, sendDelay: ms}
			if t.passphrase != "" {
				var err error
				if keys, ask.km, err = newKeys(t.passphrase, t.keyLength); err != nil {
					return fault.Wrap(fault.Internal, c.op, c.host, err, "")
				}
				ask.cipher = uint16(t.keyLength / 8)
			}
			send()
		case a.hs.typ == hsConclusion && ask.typ == hsConclusion:
			return c.concluded(a, id, ask.isn, keys, peer, t, receives, start)
		case a.hs.typ >= 1000 && a.hs.typ < hsConclusion-16:
			return refuse(c.op, c.host, a.hs.typ)
		}
	}
}

// concluded makes the connection of the listener's answer.
func (c *call) concluded(a answer, id, isn uint32, keys *ciphers, peer netip.AddrPort, t target, receives bool, start time.Time) error {
	hs := a.hs
	if code := check(hs); code != 0 {
		return refuse(c.op, c.host, code)
	}
	if (keys != nil) != (hs.km != nil) {
		return refuse(c.op, c.host, rejectUnsecure)
	}
	if keys != nil && !keys.known(hs.km) {
		return refuse(c.op, c.host, rejectBadSecret)
	}
	ms := func(v uint16) time.Duration { return min(time.Duration(v)*time.Millisecond, maxPeerLatency) }
	cfg := DefaultConfig()
	c.conn = newConn(settings{
		id: id, peerID: hs.socketID, peer: peer, isn: isn,
		recvLatency: max(t.latency, ms(hs.extension.sendDelay)), peerDelay: max(t.latency, ms(hs.extension.recvDelay)),
		payload: int(min(hs.mtu, mtu)) - ipHeader - headerSize, window: int(min(hs.window, maxWindow)), keys: keys,
		peerTimeout: cfg.PeerTimeout, mediaLimit: clientIdle, receives: receives,
	}, &c.ep.buffers, c.ep.send, time.Now())
	// Our timestamps count from the first question, as the listener has seen them.
	c.conn.start = start
	c.ep.add(c.conn)
	return nil
}

// failure names the peer in what ended the connection.
func (c *call) failure(err error) error {
	var own *fault.Error
	if errors.As(err, &own) && own.Subject == "" {
		return fault.Wrap(own.Kind, c.op, c.host, own.Cause, own.Hint)
	}
	return err
}

// close ends the connection and waits for its goroutines.
func (c *call) close() {
	c.once.Do(func() {
		if c.conn != nil {
			c.conn.close()
		}
		_ = c.ep.pc.Close() // an error means that it is closed
		c.serving.Wait()
	})
}

// Link describes the way to the listener. It may be called from any goroutine.
func (c *call) Link() media.Link { return c.conn.link() }

// Publisher sends packets to an SRT listener. It is a media.Sink for one goroutine.
type Publisher struct {
	*call
	out *output
}

// WritePacket implements media.Sink. Tracks that MPEG-TS does not carry are left out.
func (p *Publisher) WritePacket(ctx context.Context, pkt *media.Packet) error {
	err := p.out.write(ctx, pkt)
	if err != nil && p.out.gone(err) {
		return fault.New(fault.Unavailable, p.op, p.host, "the server closed the connection", "")
	}
	return p.failure(err)
}

// Close waits until the listener has what was sent, at most two seconds, says goodbye and
// closes. It is safe to call twice.
func (p *Publisher) Close() error {
	p.out.finish(context.Background())
	p.close()
	return nil
}

// Player receives the packets of a stream from an SRT listener. It is a media.Source for
// one goroutine.
type Player struct {
	*call
	src *stream
	ts  *ts.Reader
}

// ReadPacket implements media.Source.
func (p *Player) ReadPacket(ctx context.Context) (*media.Packet, error) {
	p.src.ctx = ctx
	pkt, err := p.ts.ReadPacket(ctx)
	return pkt, p.failure(err)
}

// Tracks returns the tracks whose parameters came so far.
func (p *Player) Tracks() []*media.Track { return p.ts.Tracks() }

// Peer is the listener's address.
func (p *Player) Peer() net.Addr { return net.UDPAddrFromAddrPort(p.conn.peer) }

// Encoder says what is at the other end.
func (p *Player) Encoder() string { return fmt.Sprintf("SRT listener %s", p.host) }

// Close leaves the stream.
func (p *Player) Close() error {
	p.close()
	return nil
}
