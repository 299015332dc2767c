package rtmp

import (
	"context"
	"errors"
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
type Publisher struct {
	client  *client
	mux     flv.Muxer
	started bool
	known   int // tracks that the metadata told
	tracks  map[trackKey]bool

	reading sync.WaitGroup
	mu      sync.Mutex
	failed  error // what the server said, or how the connection broke
	closed  bool
}

// Publish connects to rtmp://HOST[:PORT]/APP/KEY (or rtmps://) and publishes. The
// tracks, if given, are announced before their first packets; others follow as packets
// of them come. H.264, AAC and MP3 are sent the legacy way, everything else as Enhanced
// RTMP. An error of the server has its description as the text; see StatusCode.
func (d Dialer) Publish(ctx context.Context, address string, tracks ...*media.Track) (*Publisher, error) {
	c, err := d.dial(ctx, opPublish, address)
	if err != nil {
		return nil, err
	}
	p := &Publisher{client: c, tracks: make(map[trackKey]bool)}
	if err := p.start(ctx, tracks); err != nil {
		c.socket.Close()
		return nil, broken(opPublish+" to "+c.host, err)
	}
	p.reading.Go(p.listen)
	return p, nil
}

func (p *Publisher) start(ctx context.Context, tracks []*media.Track) error {
	for _, t := range tracks {
		if err := p.add(t); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, p.client.socket.stop)
	defer stop()
	if err := p.client.start(ctx, "NetStream.Publish.Start", "publish", p.client.name, "live"); err != nil {
		return err
	}
	if len(tracks) == 0 {
		return nil
	}
	if err := p.announce(); err != nil {
		return err
	}
	headers, err := p.mux.Headers(0)
	if err != nil {
		return err
	}
	return p.client.batch(func(w *chunkWriter) error { return writeMessages(w, p.client.streamID, headers) })
}

func (p *Publisher) add(t *media.Track) error {
	if err := p.mux.Add(t); err != nil {
		return err
	}
	p.tracks[trackKey{t.ID, t.Kind()}] = true
	return nil
}

// announce sends onMetaData.
func (p *Publisher) announce() error {
	p.known = len(p.tracks)
	meta := p.mux.Metadata()
	meta["encoder"] = encoderName
	return p.client.batch(func(w *chunkWriter) error {
		return writeValues(w, csidData, typeDataAMF0, p.client.streamID, "@setDataFrame", "onMetaData", amfOf(meta))
	})
}

// WritePacket implements media.Sink. It returns what the server said when it ended the
// publication.
func (p *Publisher) WritePacket(ctx context.Context, pkt *media.Packet) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.failure(); err != nil {
		return err
	}
	if !p.started {
		p.started = true
		p.mux.Origin = min(0, media.Rescale(pkt.DTS, int64(pkt.Track.Timescale), flv.Timescale))
	}
	if !p.tracks[trackKey{pkt.Track.ID, pkt.Track.Kind()}] {
		if err := p.add(pkt.Track); err != nil {
			return err
		}
	}
	var err error
	if p.known != len(p.tracks) {
		err = p.announce()
	}
	if err == nil {
		err = writePacket(p.client.conn, &p.mux, p.client.streamID, pkt)
	}
	if err == nil {
		return nil
	}
	// The server may have told why before it closed; listen has read that by the time
	// that it ends.
	p.client.socket.setDeadline(time.Now().Add(lingerTime))
	p.reading.Wait()
	if said := p.failure(); said != nil {
		return said
	}
	return broken(opPublish, err)
}

// listen reads what the server says until the connection ends.
func (p *Publisher) listen() {
	for {
		got, err := p.client.nextCall(context.Background())
		if err == nil && got.name == "onStatus" && statusCode(got) == connectionClosed {
			err = p.client.refusal(got)
		}
		if err == nil {
			continue
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.failed == nil && !p.closed {
			p.failed = broken(opPublish, err)
		}
		return
	}
}

func (p *Publisher) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fault.New(fault.Conflict, opPublish, "", "the publisher was closed", "")
	}
	return p.failed
}

// Close tells the server that the stream ends, and closes. It is safe to call twice.
func (p *Publisher) Close() error {
	p.mu.Lock()
	closed, failed := p.closed, p.failed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	c := p.client
	var err error
	if failed == nil {
		err = errors.Join(
			c.send("FCUnpublish", nil, c.name),
			c.send("deleteStream", nil, float64(c.streamID)),
		)
		c.socket.closeWrite()
		c.socket.setDeadline(time.Now().Add(closeTime))
		p.reading.Wait()
	}
	err = errors.Join(err, c.socket.Close())
	p.reading.Wait()
	if err != nil {
		return fault.Wrap(fault.Unavailable, "end the publication", "to "+c.host, err, "")
	}
	return nil
}
