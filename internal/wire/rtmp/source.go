package rtmp

import (
	"context"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/flv"
)

// receiver turns the messages of a connection into packets: of an encoder for the
// server, of a server for the client.
type receiver struct {
	*conn
	op    string
	demux flv.Demuxer
	meta  flv.Metadata
	// idle is how long no media may come; 0 for ever.
	idle time.Duration
	// onCommand looks at a command and returns io.EOF where it ends the media.
	onCommand func(m message) error

	queue []*media.Packet
	// failed is what ReadPacket returns from now on.
	failed error
}

// ReadPacket implements media.Source. When ctx ends while it waits, the connection cannot
// be read any more: it may have stopped in the middle of a message.
func (r *receiver) ReadPacket(ctx context.Context) (*media.Packet, error) {
	if len(r.queue) == 0 {
		if err := r.fill(ctx); err != nil {
			return nil, err
		}
	}
	p := r.queue[0]
	r.queue = r.queue[1:]
	return p, nil
}

// fill reads messages until there is a packet.
func (r *receiver) fill(ctx context.Context) error {
	defer context.AfterFunc(ctx, r.socket.stop)()
	for r.failed == nil && len(r.queue) == 0 {
		r.failed = r.receive()
	}
	switch {
	case len(r.queue) > 0: // what came before a failure comes first
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return r.failed
	}
}

// receive reads one message.
func (r *receiver) receive() error {
	m, err := r.next()
	if err != nil {
		return broken(r.op, err)
	}
	switch {
	case m.media():
		if r.idle > 0 {
			r.socket.setDeadline(time.Now().Add(r.idle))
		}
		return r.media(m)
	case m.command():
		return r.onCommand(m)
	default:
		return r.data(m)
	}
}

func (r *receiver) media(m message) error {
	if m.typ != typeAggregate {
		return r.tag(m.typ, m.timestamp, m.body)
	}
	// The stamps of the parts are relative to that of the first (7.1.6).
	var offset uint32
	first := true
	for t, err := range flv.Tags(m.body) {
		if err != nil {
			return err
		}
		if first {
			offset, first = m.timestamp-t.Timestamp, false
		}
		if err := r.tag(t.Type, t.Timestamp+offset, t.Body); err != nil {
			return err
		}
	}
	return nil
}

func (r *receiver) tag(typ uint8, timestamp uint32, body []byte) error {
	var packets []*media.Packet
	var err error
	switch typ {
	case typeVideo:
		packets, err = r.demux.Video(timestamp, body)
	case typeAudio:
		packets, err = r.demux.Audio(timestamp, body)
	}
	now := time.Now()
	for _, p := range packets {
		p.Arrival = now
	}
	r.queue = append(r.queue, packets...)
	return err
}

// data takes a data message. Only onMetaData is of use, and nothing in it is needed:
// one that is not well formed is ignored, one over the bounds is not.
func (r *receiver) data(m message) error {
	b := m.values()
	name := amfName(b)
	if name != "@setDataFrame" && name != "onMetaData" {
		return nil
	}
	values, err := decodeAMF(b)
	if fault.Is(err, fault.TooLarge) || fault.Is(err, fault.TooMany) {
		return err
	}
	for i, v := range values {
		o, ok := object(v)
		if ok && i > 0 && values[i-1] == "onMetaData" {
			r.meta = metadataOf(o)
			r.demux.Metadata(r.meta)
			return nil
		}
	}
	return nil
}
