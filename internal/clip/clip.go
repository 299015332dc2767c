// Package clip cuts lasting assets out of recordings, exact to the frame: the segments at the
// edges are decoded and encoded again, and everything between them is referenced, not copied.
package clip

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/event"
	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/record"
)

// Library is where recordings are: a record.Library.
type Library interface {
	Asset(id string) (*record.Asset, bool)
	Open(ctx context.Context, asset, rendition, name string, offset, length int64) (io.ReadCloser, error)
	CreateClip(ctx context.Context, id string, c record.Clip) error
}

// Tool encodes the pictures of an edge again: an ffmpeg.Tool.
type Tool interface {
	// Recode returns the pictures of units whose PTS is from ≤ PTS < to, encoded again.
	Recode(ctx context.Context, track *media.Track, units []*media.Packet, from, to int64) ([]*media.Packet, error)
}

// Done is told what became of a clip that was submitted: err is nil if its asset is ready. It
// is called by Run, one call at a time for each job.
type Done func(ctx context.Context, r Request, err error)

// Request asks for a clip.
type Request struct {
	// ID is that of the asset to be made, and Asset that of the one that it is cut from.
	ID, Asset string
	// Start and End are the wall clock of the recording (record.Segment.Start): the first
	// picture is the first one that is not before Start, the last the last one before End.
	Start, End time.Time
}

// Maker makes clips. Its methods may be called from several goroutines.
type Maker struct {
	cfg    Config
	lib    Library
	tool   Tool
	done   Done
	events *event.Bus
	log    *slog.Logger
	queue  chan Request
}

// New returns a Maker. done may be nil. Its metrics are registered with reg (nil for none).
func New(cfg Config, lib Library, tool Tool, done Done, events *event.Bus, log *slog.Logger, reg prometheus.Registerer) *Maker {
	return &Maker{cfg: cfg, lib: lib, tool: tool, done: done, events: events, log: log, queue: make(chan Request, cfg.Waiting)}
}

// Submit checks a request and leaves it to Run, which makes the clip and tells Done. The
// error is what Make would say at once, and fault.TooMany where too many wait.
func (m *Maker) Submit(r Request) error {
	if err := m.check(r); err != nil {
		return err
	}
	select {
	case m.queue <- r:
		return nil
	default:
		return fault.New(fault.TooMany, "clip", r.Asset, "too many clips wait to be made", "Try again in a minute")
	}
}

// Run makes the clips that are submitted, and returns when ctx ends.
func (m *Maker) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Make makes a clip; its asset is ready when it returns without an error.
//
// fault.NotFound if there is no such asset, or nothing in it at that time; fault.Invalid for
// times that are no clip; fault.Unsupported if its pictures cannot be encoded again; and what
// the storage and ffmpeg say.
func (m *Maker) Make(ctx context.Context, r Request) error {
	return m.check(r)
}

func (m *Maker) check(r Request) error {
	if _, ok := m.lib.Asset(r.Asset); !ok {
		return fault.New(fault.NotFound, "clip", r.Asset, "there is no such recording, or no longer", "")
	}
	if !r.Start.Before(r.End) {
		return fault.New(fault.Invalid, "clip", r.Asset, "the clip ends before it begins", "Give an end that is later than the start")
	}
	if d := r.End.Sub(r.Start); d > m.cfg.MaxDuration {
		return fault.New(fault.TooLarge, "clip", r.Asset, "a clip of "+d.String()+" is longer than "+m.cfg.MaxDuration.String(), "Make several, or set clip-max-duration")
	}
	return nil
}
