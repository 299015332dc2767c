package rtmp

import (
	"context"
	"io"
	"time"

	"onair/internal/media"
	"onair/internal/media/flv"
)

// Player receives the packets of a stream from an RTMP server. It is a media.Source for
// one goroutine.
type Player struct {
	receiver
	client *client
}

// Play connects to rtmp://HOST[:PORT]/APP/NAME (or rtmps://) and plays. It announces
// that it takes every codec the program knows. An error of the server has its
// description as the text; see StatusCode.
func (d Dialer) Play(ctx context.Context, address string) (*Player, error) {
	return d.play(ctx, address, ourCaps)
}

func (d Dialer) play(ctx context.Context, address string, capsEx int) (*Player, error) {
	c, err := d.dial(ctx, opPlay, address, capsEx)
	if err != nil {
		return nil, err
	}
	p := &Player{client: c}
	p.receiver = receiver{conn: c.conn, op: opPlay, idle: clientIdle, onCommand: p.onCommand}
	if err := p.start(ctx); err != nil {
		c.socket.Close()
		return nil, broken(opPlay+" from "+c.host, err)
	}
	return p, nil
}

func (p *Player) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, p.socket.stop)
	defer stop()
	if err := p.client.start(ctx, "NetStream.Play.Start", "play", p.client.name); err != nil {
		return err
	}
	p.socket.setDeadline(time.Now().Add(clientIdle))
	p.socket.onQuiet(pingAfter, p.ping)
	return nil
}

// onCommand ends with the stream, or with what the server says is wrong.
func (p *Player) onCommand(m message) error {
	got, err := p.client.decode(m)
	if err != nil {
		return err
	}
	switch statusCode(got) {
	case "NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete":
		return io.EOF
	}
	return nil
}

// Tracks returns the tracks whose parameters came so far.
func (p *Player) Tracks() []*media.Track { return p.demux.Tracks() }

// Metadata returns the values of the last onMetaData message; nil before one came.
func (p *Player) Metadata() flv.Metadata { return p.meta }

// Close leaves the stream.
func (p *Player) Close() error {
	return p.socket.Close()
}
