package rtmp

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/flv"
)

// PlayRequest is a player that asks for a stream, and the sink of its packets once it is
// accepted. It is used by one goroutine.
type PlayRequest struct {
	*conn
	se       *session
	target   target
	mux      flv.Muxer
	tracks   map[trackKey]bool
	video    bool // there is a video track among them
	held     []flv.Message
	sounds   int // packets whose messages are held
	started  bool
	accepted bool
	refused  bool
	told     bool
}

type trackKey struct {
	id   int
	kind media.Kind
}

func (s *Server) servePlay(ctx context.Context, se *session, t target, h Handler) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &PlayRequest{conn: se.conn, se: se, target: t, tracks: make(map[trackKey]bool)}
	// Players are quiet: they acknowledge at most. Only what TCP tells ends them.
	r.mux.Nanoseconds = se.client.precise()
	se.socket.setDeadline(time.Time{})
	se.socket.onQuiet(pingAfter, se.ping)
	var reading sync.WaitGroup
	reading.Go(func() { cancel(r.listen()) })
	h.ServePlay(ctx, r)
	r.Close(nil)
	if r.refused {
		s.metrics.rejected.WithLabelValues(reasonDenied).Inc()
	}
	// The player reads the goodbye and closes, or is closed.
	se.socket.setDeadline(time.Now().Add(lingerTime))
	reading.Wait()
	cancel(nil)
}

// listen reads what the player sends until it leaves, and returns why it did.
func (r *PlayRequest) listen() error {
	for {
		m, err := r.next()
		if err != nil {
			return broken("play over RTMP", err)
		}
		if !m.command() {
			continue
		}
		switch name := amfName(m.values()); name {
		case "deleteStream", "closeStream":
			return io.EOF
		}
	}
}

// Protocol returns "rtmp" or "rtmps".
func (r *PlayRequest) Protocol() string { return r.se.protocol }

// Peer is the player's address.
func (r *PlayRequest) Peer() net.Addr { return r.se.peer }

// PlaybackID is what the player asks for: the last element of its address.
func (r *PlayRequest) PlaybackID() string { return r.target.key }

// Query is the query of the player's address, not decoded. It may be a secret.
func (r *PlayRequest) Query() string { return r.target.query }

// Supports tells whether the player can be sent the codec: H.264, AAC and MP3 always,
// others if it announced them (Enhanced RTMP v2).
func (r *PlayRequest) Supports(c media.Codec) bool { return r.se.client.supports(c) }

// Accept tells the player which tracks come: those of a codec that it takes, and only
// the first of each kind unless it announced multitrack.
func (r *PlayRequest) Accept(ctx context.Context, tracks []*media.Track) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	first := make(map[media.Kind]bool)
	for _, t := range tracks {
		if !r.Supports(t.Codec) || first[t.Kind()] && r.se.client.capsEx&capsMultitrack == 0 {
			continue
		}
		first[t.Kind()] = true
		if err := r.mux.Add(t); err != nil {
			return err
		}
		r.tracks[trackKey{t.ID, t.Kind()}] = true
	}
	r.video = first[media.Video]
	r.accepted = true
	id := r.target.streamID
	err := r.batch(func(w *chunkWriter) error {
		w.widen()
		say := func(code, text string) error {
			return writeValues(w, csidCommand, typeCommandAMF0, id, "onStatus", 0.0, nil, status("status", code, text))
		}
		return errors.Join(
			w.write(csidControl, typeUserControl, 0, 0, eventBody(eventStreamBegin, id)),
			say("NetStream.Play.Reset", "Playing and resetting."),
			say("NetStream.Play.Start", "Started playing."),
			writeValues(w, csidData, typeDataAMF0, id, "|RtmpSampleAccess", true, true),
			writeValues(w, csidData, typeDataAMF0, id, "onMetaData", amfOf(r.mux.Metadata())))
	})
	return broken("accept an RTMP player", err)
}

// WritePacket implements media.Sink. Packets of tracks that were not accepted are left
// out, and those before the first key frame if there is video. Timestamps begin at 0.
func (r *PlayRequest) WritePacket(ctx context.Context, p *media.Packet) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	kind := p.Track.Kind()
	if !r.tracks[trackKey{p.Track.ID, kind}] || !r.Supports(p.Track.Codec) {
		return nil
	}
	if !r.started {
		if r.video && (kind != media.Video || !p.Key) {
			return nil
		}
		r.started = true
		r.mux.Origin = media.Rescale(p.DTS, int64(p.Track.Timescale), flv.Timescale)
	}
	messages, err := r.mux.Packet(p)
	if err != nil {
		return broken("send RTMP", err)
	}
	r.held = append(r.held, messages...)
	if r.sounds++; r.video && kind == media.Audio && r.sounds < maxSounds {
		return nil
	}
	return broken("send RTMP", r.sendHeld())
}

// maxSounds is how many packets of sound wait for the next picture, to be sent with it: a
// system call for each of them would be most of what a player costs.
const maxSounds = 5

// sendHeld sends what waits.
func (r *PlayRequest) sendHeld() error {
	err := r.batch(func(w *chunkWriter) error { return writeMessages(w, r.target.streamID, r.held) })
	clear(r.held)
	r.held, r.sounds = r.held[:0], 0
	return err
}

// Reject tells the player why it gets nothing. The connection is closed when the handler
// returns.
func (r *PlayRequest) Reject(err error) {
	if r.told {
		return
	}
	r.told = true
	r.refused = true
	r.tell("error", playCode(fault.KindOf(err)), explain(err))
}

// Close ends what Accept began: a nil err or io.EOF is the end of the stream. The
// connection is closed when the handler returns.
func (r *PlayRequest) Close(err error) {
	if r.told {
		return
	}
	r.told = true
	switch {
	case !r.accepted && err == nil, errors.Is(err, context.Canceled):
		r.tell("error", playFailed, "The server is stopping.")
	case err == nil, isEOF(err):
		// A player that is gone cannot be told.
		_ = r.sendHeld()
		_ = r.event(eventStreamEOF, r.target.streamID)
		r.tell("status", "NetStream.Play.UnpublishNotify", "The stream is over.")
	default:
		r.tell("error", playCode(fault.KindOf(err)), explain(err))
	}
}

// tell sends a status. A player that is gone cannot be told.
func (r *PlayRequest) tell(level, code, description string) {
	_ = r.command(r.target.streamID, "onStatus", 0.0, nil, status(level, code, description))
	r.socket.closeWrite()
}

// writePacket sends a packet behind what must come before it.
func writePacket(c *conn, mux *flv.Muxer, streamID uint32, p *media.Packet) error {
	messages, err := mux.Packet(p)
	if err != nil {
		return err
	}
	return c.batch(func(w *chunkWriter) error { return writeMessages(w, streamID, messages) })
}

func writeMessages(w *chunkWriter, streamID uint32, messages []flv.Message) error {
	for _, m := range messages {
		csid, typ := uint32(csidVideo), uint8(typeVideo)
		if m.Kind == media.Audio {
			csid, typ = csidAudio, typeAudio
		}
		if err := w.write(csid, typ, streamID, m.Timestamp, m.Head, m.Data); err != nil {
			return err
		}
	}
	return nil
}
