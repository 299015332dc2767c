package srt

import (
	"context"
	"errors"
	"io"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/ts"
)

const (
	// writeTimeout is how long a peer may take nothing.
	writeTimeout = 10 * time.Second
	// drainTime is how long the end of a stream waits for the peer to have all of it.
	drainTime = 2 * time.Second
)

// packer groups packets of MPEG-TS into payloads of SRT.
type packer struct {
	conn *conn
	ctx  context.Context // of the write under way
	size int
	buf  []byte
}

func newPacker(c *conn) *packer {
	size := min(tsPayload, c.payload/tsPacket*tsPacket)
	return &packer{conn: c, size: size, buf: make([]byte, 0, size)}
}

func (p *packer) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		k := min(len(b), p.size-len(p.buf))
		p.buf = append(p.buf, b[:k]...)
		b = b[k:]
		if len(p.buf) == p.size {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (p *packer) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	err := p.conn.write(p.ctx, p.buf, writeTimeout)
	p.buf = p.buf[:0]
	return err
}

// output is a sink on a connection.
type output struct {
	conn    *conn
	pack    *packer
	ts      *ts.Writer
	tracks  map[int]bool
	video   bool
	started bool
}

// supports tells whether MPEG-TS as we write it carries the codec.
func supports(c media.Codec) bool {
	switch c {
	case media.H264, media.HEVC, media.AAC, media.Opus, media.AC3, media.EAC3, media.MP3:
		return true
	}
	return false
}

// carries refuses tracks whose picture, or whose sound, would be lost altogether.
func carries(tracks []*media.Track) error {
	for _, kind := range []media.Kind{media.Video, media.Audio} {
		var lost media.Codec
		some := false
		for _, t := range tracks {
			switch {
			case t.Kind() != kind:
			case supports(t.Codec):
				some = true
			default:
				lost = t.Codec
			}
		}
		if lost != media.UnknownCodec && !some {
			return fault.New(fault.Unsupported, "send SRT", "", "the "+kind.String()+" is "+lost.String()+", which MPEG-TS does not carry",
				"Publish H.264 or HEVC with AAC or Opus; or play the stream over HLS")
		}
	}
	return nil
}

func newOutput(ctx context.Context, c *conn, tracks []*media.Track) (*output, error) {
	o := &output{conn: c, pack: newPacker(c), tracks: make(map[int]bool)}
	o.pack.ctx = ctx
	if err := carries(tracks); err != nil {
		return nil, err
	}
	var carried []*media.Track
	for _, t := range tracks {
		if !supports(t.Codec) {
			continue
		}
		carried = append(carried, t)
		o.tracks[t.ID] = true
		o.video = o.video || t.Kind() == media.Video
	}
	var err error
	o.ts, err = ts.NewWriter(o.pack, carried)
	return o, err
}

// write sends a packet: sound waits for the next picture to fill a datagram with.
func (o *output) write(ctx context.Context, p *media.Packet) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	kind := p.Track.Kind()
	if !o.tracks[p.Track.ID] || !supports(p.Track.Codec) {
		return nil
	}
	if !o.started && o.video && (kind != media.Video || !p.Key) {
		return nil
	}
	o.started = true
	o.pack.ctx = ctx
	if err := o.ts.WritePacket(ctx, p); err != nil {
		return err
	}
	if kind == media.Video || !o.video {
		return o.pack.flush()
	}
	return nil
}

// gone reports whether a write failed because the peer said goodbye.
func (o *output) gone(err error) bool { return errors.Is(err, io.EOF) }

// finish sends what is left, and waits for the peer to have it.
func (o *output) finish(ctx context.Context) {
	o.pack.ctx = ctx
	if o.pack.flush() == nil && o.started {
		o.conn.drain(ctx)
	}
}

// PlayRequest is a player that asks for a stream, and the sink of its packets once it is
// accepted. It is used by one goroutine, but for Link.
type PlayRequest struct {
	*request
	out   *output
	leave context.CancelCauseFunc
}

// PlaybackID is what the player asks for.
func (r *PlayRequest) PlaybackID() string { return r.id.name }

// Supports tells whether the player can be sent the codec: what MPEG-TS carries.
func (r *PlayRequest) Supports(c media.Codec) bool { return supports(c) }

// Accept answers the player. Tracks that MPEG-TS does not carry are left out; if that is
// the whole picture or all sound, the request is rejected.
func (r *PlayRequest) Accept(ctx context.Context, tracks []*media.Track) error {
	if err := carries(tracks); err != nil {
		r.Reject(err)
		return err
	}
	if err := r.accept(ctx, false); err != nil {
		return err
	}
	out, err := newOutput(ctx, r.conn, tracks)
	if err != nil {
		return err
	}
	r.out = out
	// A player that leaves ends the request.
	r.s.serving.Go(r.watch)
	return nil
}

// watch ends the request with the connection. The connection ends at the latest when the
// handler returns.
func (r *PlayRequest) watch() {
	<-r.conn.done
	r.conn.mu.Lock()
	err := r.conn.failure
	r.conn.mu.Unlock()
	r.leave(err)
}

// WritePacket implements media.Sink. Packets of tracks that were not accepted are left
// out, and those before the first key frame if there is video.
func (r *PlayRequest) WritePacket(ctx context.Context, p *media.Packet) error {
	if r.out == nil {
		return fault.New(fault.Conflict, "send SRT", "", "the request is not accepted", "")
	}
	return r.out.write(ctx, p)
}

// Close ends what Accept began: a nil err or io.EOF is the end of the stream, which the
// player gets all of. SRT has no words for other reasons.
func (r *PlayRequest) Close(err error) {
	if r.conn == nil {
		if !r.told {
			r.Reject(orUndecided(err))
		}
		return
	}
	if r.told {
		return
	}
	r.told = true
	if r.out != nil && (err == nil || errors.Is(err, io.EOF)) {
		r.out.finish(r.s.ctx)
	}
	r.conn.close()
}
