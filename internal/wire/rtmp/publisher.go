package rtmp

import (
	"context"
	"sync"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/flv"
)

const (
	opPublish = "publish"
	opPlay    = "play"
	// encoderName is what we call ourselves in metadata.
	encoderName = "onair"
	// closeTime is how long Close waits for the server to close.
	closeTime = time.Second
)

// Publisher sends packets to an RTMP server. It is a media.Sink for one goroutine.
//
// A server that asks to be connected to again (Enhanced RTMP v2, "Reconnect Request") gets
// its wish: the new connection is made aside, and takes over at a key frame.
type Publisher struct {
	dialer  Dialer
	address string
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	// tracks are the newest versions of those that are sent, in the order that they came.
	tracks  []*media.Track
	started bool
	origin  int64 // the time, in milliseconds, that is stamped 0

	// working waits for everything that was started.
	working sync.WaitGroup
	mu      sync.Mutex
	// on is the publication that packets go to; next is the one that takes over.
	on, next *publication
	moving   bool
	moves    int
	failed   error // what the server said, or how the connection broke
	closed   bool
}

// publication is one connection of a Publisher.
type publication struct {
	client *client
	mux    flv.Muxer
	known  int // tracks that the metadata told
	// tracks are those that are sent; false for those that the server cannot take.
	tracks map[trackKey]bool
	first  map[media.Kind]bool
	// ended is closed when nothing more is read.
	ended chan struct{}
}

// Publish connects to rtmp://HOST[:PORT]/APP/KEY (or rtmps://) and publishes. The
// tracks, if given, are announced before their first packets; others follow as packets
// of them come. H.264, AAC and MP3 are sent the legacy way, everything else as Enhanced
// RTMP. Of several tracks of a kind, those behind the first are sent to a server that
// announced that it takes them, and left out otherwise. An error of the server has its
// description as the text; see StatusCode.
func (d Dialer) Publish(ctx context.Context, address string, tracks ...*media.Track) (*Publisher, error) {
	p := &Publisher{dialer: d, address: address, tracks: tracks}
	var err error
	if p.on, err = p.open(ctx, address, tracks); err != nil {
		return nil, err
	}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.working.Go(func() { p.listen(p.on) })
	return p, nil
}

// open begins a publication.
func (p *Publisher) open(ctx context.Context, address string, tracks []*media.Track) (*publication, error) {
	caps := ourCaps &^ capsNanosecond
	for _, t := range tracks {
		if t.Timescale > 0 && flv.Timescale%t.Timescale != 0 {
			caps |= capsNanosecond // what we send, too
		}
	}
	c, err := p.dialer.dial(ctx, opPublish, address, caps)
	if err != nil {
		return nil, err
	}
	n := &publication{client: c, tracks: make(map[trackKey]bool), first: make(map[media.Kind]bool), ended: make(chan struct{})}
	n.mux.Nanoseconds = caps&capsNanosecond != 0 && c.server.precise()
	if err := n.start(ctx, tracks); err != nil {
		c.socket.Close()
		return nil, broken(opPublish+" to "+c.host, err)
	}
	return n, nil
}

func (n *publication) start(ctx context.Context, tracks []*media.Track) error {
	for _, t := range tracks {
		if _, err := n.add(t); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, n.client.socket.stop)
	defer stop()
	if err := n.client.start(ctx, "NetStream.Publish.Start", "publish", n.client.name, "live"); err != nil {
		return err
	}
	if len(tracks) == 0 {
		return nil
	}
	if err := n.announce(); err != nil {
		return err
	}
	headers, err := n.mux.Headers(0)
	if err != nil {
		return err
	}
	return n.client.batch(func(w *chunkWriter) error { return writeMessages(w, n.client.streamID, headers) })
}

// add makes room for a track if the server takes it.
func (n *publication) add(t *media.Track) (bool, error) {
	key := trackKey{t.ID, t.Kind()}
	if sent, ok := n.tracks[key]; ok {
		return sent, nil
	}
	sent := !n.first[t.Kind()] || n.client.server.capsEx&capsMultitrack != 0
	if sent {
		if err := n.mux.Add(t); err != nil {
			return false, err
		}
		n.first[t.Kind()] = true
	}
	n.tracks[key] = sent
	return sent, nil
}

// announce sends onMetaData.
func (n *publication) announce() error {
	n.known = len(n.tracks)
	meta := n.mux.Metadata()
	meta["encoder"] = encoderName
	return n.client.batch(func(w *chunkWriter) error {
		return writeValues(w, csidData, typeDataAMF0, n.client.streamID, "@setDataFrame", "onMetaData", amfOf(meta))
	})
}

func (n *publication) write(pkt *media.Packet) error {
	sent, err := n.add(pkt.Track)
	if err != nil || !sent {
		return err
	}
	if n.known != len(n.tracks) {
		err = n.announce()
	}
	if err == nil {
		err = writePacket(n.client.conn, &n.mux, n.client.streamID, pkt)
	}
	return err
}

// WritePacket implements media.Sink. It returns what the server said when it ended the
// publication.
func (p *Publisher) WritePacket(ctx context.Context, pkt *media.Packet) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !p.started {
		p.started = true
		p.origin = min(0, media.Rescale(pkt.DTS, int64(pkt.Track.Timescale), flv.Timescale))
		p.on.mux.Origin = p.origin
	}
	p.remember(pkt.Track)
	on, err := p.current(pkt)
	if on == nil || err != nil {
		return err
	}
	err = on.write(pkt)
	if err == nil {
		return nil
	}
	// The server may have told why before it closed; listen has read that by the time
	// that it ends.
	on.client.socket.setDeadline(time.Now().Add(lingerTime))
	<-on.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.next != nil:
		return nil
	case p.failed != nil:
		return p.failed
	default:
		return broken(opPublish, err)
	}
}

// remember keeps the newest version of a track.
func (p *Publisher) remember(t *media.Track) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, known := range p.tracks {
		if known == t {
			return
		}
		if known.ID == t.ID && known.Kind() == t.Kind() {
			p.tracks = append([]*media.Track(nil), p.tracks...)
			p.tracks[i] = t
			return
		}
	}
	p.tracks = append(p.tracks[:len(p.tracks):len(p.tracks)], t)
}

// current returns the publication that a packet goes to; nil while the old one is gone and
// the new one waits for its key frame.
func (p *Publisher) current(pkt *media.Packet) (*publication, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, fault.New(fault.Conflict, opPublish, "", "the publisher was closed", "")
	case p.next != nil && pkt.Key && (pkt.Track.Kind() == media.Video || !p.on.first[media.Video]):
		old := p.on
		p.on, p.next, p.failed = p.next, nil, nil
		p.on.mux.Origin = p.origin
		p.working.Go(func() { _ = old.goodbye() }) // whether it is heard does not matter any more
	case p.next != nil && p.failed != nil:
		return nil, nil
	}
	return p.on, p.failed
}

// listen reads what the server says until the connection ends.
func (p *Publisher) listen(n *publication) {
	defer close(n.ended)
	for {
		got, err := n.client.nextCall(context.Background())
		if err == nil && got.name == "onStatus" {
			switch statusCode(got) {
			case connectionClosed:
				err = n.client.refusal(got)
			case reconnectRequest:
				p.move(n, got)
			}
		}
		if err == nil {
			continue
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if n == p.on && p.failed == nil && !p.closed {
			p.failed = broken(opPublish, err)
		}
		if n == p.next {
			p.next = nil
			n.client.socket.Close()
		}
		return
	}
}

// Close tells the server that the stream ends, and closes. It is safe to call twice.
func (p *Publisher) Close() error {
	p.mu.Lock()
	closed, failed, on, next := p.closed, p.failed, p.on, p.next
	p.closed, p.next = true, nil
	p.mu.Unlock()
	if closed {
		return nil
	}
	p.cancel()
	if next != nil {
		next.client.socket.Close()
	}
	var err error
	if failed == nil {
		err = on.goodbye()
	} else {
		on.client.socket.Close()
	}
	p.working.Wait()
	if err != nil {
		return fault.Wrap(fault.Unavailable, "end the publication", "to "+on.client.host, err, "")
	}
	return nil
}
