// Package clip cuts lasting assets out of recordings, exact to the frame: only the segments
// at the edges are decoded and encoded again, and everything between them is referenced, not
// copied. Where an edge is that of a segment, or what it leaves can be decoded as it is,
// nothing is encoded.
//
// A clip has the main picture of its recording and all its sound, which is cut at its frames.
package clip

import (
	"context"
	"io"
	"log/slog"
	"sync"
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
// is called by Run, and by several goroutines if several clips are made at the same time.
type Done func(ctx context.Context, r Request, err error)

// Request asks for a clip.
type Request struct {
	// ID is that of the asset to be made, and Asset that of the one that it is cut from.
	ID, Asset string
	// Start and End are the wall clock of the recording (record.Segment.Start): the first
	// picture is the first one that is not before Start, the last the last one before End. A
	// millisecond is no difference, for playlists tell no less.
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
	m      *metrics
	queue  chan Request
	jobs   chan struct{} // has room for each clip that is being made
}

// New returns a Maker. done may be nil. Its metrics are registered with reg (nil for none).
func New(cfg Config, lib Library, tool Tool, done Done, events *event.Bus, log *slog.Logger, reg prometheus.Registerer) *Maker {
	return &Maker{
		cfg: cfg, lib: lib, tool: tool, done: done, events: events, log: log, m: newMetrics(reg),
		queue: make(chan Request, cfg.Waiting), jobs: make(chan struct{}, cfg.Jobs),
	}
}

// Submit checks a request and leaves it to Run, which makes the clip and tells Done. The
// error is what Make would say at once, and fault.TooMany where too many wait.
func (m *Maker) Submit(r Request) error {
	if err := m.check(r); err != nil {
		return err
	}
	select {
	case m.queue <- r:
		m.m.waiting.Inc()
		return nil
	default:
		m.m.made.WithLabelValues("refused").Inc()
		return fault.New(fault.TooMany, "clip", r.Asset, "too many clips wait to be made", "Try again in a minute")
	}
}

// Run makes the clips that are submitted until ctx ends, and returns when none is being made
// any more. Those that it did not come to fail.
func (m *Maker) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	for range m.cfg.Jobs {
		wait.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case r := <-m.queue:
					m.m.waiting.Dec()
					m.finish(ctx, r, m.Make(ctx, r))
				}
			}
		})
	}
	wait.Wait()
	for {
		select {
		case r := <-m.queue:
			m.m.waiting.Dec()
			m.finish(ctx, r, ctx.Err())
		default:
			return nil
		}
	}
}

// finish tells what became of a clip.
func (m *Maker) finish(ctx context.Context, r Request, err error) {
	if err != nil && ctx.Err() != nil {
		err = fault.Wrap(fault.Unavailable, "clip", r.Asset, ctx.Err(), "The server was stopped: ask for the clip again")
	}
	if err != nil {
		m.log.Warn("a clip was not made", "asset", r.ID, "of", r.Asset, "error", err)
		stream := ""
		if a, ok := m.lib.Asset(r.Asset); ok {
			stream = a.Snapshot().StreamID
		}
		if m.events != nil {
			m.events.Publish(event.AssetErrored{StreamID: stream, AssetID: r.ID, Code: string(fault.KindOf(err)), Reason: err.Error(), Clip: true})
		}
	}
	if m.done != nil {
		m.done(context.WithoutCancel(ctx), r, err)
	}
}

// Make makes a clip; its asset is ready when it returns without an error. It waits for its
// turn, and for what a broadcast that is being recorded has still to bring.
//
// fault.NotFound if there is no such asset, or nothing in it at that time; fault.Invalid for
// times that are no clip; fault.TooLarge for one that is too long; fault.Unsupported if its
// pictures cannot be encoded again; fault.Timeout if it takes too long; and what the storage
// and ffmpeg say.
func (m *Maker) Make(ctx context.Context, r Request) error {
	err := m.check(r)
	if err == nil {
		err = m.make(ctx, r)
	}
	switch {
	case err == nil:
		m.m.made.WithLabelValues("made").Inc()
	case ctx.Err() != nil:
		m.m.made.WithLabelValues("stopped").Inc()
	default:
		m.m.made.WithLabelValues("failed").Inc()
	}
	return err
}

func (m *Maker) make(ctx context.Context, r Request) error {
	select {
	case m.jobs <- struct{}{}:
		defer func() { <-m.jobs }()
	case <-ctx.Done():
		return ctx.Err()
	}
	limited, cancel := context.WithTimeout(ctx, jobTime)
	defer cancel()
	begun := time.Now()
	s, err := m.await(limited, r)
	if err != nil {
		return err
	}
	c, encoded, err := m.cut(limited, s, r)
	if err == nil {
		err = m.lib.CreateClip(limited, r.ID, c)
	}
	switch {
	case err != nil && ctx.Err() == nil && limited.Err() != nil:
		return fault.Wrap(fault.Timeout, "clip", r.Asset, err, "It took longer than "+jobTime.String())
	case err != nil:
		return err
	}
	m.m.encoded.Add(encoded.Seconds())
	m.log.Info("a clip is made", "asset", r.ID, "of", r.Asset, "duration", r.End.Sub(r.Start), "encoded", encoded, "took", time.Since(begun))
	return nil
}

// check says what can be said of a request at once.
func (m *Maker) check(r Request) error {
	refuse := func(kind fault.Kind, cause, hint string) error { return fault.New(kind, "clip", r.Asset, cause, hint) }
	a, ok := m.lib.Asset(r.Asset)
	if !ok {
		return refuse(fault.NotFound, "there is no such recording, or no longer", "")
	}
	s := a.Snapshot()
	growing := s.State == record.Recording
	switch d := r.End.Sub(r.Start); {
	case d <= 0:
		return refuse(fault.Invalid, "the clip ends before it begins", "Give an end that is later than the start")
	case d > m.cfg.MaxDuration:
		return refuse(fault.TooLarge, "a clip of "+d.String()+" is longer than "+m.cfg.MaxDuration.String(), "Make several, or let the administrator set clip-max-duration")
	case mainOf(s) == nil && !growing:
		return refuse(fault.NotFound, "there is nothing in the recording", "")
	case mainOf(s) != nil && r.Start.Before(s.Began.Add(-slack)):
		return refuse(fault.Invalid, "the recording begins at "+told(s.Began)+", later than the clip", "Choose a start in it")
	case !growing && r.End.After(s.Ended.Add(slack)):
		return refuse(fault.Invalid, "the recording ends at "+told(s.Ended)+", before the clip does", "Choose an end in it")
	case growing && time.Until(r.End) > ahead:
		return refuse(fault.Invalid, "the end of the clip is still to come", "Ask again once it has been on the air")
	}
	return nil
}

// told is a time in words.
func told(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// await returns the recording once it has all that the clip needs, or has ended.
func (m *Maker) await(ctx context.Context, r Request) (*record.Snapshot, error) {
	var late <-chan time.Time
	for {
		a, ok := m.lib.Asset(r.Asset)
		if !ok {
			return nil, fault.New(fault.NotFound, "clip", r.Asset, "there is no such recording, or no longer", "")
		}
		s := a.Snapshot()
		if s.State != record.Recording || covers(s, r.End) {
			return s, nil
		}
		if late == nil {
			timer := time.NewTimer(max(0, time.Until(r.End)) + patience*time.Duration(s.TargetDuration)*time.Second)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-s.Changed:
		case <-late:
			if main := mainOf(s); main != nil && r.End.Before(endOf(main)) {
				return s, nil // what is missing is sound that has ended
			}
			return nil, fault.New(fault.Unavailable, "clip", r.Asset, "the recording has not come to the end of the clip", "See whether the broadcast is still sent")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// covers reports whether all tracks of a recording reach a time.
func covers(s *record.Snapshot, end time.Time) bool {
	there := false
	for _, r := range chosen(s) {
		if there = true; endOf(r).Before(end.Add(-grain)) {
			return false
		}
	}
	return there
}

func endOf(r *record.Rendition) time.Time {
	last := r.Segments.Last()
	return last.Start.Add(last.Duration)
}
