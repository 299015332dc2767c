package ingest

import (
	"bytes"
	"context"
	"time"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// Slate makes the picture that is shown while a publisher is away.
type Slate interface {
	// Key returns a key frame of the picture, and the decoder configuration that goes with
	// it, for the codec and size of t. It may take its time; an error leaves the publisher's
	// last picture on the air.
	Key(ctx context.Context, t *media.Track) (config, data []byte, err error)
}

const (
	// slateAfter is how long a publisher is away before the slate takes the place of its
	// last picture.
	slateAfter = 10 * time.Second
	// slateTime is how long the making of a slate may take.
	slateTime = 20 * time.Second
	// slateQueue is how many slates may be asked for at a time; who finds it full asks again.
	slateQueue = 16
)

// slateOrder asks for the slate of a lane.
type slateOrder struct {
	desk  *desk
	lane  *lane
	track *media.Track
}

// makeSlates makes what is ordered, one after the other, until ctx ends.
func (i *Ingest) makeSlates(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-i.slates:
			limited, cancel := context.WithTimeout(ctx, slateTime)
			config, data, err := i.slate.Key(limited, o.track)
			cancel()
			if err != nil {
				i.log.Warn("no slate", "stream", o.desk.id, "error", err)
				continue
			}
			if err := o.desk.show(o, config, data); err != nil {
				i.log.Warn("the slate cannot be shown", "stream", o.desk.id, "error", err)
			}
		}
	}
}

// order asks for slates when the publisher has been away for long enough.
func (d *desk) order(now time.Time) {
	if d.slate == nil || d.air != nil || now.Sub(d.lost) < slateAfter {
		return
	}
	for _, l := range d.lanes {
		if l.track.Kind() != media.Video || l.slated || !l.started {
			continue
		}
		select {
		case d.slates <- slateOrder{d, l, l.track}:
			l.slated = true
		default:
		}
	}
}

// show makes the slate the lane's picture, if it is still wanted.
func (d *desk) show(o slateOrder, config, data []byte) error {
	track := *o.track
	track.Config, track.CodecString = config, ""
	described, err := bitstream.Describe(&track)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l := o.lane
	if d.air != nil || l.track != o.track {
		return nil
	}
	if !bytes.Equal(config, o.track.Config) {
		described.ID, described.Rendition, described.Timescale = o.track.ID, o.track.Rendition, o.track.Timescale
		described.Version = o.track.Version + 1
		l.track = described
	}
	l.sample, l.moved = data, 0
	return nil
}
