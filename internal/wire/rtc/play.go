package rtc

import (
	"context"
	"errors"
	"net"

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
func (s *Server) NewFan(o FanOptions) *Fan { return &Fan{} }

// PlayRequest is a viewer that asks to watch over WHEP, and where its media goes once it
// may. Supports, Accepts, Accept and Reject belong to one goroutine; the other methods
// may be called from any.
type PlayRequest struct {
	addr     net.Addr
	playback string
	token    string
	done     chan struct{}
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

// Supports reports whether the viewer offered to take a track: its codec and profile.
func (r *PlayRequest) Supports(t *media.Track) bool { return false }

// Accepts reports whether the viewer offered to take a codec in some profile.
func (r *PlayRequest) Accepts(c media.Codec) bool { return false }

// Accept answers the POST, before any media exists. video and audio are the codecs to
// begin with, UnknownCodec for none; others that the viewer offered may follow.
func (r *PlayRequest) Accept(ctx context.Context, video, audio media.Codec) error {
	return errors.ErrUnsupported
}

// Watch sets what is sent from now on; nil sends nothing of that kind. A change of the
// video happens at a key frame of the new one, until which the old one goes on.
// Sequence numbers and timestamps continue. It does nothing before Accept.
func (r *PlayRequest) Watch(video, audio *Fan) {}

// Reject tells the viewer why it may not watch.
func (r *PlayRequest) Reject(err error) {}

// Close ends the session.
func (r *PlayRequest) Close(err error) {}

// Done is closed when the session is over.
func (r *PlayRequest) Done() <-chan struct{} { return r.done }

// Err tells why the session is over: io.EOF if the viewer left. It is nil before.
func (r *PlayRequest) Err() error { return nil }

// Link implements media.Linked.
func (r *PlayRequest) Link() media.Link { return media.Link{} }

// Estimate is what is known of the way to the viewer.
func (r *PlayRequest) Estimate() Estimate { return Estimate{} }

// Wish is the layer that the viewer asked for, such as "720p"; empty leaves the choice to
// the server.
func (r *PlayRequest) Wish() string { return "" }

var errPlayOff = fault.New(fault.Unavailable, "watch over WebRTC", "", "the server is starting", "Try again in a moment")
