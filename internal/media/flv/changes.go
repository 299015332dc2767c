package flv

import (
	"errors"

	"onair/internal/media"
)

const (
	// maxChanges bounds how often a track changes its parameters: that often at once,
	// and once every changeTime milliseconds of its frames in the long run. Every change
	// costs each viewer a new decoder. What comes more often waits, and the frames that
	// need it are left out and counted in Stats.Changed.
	maxChanges = 8
	changeTime = 2000
)

// errTooOften is what setConfig refuses a change with that comes too soon.
var errTooOften = errors.New("the parameters change too often")

// held is a sequence header that waits.
type held struct {
	codec media.Codec
	body  []byte
}

// mayChange takes one of the track's changes if there is one left.
func (d *Demuxer) mayChange(t *track) bool {
	if n := (d.clock.time - t.refilled) / changeTime; n > 0 || d.clock.time < t.refilled {
		t.changes = min(maxChanges, t.changes+int(min(max(n, 0), maxChanges)))
		t.refilled = d.clock.time
	}
	if t.changes == 0 {
		return false
	}
	t.changes--
	return true
}

// release takes the header that waited, if it may come now.
func (d *Demuxer) release(t *track) error {
	if t.held == nil {
		return nil
	}
	h := t.held
	return d.setHeader(t, h.codec, h.body)
}
