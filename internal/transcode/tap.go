package transcode

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"onair/internal/hub"
	"onair/internal/media"
)

// tap reads the pictures or the sound of a stream's source feed for encoders, one after the
// other: each gets packets of one version of the track, from a key on, and the next one
// goes on where it ended. It belongs to one goroutine, besides lag.
type tap struct {
	feed *hub.Feed
	kind media.Kind
	// back is how far before the newest packet it begins, and begins again after rewind.
	back time.Duration
	// quit ends what is read, as if the source had ended.
	quit context.Context

	reader *hub.Reader
	// next is a packet that was read and not handed out yet.
	next *media.Packet
	// track is the version that is being handed out; like is another that is the same but
	// for its address, other one of another track.
	track, like, other *media.Track
	// lost is set after packets were missed, until a key.
	lost bool

	// handed is when the newest packet that was handed out had arrived, in Unix
	// nanoseconds; waiting is set while another one is being waited for.
	handed  atomic.Int64
	waiting atomic.Bool
	// step is the time between the last two packets on the timeline, as a time.Duration.
	step atomic.Int64
	dts  int64 // of the last
}

// joinBack is how far before the newest picture the encoder of a listed rendition begins: a
// player that changes to it is as far behind the source as its playlists tell it to be, goes
// on from there, and takes a rendition that has nothing there for broken.
const joinBack = 3 * time.Second

func newTap(quit context.Context, feed *hub.Feed, kind media.Kind, back time.Duration) *tap {
	t := &tap{feed: feed, kind: kind, quit: quit, back: back}
	t.waiting.Store(true)
	return t
}

func (t *tap) close() {
	if t.reader != nil {
		t.reader.Close()
		t.reader = nil
	}
}

// rewind lets the next encoder begin as the first one did.
func (t *tap) rewind() {
	t.close()
	t.next, t.lost = nil, false
}

// begin waits for a packet that an encoder can begin with, that is shown after that time and
// that is of the track's present version, and returns its track. The error is io.EOF when the stream has ended or quit.
func (t *tap) begin(after time.Duration) (*media.Track, error) {
	if t.reader == nil {
		t.reader = t.feed.NewReader(hub.ReaderOptions{Name: "transcode", Back: t.back})
	}
	t.track, t.like, t.other = nil, nil, nil
	for {
		p, err := t.read(t.quit)
		if err != nil {
			return nil, err
		}
		if p.Key && t.lead(p.Track) && p.Track.Duration(p.PTS) > after && t.present(p.Track) {
			t.next, t.track, t.lost, t.dts = p, p.Track, false, p.DTS
			t.waiting.Store(true)
			return p.Track, nil
		}
	}
}

// ReadPacket returns the next packet of the track that begin returned. It returns io.EOF
// when that one has ended: with the stream, with another version of the track, or by quit.
func (t *tap) ReadPacket(ctx context.Context) (*media.Packet, error) {
	t.waiting.Store(true)
	for {
		p, err := t.read(ctx)
		switch {
		case err != nil:
			return nil, err
		case p.Track != t.track && p.Track != t.like:
			if !t.lead(p.Track) {
				continue
			}
			if !same(p.Track, t.track) {
				t.next = p
				return nil, io.EOF
			}
			t.like = p.Track
		}
		if t.lost && !p.Key {
			continue
		}
		t.lost = false
		if p.Track != t.track { // what follows need not know
			own := *p
			own.Track = t.track
			p = &own
		}
		arrived := p.Arrival
		if arrived.IsZero() {
			arrived = time.Now()
		}
		t.handed.Store(arrived.UnixNano())
		t.step.Store(int64(max(0, p.Track.Duration(p.DTS-t.dts))))
		t.dts = p.DTS
		t.waiting.Store(false)
		return p, nil
	}
}

// read returns the next packet of the kind.
func (t *tap) read(ctx context.Context) (*media.Packet, error) {
	if p := t.next; p != nil {
		t.next = nil
		return p, nil
	}
	if ctx == t.quit {
		return t.pull(ctx, ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	either, cancel := context.WithCancel(t.quit)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return t.pull(either, ctx)
}

// pull reads with ctx; outer is whose error is told.
func (t *tap) pull(ctx, outer context.Context) (*media.Packet, error) {
	for {
		p, err := t.reader.ReadPacket(ctx)
		var gap *hub.Gap
		switch {
		case errors.As(err, &gap):
			t.lost = t.kind == media.Video
		case t.quit.Err() != nil:
			return nil, io.EOF
		case err != nil && outer.Err() != nil:
			return nil, outer.Err()
		case err != nil:
			return nil, err
		case p.Track.Kind() == t.kind:
			return p, nil
		}
	}
}

// lead reports whether a track is the first of its kind in the feed: there may be sound in
// several languages.
func (t *tap) lead(tr *media.Track) bool {
	if tr == t.track || tr == t.like {
		return true
	}
	if tr == t.other {
		return false
	}
	for _, first := range t.feed.Tracks() {
		if first.Kind() != t.kind {
			continue
		}
		if first.ID == tr.ID {
			return true
		}
		break
	}
	t.other = tr
	return false
}

// present reports whether a track is what the feed has of it now, to a decoder.
func (t *tap) present(tr *media.Track) bool {
	for _, now := range t.feed.Tracks() {
		if now.ID == tr.ID {
			return same(now, tr)
		}
	}
	return false
}

// lag is how long the packet that the encoder is busy with has been there; 0 while the
// encoder waits for one.
func (t *tap) lag(now time.Time) time.Duration {
	if t.waiting.Load() {
		return 0
	}
	return max(0, now.Sub(time.Unix(0, t.handed.Load())))
}

// same reports whether two versions of a track are the same to a decoder.
func same(a, b *media.Track) bool {
	return a.ID == b.ID && a.Codec == b.Codec && a.Timescale == b.Timescale && bytes.Equal(a.Config, b.Config) &&
		a.Width == b.Width && a.Height == b.Height && a.SampleRate == b.SampleRate && a.Channels == b.Channels
}
